import { setTimeout as delay } from 'node:timers/promises';
import type { KnimeUser, OsUser } from '@kpx/protocol';
import type { Logger } from 'pino';
import type { InForce } from '../amqp/in-force.js';
import type { Config } from '../config/config.js';
import { CommandError, EXIT } from '../output/exit.js';
import { logFailure } from '../output/logged-failure.js';
import { backoffMs } from '../policy/backoff.js';
import type { Vhost } from '../rabbitmq/provisioning.js';
import { AccountLane } from './account-lane.js';
import { Downlink } from './downlink.js';
import { inTime } from './in-time.js';
import type { Running } from './kinds.js';
import { Lanes } from './lanes.js';
import { prefixOf } from './names.js';
import { SealedUnavailable } from './preparing.js';
import { purge, removeOutdated } from './purging.js';
import type { RefusedRecord } from './refused.js';
import { renewalFor } from './reload.js';
import { SealedServices } from './services.js';
import { servedOf } from './taking.js';
import { type Holdings, Vhosts } from './vhosts.js';

const RETRY_INITIAL_MS = 500;
const RETRY_MAX_MS = 10_000;
/** How often virtual hosts that are not used any more are looked for, in milliseconds. */
const SWEEP_MS = 3_600_000;
/** How long a stop waits for what is being carried, in milliseconds. */
const STOP_TIMEOUT_MS = 5_000;
/** Virtual hosts of earlier executors that are looked through at the same time. */
const LEFT_AT_ONCE = 4;

/** Facts that the broker knows. */
interface Known {
  /** All that runs. */
  readonly running: () => ReadonlyMap<OsUser, Running>;
  /** Of the password that the executor of this user has. */
  readonly passwordHash: (user: KnimeUser) => Promise<string | undefined>;
  /** No job is taken for now, for this reason. */
  readonly waits: (why: string) => void;
  /** Keeps the refused messages of accounts. */
  readonly refused: RefusedRecord;
  /** An answer of this account is with the client. */
  readonly answered: (account: string, correlationId: string) => void;
}

/** Sealed executors: each account has a virtual host and a user of its own, and a lane in between. */
export class Sealed {
  readonly #log: Logger;
  readonly #services: SealedServices;
  readonly vhosts: Vhosts;
  #downlink: Downlink;
  readonly #running: () => ReadonlyMap<OsUser, Running>;
  readonly #waits: (why: string) => void;
  readonly #lanes = new Lanes();
  /** Resolves when a lane has come to its end. */
  readonly #runs = new Map<OsUser, Promise<void>>();
  /** Of those that end: resolves when that is dealt with. A start waits for it: what is taken back would be handed to the executor that it was taken from. */
  readonly #ends = new Map<OsUser, Promise<void>>();
  readonly #stopped = new AbortController();
  #tookOver = false;
  #taking: Promise<void> | undefined;
  #sweeping: NodeJS.Timeout | undefined;

  constructor(log: Logger, inForce: InForce, host: string, known: Known) {
    this.#log = log;
    this.#running = known.running;
    this.#waits = known.waits;
    this.#services = new SealedServices(
      log,
      inForce,
      host,
      async (account) => {
        const executor = known.running().get(account);
        if (!executor) throw new Error(`the executor of "${account}" does not run any more`);
        const hash = await known.passwordHash(executor.user);
        if (hash === undefined) throw new Error(`the executor of "${account}" is not sealed`);
        return hash;
      },
      known,
    );
    this.vhosts = new Vhosts(this.#services, { lanes: this.#lanes, ends: this.#ends, running: known.running });
    this.#downlink = this.#newDownlink();
  }

  #newDownlink(): Downlink {
    return new Downlink(this.#services, (exchange, message) => this.#lanes.broadcast(exchange, message));
  }

  /** Begins: what accounts publish can be carried from now on. */
  start(): void {
    this.#services.start();
    this.#listen();
  }

