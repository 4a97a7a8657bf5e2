import { type ExecutorInfo, foldCase, type KnimeUser, knimeUserSchema, type OsUser } from '@kpx/protocol';
import { type Idleness, type Load, type Policy, ruleInForce } from '../policy/policy.js';
import type { Rule } from '../policy/rules.js';
import type { Ending } from './ending.js';
import { ExecutorLink } from './executor-link.js';
import { GivenJobs } from './given.js';
import { RecentTime } from './recent-time.js';
import type { ExecutorState } from './states.js';
import type { User } from './user.js';

/** A running executor, as far as is known. Times in milliseconds of the machine's clock. */
export interface Executor extends Idleness {
  readonly osUser: OsUser;
  readonly uid: number;
  readonly pid: number;
  /** The KNIME name that it was started for, as far as is known: to ask the helper by, and to find its rule. */
  user: KnimeUser;
  /** A KNIME name leads to its account. Where none does any more, the helper would take its own name for another account's. */
  named: boolean;
  groups: readonly string[] | undefined;
  rule: Rule | undefined;
  readonly since: number;
  /** When its process started, as the helper says: in ISO 8601, and in milliseconds since the epoch. */
  readonly startedAt: string;
  readonly startedMs: number;
  /** This broker has had it started. Any other may have been at work before. */
  isOurs: boolean;
  /** Why it was started before there was a job; undefined: there was one, or it is from before the broker. */
  startedFor: string | undefined;
  /** An operator wants it ended once it is idle. */
  leaving: boolean;
  /** It takes jobs: it has booted, and has a connection to RabbitMQ. */
  ready: boolean;
  /** It has been ready once. */
  booted: boolean;
  readySince: number;
  /** Until when it must have booted. */
  deadline: number;
  readonly link: ExecutorLink;
  readonly given: GivenJobs;
  /** There, once it is to end. */
  end: Ending | undefined;
  readonly ending: boolean;
  /** It has been counted as a failed start. */
  failed: boolean;
  quietSince: number;
  unusedSince: number | undefined;
  /** Since when it has had no pause, and has taken no job, as far as has been seen. */
  workedSince: number;
  seenUntil: number | undefined;
  cpuMs: number;
  /** Its processor time is told by `usage`, and not by lists: the two may begin to count at another time. */
  measured: boolean;
  /** Processor time that it took between the last two lists, as a share of one processor; undefined: not known. */
  cpuShare: number | undefined;
  /** It takes at present; undefined: not known. */
  memoryBytes: number | undefined;
}

export const stateOf = ({ ending, ready, booted }: Readonly<Executor>): ExecutorState =>
  ending ? 'ending' : ready ? 'ready' : booted ? 'lost' : 'booting';

/** The last moment that a Date can name, in milliseconds since the epoch; the wire takes later ones. */
const DATE_MS_MAX = 8_640_000_000_000_000;

/** The executors that run on this host, one an account, and whose jobs go to which of them. */
export class Roster {
  readonly #executors = new Map<OsUser, Executor>();
  /** Every KNIME name of which it is known that its jobs go to the executor of an account, as {@link folded}. */
  readonly #accounts = new Map<KnimeUser, OsUser>();
  #foldsCase = false;
  /** For how long those that have ended have run. */
  readonly #recent = new RecentTime();
  /** Executors that have not been ready yet. */
  #booting = 0;

  get size(): number {
    return this.#executors.size;
  }

  values(): Iterable<Executor> {
    return this.#executors.values();
  }

  has(osUser: OsUser): boolean {
    return this.#executors.has(osUser);
  }

  accountOf(name: KnimeUser): OsUser | undefined {
    return this.#accounts.get(this.folded(name));
  }

