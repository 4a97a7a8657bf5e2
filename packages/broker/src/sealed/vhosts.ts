import type { OsUser } from '@kpx/protocol';
import { sealedName } from '@kpx/protocol';
import { CommandError, EXIT } from '../output/exit.js';
import type { Vhost } from '../rabbitmq/provisioning.js';
import type { AccountLane } from './account-lane.js';
import type { Learned } from './learned.js';
import { prefixOf } from './names.js';
import type { RefusedRow } from './refused.js';
import { outdated, usedOf } from './retention.js';
import type { SealedServices } from './services.js';
import {
  isLost,
  type SealedAccount,
  type SealedList,
  type SealedTally,
  stateOf,
  type VhostState,
  waitingIn,
  waitingOf,
} from './standing.js';

/** Virtual hosts that are looked into at the same time. */
const LOOKS_AT_ONCE = 8;

/** Accounts with something under way. */
interface Busy {
  readonly lanes: ReadonlyMap<OsUser, AccountLane>;
  /** A start waits for these. */
  readonly ends: Map<OsUser, Promise<void>>;
  readonly running: () => ReadonlyMap<OsUser, unknown>;
}

/** An account, and what the accounts' RabbitMQ has of it. */
export interface Holdings extends SealedAccount {
  readonly has_vhost: boolean;
  readonly has_user: boolean;
}

/** Questions and orders of operators about accounts. All of it throws CommandError. */
export interface SealedOperations {
  /** All accounts with a virtual host. */
  list(): Promise<SealedList>;
  /** Refused messages of one account, or of all, since the broker started. */
  refused(account: OsUser | undefined): RefusedRow[];
  /** All that {@link purge} would remove. */
  holdingsOf(account: OsUser): Promise<Holdings>;
  /** Everything that the executor of an account has declared. Throws CommandError. */
  learned(account: OsUser): Promise<Learned>;
  /** Removes everything of an account without an executor; its jobs go back to the server first. */
  purge(account: OsUser): Promise<Holdings>;
}

/** The virtual hosts of all accounts, those without an executor included: how long they stay, and what operators see of them. */
export class Vhosts {
  readonly #services: SealedServices;
  readonly #busy: Busy;
  /** Accounts with a virtual host, as far as the broker knows. */
  readonly #known = new Set<OsUser>();

  constructor(services: SealedServices, busy: Busy) {
    this.#services = services;
    this.#busy = busy;
  }

