import { hostname } from 'node:os';
import { type KnimeUser, nodeOf, type OsUser } from '@kpx/protocol';
import type { Logger } from 'pino';
import type { InForce } from './amqp/in-force.js';
import type { WireMessage } from './amqp/wire/amqplib.js';
import type { Config } from './config/config.js';
import type { Machine } from './executors/machine.js';
import type { HelperClient } from './host/helper-client.js';
import { CommandError, EXIT } from './output/exit.js';
import { logFailure } from './output/logged-failure.js';
import type { AccountLane } from './sealed/account-lane.js';
import { Kinds, type Running } from './sealed/kinds.js';
import type { Learned } from './sealed/learned.js';
import { type Prepared, prepareUser, SealedUnavailable } from './sealed/preparing.js';
import { type Forged, RefusedRecord, type RefusedRow } from './sealed/refused.js';
import { Sealed } from './sealed/sealed.js';
import type { SealedList, SealedTally } from './sealed/standing.js';
import type { Holdings, SealedOperations } from './sealed/vhosts.js';

interface Served {
  readonly uids: ReadonlySet<number>;
  readonly unknown: ReadonlySet<number>;
}

/** Users whose account is known; beyond, all are forgotten. */
const ACCOUNTS_MAX = 10_000;

/** Told what happens. */
interface Observer {
  /** No job is taken for now, for this reason. */
  readonly waits: (why: string) => void;
  /** An account had everything at its RabbitMQ that its executor needs, after this time, in milliseconds. */
  readonly provisioned: (ms: number) => void;
  /** An answer of this account is with the client. */
  readonly answered: (account: string, correlationId: string) => void;
}