  /** All names that are one user's to the helper, as one. */
  folded(name: KnimeUser): KnimeUser {
    return foldCase(name, this.#foldsCase ? 'lower' : 'keep') as KnimeUser;
  }

  /** To the helper, names that differ in case alone are one user's from now on, or are not any more. */
  setCase(folds: boolean): void {
    this.#foldsCase = folds;
    const known = [...this.#accounts];
    this.#accounts.clear();
    for (const [name, osUser] of known) this.leads(name, osUser);
  }

  of(name: KnimeUser): Executor | undefined {
    const osUser = this.accountOf(name);
    return osUser === undefined ? undefined : this.#executors.get(osUser);
  }

  /** Finds the rule of each anew. */
  judge(policy: Policy): void {
    for (const executor of this.#executors.values()) executor.rule = ruleInForce(policy, executor);
  }

  /** Jobs of this name go to the executor of that account. */
  leads(name: KnimeUser, osUser: OsUser): void {
    this.#accounts.set(this.folded(name), osUser);
  }

  /**
   * Takes an executor into the books. A new process under an account known before is a new one, and has to become ready anew. `moved`: its names that led
   * elsewhere before.
   */
  adopt(
    info: ExecutorInfo,
    policy: Policy,
    now: number,
  ): { readonly executor: Executor; readonly isNew: boolean; readonly moved: ReadonlySet<KnimeUser> } {
    const { osUser, uid, mainPid, knimeUsers, sinceMs } = info;
    const moved = new Set(knimeUsers.filter((name) => this.accountOf(name) !== osUser).map((name) => this.folded(name)));
    for (const name of moved) this.leads(name, osUser);
    const known = this.#executors.get(osUser);
    const named = knimeUsers.length > 0;
    const user = knimeUsers[0] ?? knimeUserSchema.parse(osUser);
    if (known && known.pid === mainPid) {
      known.named = named;
      // The helper has another map than before: to it, the name would be another account's.
      if (named && !knimeUsers.some((name) => this.folded(name) === this.folded(known.user)))
        Object.assign(known, { user, groups: undefined });
      return { executor: known, isNew: false, moved };
    }
    if (known) this.remove(known, now);
    const executor: Executor = {
      osUser,
      uid,
      pid: mainPid,
      user,
      named,
      groups: undefined,
      rule: ruleInForce(policy, { user, groups: undefined, rule: undefined }),
      since: now,
      startedMs: sinceMs,
      startedAt: new Date(Math.min(sinceMs, DATE_MS_MAX)).toISOString(),
      isOurs: false,
      startedFor: undefined,
      leaving: false,
      ready: false,
      booted: false,
      readySince: 0,
      deadline: now + (policy.readyDelayMs ?? 0) + policy.startTimeoutMs,
      link: new ExecutorLink(),
      given: new GivenJobs(),
      end: undefined,
      get ending() {
        return this.end !== undefined;
      },
      failed: false,
      quietSince: now,
      unusedSince: undefined,
      workedSince: now,
      seenUntil: undefined,
      cpuMs: 0,
      measured: false,
      cpuShare: undefined,
      memoryBytes: undefined,
    };
    this.#executors.set(osUser, executor);
    this.#booting += 1;
    return { executor, isNew: true, moved };
  }

  markReady(executor: Executor, now: number): void {
    if (executor.ready) return;
    if (!executor.booted) {
      this.#booting -= 1;
      executor.workedSince = now; // one that was without a connection may have worked on
    }
    executor.ready = true;
    executor.booted = true;
    executor.readySince = now;
    executor.quietSince = now;
    executor.link.ready(now);
  }

  /** It has run for everybody whose jobs go to it. */
  remove(executor: Executor, now: number): void {
    this.#executors.delete(executor.osUser);
    if (!executor.booted) this.#booting -= 1;
    for (const name of this.#namesOf(executor)) this.#recent.ran(name, executor.since, now);
  }

  #namesOf({ user, osUser }: Executor): Iterable<KnimeUser> {
    const names = [...this.#accounts].flatMap(([name, account]) => (account === osUser ? [name] : []));
    return new Map([user, ...names].map((name) => [name.toLowerCase(), name])).values();
  }

  /** The executor time that this user has had recently, in milliseconds: that of executors that have ended. */
  recentMs(name: KnimeUser, now: number): number {
    return this.#recent.of(name, now);
  }

  /** Nobody's jobs go to this account any more. */
  forgetNames(gone: OsUser): void {
    for (const [name, osUser] of this.#accounts) if (osUser === gone) this.#accounts.delete(name);
  }

  /** As the policy's limits count: with the users for whose executors the helper has been asked. */
  load(asked: Iterable<Pick<User, 'name' | 'rule'>>): Pick<Load, 'executors' | 'starting' | 'byRule'> {
    const starting = [...asked].filter(({ name }) => !this.of(name));
    const all = this.#executors;
    let byRule: Map<Rule, number> | undefined;
    return {
      executors: this.size + starting.length,
      starting: this.#booting + starting.length,
      // It takes a look at each executor, and only rules with a limit need it.
      get byRule() {
        byRule ??= counted([...all.values(), ...starting]);
        return byRule;
      },
    };
  }
}

function counted(ruled: Iterable<{ readonly rule: Rule | undefined }>): Map<Rule, number> {
  const byRule = new Map<Rule, number>();
  for (const { rule } of ruled) if (rule) byRule.set(rule, (byRule.get(rule) ?? 0) + 1);
  return byRule;
}

/** Its processor time is counted by another from now on, who may have begun at another time: what was seen so far says nothing of it. */
export function countAnew(executor: Executor): void {
  executor.seenUntil = undefined;
  executor.cpuShare = undefined;
}

/** Processor time between two lists tells whether an executor works on something that did not come by way of kpx. */
export function sample(executor: Executor, cpuMs: number, idleCpuShare: number, now: number): void {
  const { seenUntil, cpuMs: before } = executor;
  executor.cpuMs = cpuMs;
  executor.seenUntil = cpuMs === 0 || !executor.named ? undefined : now; // 0: nobody counts it
  if (executor.seenUntil === undefined) executor.cpuShare = undefined;
  else if (seenUntil !== undefined && seenUntil !== now) executor.cpuShare = Math.max(0, (cpuMs - before) / (now - seenUntil));
  const works = seenUntil !== now && (executor.cpuShare ?? 1) > idleCpuShare;
  if (executor.seenUntil === undefined || works) executor.quietSince = now;
  const pauses = executor.seenUntil === undefined || (seenUntil !== now && !works);
  if (executor.given.hasTakenMore() || pauses) executor.workedSince = now;
}