  /** The account of a virtual host or user with this node's name. */
  accountOf = (name: string) => name.slice(prefixOf(this.#services.node).length) as OsUser;

  /** All of this node's. Throws as the management API does. */
  async all(): Promise<Vhost[]> {
    const vhosts = await this.#services.api.vhosts(prefixOf(this.#services.node));
    this.#known.clear();
    for (const { name } of vhosts) this.#known.add(this.accountOf(name));
    return vhosts;
  }

  /** This account has one. */
  isThere(account: OsUser): void {
    this.#known.add(account);
  }

  /** Those of accounts that have had no executor for a while. */
  async outdated(): Promise<Vhost[]> {
    const { lanes } = this.#busy;
    const unused = (await this.all()).filter(({ name }) => !lanes.has(this.accountOf(name)));
    const { keep: keepMs, vhosts_max: max } = this.#services.config.sealed;
    const names = new Set(outdated(unused, lanes.size, { keepMs, max }, Date.now()));
    return unused.filter(({ name }) => names.has(name));
  }

  /** It has no executor, none that starts, and none whose end is being dealt with. */
  isFree(account: OsUser): boolean {
    const { lanes, ends, running } = this.#busy;
    return !lanes.has(account) && !ends.has(account) && !running().has(account);
  }

  /** Removes the virtual host of an account that has had no executor for a while. */
  async removeUnused(account: OsUser): Promise<void> {
    const { api, forget, node } = this.#services;
    forget(account);
    await api.deleteVhost(sealedName(node, account));
    this.#known.delete(account);
  }

  /** Removes the virtual host and the user of an account for good, with all that is in there. */
  async remove(account: OsUser): Promise<void> {
    const { api, forget, node, refused } = this.#services;
    const name = sealedName(node, account);
    forget(account);
    await api.deleteUser(name);
    await api.deleteVhost(name);
    this.#known.delete(account);
    refused.forget(account);
  }

  /** Never rejects. */
  async list(): Promise<SealedList> {
    const described = new Map<OsUser, Vhost | undefined>();
    for (const account of this.#busy.lanes.keys()) described.set(account, undefined);
    let problem: string | null = null;
    try {
      for (const vhost of await this.all()) described.set(this.accountOf(vhost.name), vhost);
    } catch (error) {
      problem = (error as Error).message;
    }
    const left = [...described].sort(([a], [b]) => (a < b ? -1 : 1)).values();
    const accounts: SealedAccount[] = [];
    const work = async () => {
      for (const [account, vhost] of left) accounts.push(await this.#standingOf(account, vhost));
    };
    await Promise.all(Array.from({ length: LOOKS_AT_ONCE }, work));
    return { accounts: accounts.sort((a, b) => (a.account < b.account ? -1 : 1)), problem };
  }

  async #standingOf(account: OsUser, vhost: Vhost | undefined): Promise<SealedAccount> {
    const { config, node, refused } = this.#services;
    const inside = this.#busy.lanes.get(account)?.inside;
    const usedAt = vhost && usedOf(vhost);
    return {
      account,
      vhost: sealedName(node, account),
      state: inside ? stateOf(inside) : 'kept',
      ...(inside ? await waitingIn(inside, config.amqp.queue) : await this.#waitingInKept(account)),
      open_answers: inside?.replies.answers.size ?? 0,
      refused: refused.countsOf(account),
      last_used: usedAt === undefined ? null : new Date(usedAt).toISOString(),
    };
  }

  async #waitingInKept(account: OsUser) {
    const { api, config, node } = this.#services;
    const queues = await api.queues(sealedName(node, account)).catch(() => undefined);
    return queues ? waitingOf(queues, config.amqp.queue) : { jobs: null, up: null, replies: null };
  }

  /** All that {@link remove} would remove. Throws CommandError where it may not, or there is nothing. */
  async holdingsOf(account: OsUser): Promise<Holdings> {
    const { api, node, administrator } = this.#services;
    const name = sealedName(node, account);
    try {
      const [vhosts, has_user, me] = [await this.all(), await api.hasUser(name), await administrator()];
      const vhost = vhosts.find((each) => each.name === name);
      if (name === me) throw new CommandError(EXIT.noPermission, `"${name}" is the broker's own user at the accounts' RabbitMQ.`);
      if (!vhost && !has_user)
        throw new CommandError(EXIT.noInput, `The accounts' RabbitMQ has no virtual host "${name}", and no such user: kpxctl sealed list`);
      this.mustBeFree(account);
      return { ...(await this.#standingOf(account, vhost)), has_vhost: vhost !== undefined, has_user };
    } catch (error) {
      if (error instanceof CommandError) throw error;
      throw new CommandError(EXIT.unavailable, (error as Error).message, { cause: error });
    }
  }

  /** Throws CommandError where the account has an executor, or something is under way. */
  mustBeFree(account: OsUser): void {
    const { lanes, ends, running } = this.#busy;
    if (running().has(account))
      throw new CommandError(EXIT.noPermission, `The executor of "${account}" runs: end it first, kpxctl stop USER.`);
    if (ends.has(account))
      throw new CommandError(
        EXIT.noPermission,
        `The end of the last executor of "${account}" is not dealt with yet: try again in a moment.`,
      );
    if (lanes.has(account))
      throw new CommandError(EXIT.noPermission, `An executor of "${account}" starts: end it first, kpxctl stop USER.`);
  }

  tally(): Omit<SealedTally, 'shared'> {
    const { lanes } = this.#busy;
    const accounts: Record<VhostState, number> = { connected: 0, connecting: 0, ending: 0, kept: 0 };
    let [jobs_waiting, lost] = [0, 0];
    for (const lane of lanes.values()) {
      accounts[stateOf(lane.inside)] += 1;
      if (isLost(lane.inside)) lost += 1;
      jobs_waiting += lane.jobsWaiting;
    }
    for (const account of this.#known) if (!lanes.has(account)) accounts.kept += 1;
    const { config, refused } = this.#services;
    return { accounts, lost, vhosts_max: config.sealed.vhosts_max, jobs_waiting, refused: refused.counts };
  }
}
