import { type ExecutorInfo, type KnimeUser, knimeUserSchema, type OsUser } from '@kpx/protocol';
import { type Idleness, type Policy, ruleOf } from '../policy/policy.js';
import type { Rule } from '../policy/rules.js';

/** A running executor, as far as is known. Times in milliseconds of the machine's clock. */
export interface Executor extends Idleness {
  readonly osUser: OsUser;
  readonly uid: number;
  readonly pid: number;
  /** The KNIME name that it was started for, as far as is known: to ask the helper by, and to find its rule. */
  user: KnimeUser;
  groups: readonly string[] | undefined;
  rule: Rule | undefined;
  readonly since: number;
  /** When its process started, in milliseconds since the epoch, as the helper says. */
  readonly startedAt: number;
  ready: boolean;
  readySince: number;
  /** Until when it must be ready, or, when it is to end, must have ended. */
  deadline: number;
  ending: boolean;
  quietSince: number;
  seenUntil: number | undefined;
  cpuMs: number;
  /** Processor time that it took between the last two lists, as a share of one processor; undefined: not known. */
  cpuShare: number | undefined;
}

/** The executors that run on this host, one an account, and whose jobs go to which of them. */
export class Roster {
  readonly #executors = new Map<OsUser, Executor>();
  /** Every KNIME name of which it is known that its jobs go to the executor of an account. */
  readonly #accounts = new Map<KnimeUser, OsUser>();
  /** Executors that are not ready yet. */
  #booting = 0;

  get size(): number {
    return this.#executors.size;
  }

  get booting(): number {
    return this.#booting;
  }

  values(): Iterable<Executor> {
    return this.#executors.values();
  }

  has(osUser: OsUser): boolean {
    return this.#executors.has(osUser);
  }

  accountOf(name: KnimeUser): OsUser | undefined {
    return this.#accounts.get(name);
  }

  of(name: KnimeUser): Executor | undefined {
    const osUser = this.#accounts.get(name);
    return osUser === undefined ? undefined : this.#executors.get(osUser);
  }

  /** Jobs of this name go to the executor of that account. */
  leads(name: KnimeUser, osUser: OsUser): void {
    this.#accounts.set(name, osUser);
  }

  /** Takes an executor into the books. A new process under an account known before is a new one, and has to become ready anew. */
  adopt(info: ExecutorInfo, policy: Policy, now: number): { readonly executor: Executor; readonly isNew: boolean } {
    const { osUser, uid, mainPid, knimeUsers, sinceMs } = info;
    for (const name of knimeUsers) this.#accounts.set(name, osUser);
    const known = this.#executors.get(osUser);
    if (known && known.pid === mainPid) return { executor: known, isNew: false };
    if (known) this.remove(known);
    const user = knimeUsers[0] ?? knimeUserSchema.parse(osUser);
    const executor: Executor = {
      osUser,
      uid,
      pid: mainPid,
      user,
      groups: undefined,
      rule: ruleOf(policy, user, []),
      since: now,
      startedAt: sinceMs,
      ready: false,
      readySince: 0,
      deadline: now + (policy.readyDelayMs ?? policy.startTimeoutMs),
      ending: false,
      quietSince: now,
      seenUntil: undefined,
      cpuMs: 0,
      cpuShare: undefined,
    };
    this.#executors.set(osUser, executor);
    this.#booting += 1;
    return { executor, isNew: true };
  }

  markReady(executor: Executor, now: number): void {
    if (executor.ready) return;
    executor.ready = true;
    executor.readySince = now;
    executor.quietSince = now;
    this.#booting -= 1;
  }

  remove(executor: Executor): void {
    this.#executors.delete(executor.osUser);
    if (!executor.ready) this.#booting -= 1;
  }

  /** Nobody's jobs go to this account any more. */
  forgetNames(gone: OsUser): void {
    for (const [name, osUser] of this.#accounts) if (osUser === gone) this.#accounts.delete(name);
  }

  /** How many there are of each rule's users. */
  byRule(): Map<Rule, number> {
    const counts = new Map<Rule, number>();
    for (const { rule } of this.#executors.values()) if (rule) counts.set(rule, (counts.get(rule) ?? 0) + 1);
    return counts;
  }
}

/** Processor time between two lists tells whether an executor works on something that did not come by way of kpx. */
export function sample(executor: Executor, cpuMs: number, idleCpuShare: number, now: number): void {
  const { seenUntil, cpuMs: before } = executor;
  executor.cpuMs = cpuMs;
  executor.seenUntil = cpuMs === 0 ? undefined : now; // 0: nobody counts it
  if (executor.seenUntil === undefined) executor.cpuShare = undefined;
  else if (seenUntil !== undefined && seenUntil !== now) executor.cpuShare = Math.max(0, (cpuMs - before) / (now - seenUntil));
  const works = seenUntil !== now && (executor.cpuShare ?? 1) > idleCpuShare;
  if (executor.seenUntil === undefined || works) executor.quietSince = now;
}