/** The sealed executors of this broker, for as long as it runs. */
export class SealedExecutors implements SealedOperations {
  readonly #log: Logger;
  readonly #observer: Observer;
  readonly #refused = new RefusedRecord();
  readonly #helper: HelperClient;
  readonly #stopped = new AbortController();
  readonly #machine: Machine;
  readonly #sealed: Sealed;
  readonly #kinds: Kinds;
  /** Of users for whom an executor was to be started. */
  readonly #accounts = new Map<KnimeUser, OsUser>();
  /** Of users whose last executor was sealed. */
  readonly #expected = new Map<KnimeUser, OsUser>();
  #onListed: () => void = () => {};
  /** The reason that the helper's executors would find nothing of what is made for them; undefined: there is none. */
  #mismatch: string | undefined;
  readonly #node: string;
  /** Resolves when the helper has said for the first time what runs. */
  readonly #isListed = new Promise<void>((resolve) => {
    this.#onListed = resolve;
  });

  constructor(log: Logger, inForce: InForce, machine: Machine, helper: HelperClient, observer: Observer) {
    this.#log = log;
    this.#helper = helper;
    this.#observer = observer;
    this.#node = nodeOf(inForce.config().sealed);
    this.#machine = machine;
    const passwordHash = async (user: KnimeUser) => (await prepareUser(helper, user)).passwordHash;
    this.#kinds = new Kinds(log, passwordHash);
    const running = () => this.#sealedRunning();
    this.#sealed = new Sealed(log, inForce, hostname(), { running, passwordHash, ...observer, refused: this.#refused });
  }

  #running(): Map<OsUser, Running> {
    return new Map([...this.#machine.running()].map(({ osUser, uid, pid, user }) => [osUser, { osUser, uid, pid, user }]));
  }

  /** Those that share a user with others have no virtual host. */
  #sealedRunning(): Map<OsUser, Running> {
    return new Map([...this.#running()].filter(([osUser]) => this.#kinds.of(osUser) !== 'shared'));
  }

  /** The helper has said hello: its executors log in with this node's name; undefined: they are not sealed. */
  helperIsFor(node: string | undefined): void {
    this.#accounts.clear(); // it may have another map than before
    this.#expected.clear();
    const differs = `sealed.node is "${this.#node}" here and "${node}" in the helper (executor.node in privhelper.toml): write the same in both`;
    const missing = 'the helper makes no passwords: executor.sealed = true is missing in privhelper.toml';
    this.#mismatch = node === undefined ? missing : node === this.#node ? undefined : differs;
    if (this.#mismatch !== undefined)
      this.#log.error({ reason: this.#mismatch }, 'no executor can be started until the configurations agree');
  }

  /** Resolves when jobs may be taken, or at {@link stop}: it is known what runs, and each of it has its way to the server. */
  async begin(): Promise<void> {
    this.#sealed.start();
    const stopped = new Promise<void>((resolve) => this.#stopped.signal.addEventListener('abort', () => resolve()));
    await Promise.race([this.#isListed.then(() => this.#sealed.takeOver()), stopped]);
  }

  /** Goes over to the configuration that has come into force instead of `before`. To be called at once: nothing is given by the old one from here on. */
  async renew(before: Config): Promise<void> {
    await this.#sealed.renew(before);
  }

  /** The helper has just said what runs. */
  listed(): void {
    const reconcile = () => {
      this.#onListed();
      this.#sealed.reconcile();
    };
    const running = this.#running();
    if (this.#kinds.keep(running)) reconcile();
    else this.#kinds.ask(running).then(reconcile, logFailure(this.#log, 'executors cannot be attached to'));
  }

  accountOf(user: KnimeUser): OsUser | undefined {
    return this.#accounts.get(user);
  }

  forged(account: string, user: KnimeUser, { fields: { exchange = '', routingKey = '' } }: WireMessage): void {
    const now = Date.now();
    this.#refused.note(account, { exchange, routingKey, reason: 'another_user' }, now);
    this.#refused.noteForged(account, user, now);
  }

  forgedFor(user: KnimeUser): Forged | undefined {
    return this.#refused.forgedFor(user);
  }

  /** Has the executor of this account the RabbitMQ user that all others share? */
  isShared(account: OsUser): boolean {
    return this.#kinds.of(account) === 'shared';
  }

  /** Whose executors take jobs from their queue, by uid; and of whom nobody can say. `connected`: the uids with a connection to the server's RabbitMQ. */
  async served(connected: () => Promise<ReadonlySet<number>>): Promise<Served> {
    const running = [...this.#running().values()];
    const { uids, unknown } = await this.#sealed.served();
    const shared = running.filter(({ osUser }) => this.isShared(osUser));
    const atServer = shared.length === 0 ? new Set<number>() : await connected();
    const asked = running.filter(({ osUser }) => this.#kinds.of(osUser) === undefined);
    return {
      uids: new Set([...uids, ...shared.map(({ uid }) => uid).filter((uid) => atServer.has(uid))]),
      unknown: new Set([...unknown, ...asked.map(({ uid }) => uid)]),
    };
  }

  /** Has everything ready that the executor of this user will find, the login included. Throws as the helper's client does, and SealedUnavailable. */
  async prepare(user: KnimeUser, provisioning: () => void): Promise<{ settled: () => void }> {
    if (this.#mismatch !== undefined) throw new SealedUnavailable(this.#mismatch);
    const sealed = this.#sealed;
    const expected = this.#expected.get(user);
    this.#expected.delete(user); // until it is proven anew
    const preparing = prepareUser(this.#helper, user); // first: it takes longest
    const came = expected === undefined ? () => {} : sealed.expect(expected);
    let prepared: Prepared;
    try {
      prepared = await preparing;
      this.#knows(user, prepared);
      const { osUser, passwordHash } = prepared;
      if (passwordHash === undefined) await sealed.hasLeft(osUser);
      else {
        provisioning();
        const began = performance.now();
        await sealed.prepare(osUser, passwordHash);
        this.#observer.provisioned(performance.now() - began);
      }
    } finally {
      came();
    }
    const { osUser, passwordHash } = prepared;
    this.#kinds.starts(osUser, passwordHash === undefined ? 'shared' : 'sealed');
    return {
      settled: () => {
        if (passwordHash !== undefined) sealed.settled(osUser);
        this.#kinds.settled(osUser);
      },
    };
  }

  #knows(user: KnimeUser, { osUser, passwordHash }: Prepared): void {
    if (this.#accounts.size >= ACCOUNTS_MAX) {
      this.#accounts.clear();
      this.#expected.clear();
    }
    this.#accounts.set(user, osUser);
    if (passwordHash !== undefined) this.#expected.set(user, osUser);
  }

  async list(): Promise<SealedList> {
    return await this.#sealed.vhosts.list();
  }

  refused(account: OsUser | undefined): RefusedRow[] {
    return this.#refused.rows(account);
  }

  async holdingsOf(account: OsUser): Promise<Holdings> {
    return await this.#sealed.vhosts.holdingsOf(account);
  }

  async purge(account: OsUser): Promise<Holdings> {
    return await this.#sealed.purge(account);
  }

  tally(): SealedTally {
    const shared = [...this.#running().keys()].filter((osUser) => this.isShared(osUser)).length;
    return { ...this.#sealed.vhosts.tally(), shared };
  }

  laneOf(account: OsUser): AccountLane | undefined {
    return this.#sealed.laneOf(account);
  }

  async learned(account: OsUser): Promise<Learned> {
    const lane = this.laneOf(account);
    if (!lane) throw new CommandError(EXIT.noInput, `There is no executor of "${account}": what one declares can be seen while it runs.`);
    const refused = this.#refused.rows(account).flatMap(({ exchange, reason }) => (reason === 'exchange' && exchange ? [exchange] : []));
    return await lane.learning.report(new Set(refused)).catch((error: Error) => {
      throw new CommandError(EXIT.unavailable, error.message, { cause: error });
    });
  }

  /** Executors live on. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#sealed.stop();
  }
}