  #listen(): void {
    this.#downlink.run().catch(logFailure(this.#log, 'broadcasts do not reach accounts any more'));
  }

  /** Goes over to the configuration that has come into force instead of `before`. Executors live on, and it stays known which answers are open. */
  async renew(before: Config): Promise<void> {
    const { uplink, downlink, lanes, retention } = renewalFor(before, this.#services.config);
    this.#services.renew(uplink);
    if (lanes) for (const lane of this.#lanes.values()) lane.renew();
    if (retention && this.#tookOver) this.#sweep();
    if (!downlink) return;
    await this.#downlink.stop(); // its queues are its own alone
    this.#downlink = this.#newDownlink();
    this.#listen();
  }

  /**
   * After a start of the broker, once it is known what runs: attaches to it, and removes users and clears up after executors that have ended meanwhile. Tries
   * until that has worked, or {@link stop}. Resolves when jobs may be taken.
   */
  async takeOver(): Promise<void> {
    this.#taking ??= this.#takeOver();
    await this.#taking;
  }

  async #takeOver(): Promise<void> {
    const { signal } = this.#stopped;
    for (let failures = 0; !signal.aborted; ) {
      try {
        await this.#takeOverOnce();
        this.#tookOver = true;
        return;
      } catch (error) {
        const ms = backoffMs(failures++, RETRY_INITIAL_MS, RETRY_MAX_MS, Math.random());
        const reason = (error as Error).message;
        this.#waits(`no jobs are taken, as the accounts' RabbitMQ cannot be used: ${reason}`);
        this.#log.error({ reason, again_ms: Math.round(ms) }, "no jobs are taken: the accounts' RabbitMQ cannot be used; trying again");
        await delay(ms, undefined, { signal }).catch(() => {}); // by stop()
      }
    }
  }

  async #takeOverOnce(): Promise<void> {
    const [{ api }, prefix] = [this.#services, prefixOf(this.#services.node)];
    const me = await this.#services.administrator();
    const [users, vhosts] = await Promise.all([api.users(prefix).then((names) => new Set(names)), this.vhosts.all()]);
    const running = this.#running();
    const isLeft = (name: string) => name !== me && !running.has(this.vhosts.accountOf(name));
    await api.deleteUsers([...users].filter(isLeft));
    await Promise.all([...running.values()].map((executor) => this.#attach(executor)));
    const left = vhosts.filter(({ name }) => isLeft(name));
    this.#cleanUp(left, users);
    this.#sweeping ??= setInterval(() => this.#sweep(), SWEEP_MS);
    this.#log.info({ attached: running.size, left: vhosts.length - running.size }, "the accounts' RabbitMQ is taken over");
  }

  /** After executors that ended while there was no broker, and left one of the `users`. Each is spoken for before the first job is taken. */
  #cleanUp(vhosts: readonly Vhost[], users: ReadonlySet<string>): void {
    const turns: Promise<void>[] = [];
    for (const [index, { name, description }] of vhosts.entries()) {
      const account = this.vhosts.accountOf(name);
      const lane = new AccountLane(this.#services, account, true);
      if (!users.has(name)) lane.descriptionKept = description;
      const before = turns[index - LEFT_AT_ONCE] ?? Promise.resolve();
      const done = before.then(() => lane.run());
      turns.push(done);
      this.#ending(lane, done);
    }
  }

  #sweep(): void {
    removeOutdated(this.#services, this.vhosts, this.#stopped.signal, this.#ending).catch(
      logFailure(this.#log, 'virtual hosts of accounts without executors cannot be removed; tried again in an hour'),
    );
  }

  /** To an executor that runs already. Its lane connects by itself where the first attempt fails. */
  async #attach({ osUser }: Running): Promise<void> {
    if (this.#lanes.has(osUser)) return;
    const lane = new AccountLane(this.#services, osUser, true);
    this.#lanes.add(lane);
    await lane.attach();
    this.#run(lane);
  }

  #run(lane: AccountLane): void {
    const done = lane.run();
    done.catch(logFailure(this.#log, 'a lane of an account has failed'));
    this.#runs.set(lane.account, done);
  }

  #ending = (lane: AccountLane, done: Promise<void>): void => {
    this.#lanes.add(lane);
    this.#end(lane, done);
  };

  #end(lane: AccountLane, done: Promise<void>): void {
    lane.end();
    this.vhosts.isThere(lane.account);
    const ended = done.finally(() => {
      this.#lanes.delete(lane.account);
      this.#runs.delete(lane.account);
      this.#ends.delete(lane.account);
    });
    this.#ends.set(lane.account, ended);
    ended.catch(logFailure(this.#log, 'the end of an executor could not be dealt with'));
  }

  /** Removes everything of an account without an executor; its jobs go back to the server. Throws CommandError. Answers what was there. */
  async purge(account: OsUser): Promise<Holdings> {
    if (!this.#tookOver) throw new CommandError(EXIT.unavailable, "The accounts' RabbitMQ is not taken over yet: kpxctl status says why.");
    return await purge(account, this.#services, this.vhosts, this.#stopped.signal, this.#ending);
  }

  /** Before an executor starts: what its last one has left is at the server. Throws {@link SealedUnavailable}. */
  async hasLeft(osUser: OsUser): Promise<void> {
    await inTime(this.takeOver(), "the accounts' RabbitMQ is not taken over yet");
    await inTime(this.#ends.get(osUser), 'the end of its last executor is not dealt with yet');
  }

  /**
   * The helper is asked about this account, whose last executor was sealed: makes all that takes no password meanwhile. Not where there is a lane: it may be
   * of an executor that has just ended. Answers a function to be called when the helper has answered. Never throws.
   */
  expect(osUser: OsUser): () => void {
    if (!this.#tookOver || this.#lanes.has(osUser) || this.#ends.has(osUser) || this.#running().has(osUser)) return () => {};
    const lane = this.#newLane(osUser);
    return lane.registration.expect(lane.made);
  }

  /** Before an executor starts: nobody can log in before all is there. Throws {@link SealedUnavailable}. */
  async prepare(osUser: OsUser, passwordHash: string): Promise<void> {
    await this.hasLeft(osUser);
    if (this.#lanes.has(osUser) && this.#running().has(osUser)) return; // the helper answers that it runs
    const lane = this.#lanes.get(osUser) ?? this.#newLane(osUser);
    /*
     * Two names of one account may ask at the same time. The helper answers in the order in which it made passwords, and its last answer is the hash of the
     * password that the executor has, whichever start came first.
     */
    lane.registration.passwordHash = passwordHash;
    lane.starts += 1;
    const isFirst = lane.starts === 1;
    try {
      const opened = inTime(lane.open(), `the virtual host "${lane.name}" is not ready yet`);
      // Beside each other: the account's code does not know the password before its executor starts, and that is when all is there.
      await Promise.all([opened, lane.registration.register(isFirst, lane.made)]);
      if (!lane.connected) throw new Error(`the virtual host "${lane.name}" is not connected`);
    } catch (error) {
      this.settled(osUser);
      if (!lane.connected) await lane.registration.remove().catch(() => {}); // the next start removes it, too
      throw new SealedUnavailable((error as Error).message, { cause: error });
    }
  }

  #newLane(osUser: OsUser): AccountLane {
    const lane = new AccountLane(this.#services, osUser, false);
    this.#lanes.add(lane);
    lane.open().then(
      () => this.#run(lane),
      // The start is told. Calls that are under way must not undo those of the next one.
      () => lane.registration.rest().then(() => this.#lanes.delete(osUser)),
    );
    return lane;
  }

  /** A start has come to an end, well or not. */
  settled(osUser: OsUser): void {
    const lane = this.#lanes.get(osUser);
    if (lane && lane.starts > 0) lane.starts -= 1;
  }

  /** Goes by what runs: attaches to what runs without a lane, and ends the lanes of what does not. To be called when the helper has just been asked. */
  reconcile(): void {
    if (!this.#tookOver) return;
    const running = this.#running();
    for (const executor of running.values()) {
      if (this.#lanes.has(executor.osUser) || this.#ends.has(executor.osUser)) continue;
      this.#attach(executor).catch(logFailure(this.#log, 'an executor cannot be attached to'));
    }
    for (const [account, lane] of this.#lanes) {
      const done = this.#runs.get(account);
      if (done && !running.has(account) && lane.starts === 0 && !lane.registration.isExpected && !this.#ends.has(account))
        this.#end(lane, done);
    }
  }

  /** Undefined: the account has none at the moment. */
  laneOf(account: OsUser): AccountLane | undefined {
    return this.#lanes.get(account);
  }

  /** Whose executors take jobs from their queue, by uid; and of whom nobody can say. */
  async served(): Promise<{ readonly uids: ReadonlySet<number>; readonly unknown: ReadonlySet<number> }> {
    return await servedOf([...this.#running().values()], this.#lanes);
  }

  /** Executors live on; what is being carried is carried to its end, where that takes no longer than a few seconds. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    clearInterval(this.#sweeping);
    this.#lanes.stop();
    await Promise.race([Promise.allSettled(this.#runs.values()), delay(STOP_TIMEOUT_MS, undefined, { ref: false })]);
    await Promise.all([this.#services.uplink.stop(), this.#downlink.stop(), this.#services.mirrors.stop()]);
  }
}
