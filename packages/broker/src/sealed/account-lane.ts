import { setTimeout as delay } from 'node:timers/promises';
import { type OsUser, sealedName } from '@kpx/protocol';
import type { WireMessage } from '../amqp/wire/amqplib.js';
import { backoffMs } from '../policy/backoff.js';
import type { AccountSession, Ending } from './account-session.js';
import { Carrying } from './carrying.js';
import { finish, takeBack, takeBackEarlier } from './finishing.js';
import { type Given, Giving, NOT_CONNECTED } from './giving.js';
import { Learning } from './learning.js';
import { openVhost } from './opening.js';
import { Registration } from './registration.js';
import { Replies } from './replies.js';
import { usedAt } from './retention.js';
import type { SealedServices } from './services.js';
import type { Inside } from './standing.js';
import { Taking } from './taking.js';
import { Upward } from './upward.js';

const RECONNECT_INITIAL_MS = 500;
const RECONNECT_MAX_MS = 10_000;
/** How often reply queues that nobody waits for are looked for at least, in milliseconds. */
const SWEEP_MS = 60_000;

/** Why a connection is not used any more. */
type Over = Ending | 'finished' | 'stopped' | 'renewed';

/** Between the server and the virtual host of one account, in both directions, from before its executor starts until all that it has published is carried. */
export class AccountLane {
  readonly name: string;
  readonly account: OsUser;
  /** Starts of its executor that are under way. */
  starts = 0;
  readonly registration: Registration;
  /** Of a virtual host that is not used anew; undefined: it is. */
  descriptionKept: string | undefined;
  #opening: Promise<void> | undefined;
  #made: Promise<unknown> = Promise.resolve();
  readonly #services: SealedServices;
  readonly #carrying: Carrying;
  readonly #replies: Replies;
  readonly #giving: Giving;
  readonly learning: Learning;
  readonly #upward: Upward;
  readonly #stopped = new AbortController();
  #session: AccountSession | undefined;
  #end: (value: 'ending') => void = () => {};
  #stop: (value: 'stopped') => void = () => {};
  readonly #ending = new Promise<'ending'>((resolve) => {
    this.#end = resolve;
  });
  readonly #stopping = new Promise<'stopped'>((resolve) => {
    this.#stop = resolve;
  });
  #isEnding = false;
  /** The session goes by an earlier configuration. */
  #stale = false;
  #renew: (value: 'renewed') => void = () => {};
  #opened: () => void = () => {};
  readonly #taking = new Taking();
  /** Job queues with earlier names, as they were when it connected. */
  #earlier: readonly string[] = [];
  #failures = 0;
  #unconnectedSince = performance.now();

  /** `fromBefore`: there may be jobs from before this broker, whose answers are open. */
  constructor(services: SealedServices, account: OsUser, fromBefore: boolean) {
    this.name = sealedName(services.node, account);
    this.account = account;
    this.#services = services;
    this.#carrying = new Carrying(services, account);
    const { log } = services;
    this.#replies = new Replies(services, services.kept.of(account), fromBefore, {
      answer: (session, message, client) => this.#upward.answer(session, message, client),
      unnamed: (client, reason) =>
        log.warn({ account, client, reason }, 'an account cannot answer to this client by its name: the account has a queue with it'),
      unmade: (client, reason) =>
        log.warn({ account, client, reason }, 'answers of an account to this client are lost until its next job: they have no queue'),
    });
    this.#giving = new Giving(services, this.#replies);
    this.learning = new Learning(services, account, this.name, {
      call: (queue, message) => this.#given((session) => this.#giving.call(session, message, queue)),
      ours: (queue) => this.#replies.isNamed(queue) || this.#earlier.includes(queue),
    });
    this.#upward = new Upward(services, { account, carrying: this.#carrying, replies: this.#replies, learning: this.learning });
    this.registration = new Registration(services, account, this.name);
  }

  get connected(): boolean {
    return this.#usable !== undefined;
  }

  /** Resolves when its virtual host is there: its user can be given rights. Of the last {@link open} or attempt to connect. */
  get made(): Promise<unknown> {
    return this.#made;
  }

  get #usable(): AccountSession | undefined {
    return this.#stale ? undefined : this.#session;
  }

  /** For operators. */
  get inside(): Inside {
    const [unconnectedSince, earlier] = [this.#unconnectedSince, this.#earlier];
    return { session: this.#session, isEnding: this.#isEnding, replies: this.#replies, unconnectedSince, earlier };
  }

  /** Makes what is missing, and connects. One attempt, however often it is asked for: throws an Error for operators. */
  async open(): Promise<void> {
    this.#opening ??= this.#openOnce();
    await this.#opening;
  }

  /** Jobs that were left there were given to an executor before: whom they answer to is known for the time that {@link KeptAnswers} has. */
  async #openOnce(): Promise<void> {
    const session = await this.#establish(true);
    try {
      await takeBack(session, this.#rest);
      await this.learning.clear(session);
    } catch (error) {
      await session.close();
      throw error;
    }
    this.#session = session;
  }

  get #rest() {
    return { jobQueue: this.#services.config.amqp.queue, earlier: this.#earlier, replies: this.#replies, carrying: this.#carrying };
  }

  /** To an executor that runs. One attempt and no Error: {@link run} goes on. */
  async attach(): Promise<void> {
    this.#opening = Promise.resolve();
    await this.#again();
  }

  /** Runs until {@link stop}, or until the end of the executor is dealt with. Errors are logged and tried again. */
  async run(): Promise<void> {
    // A session that has ended says so itself.
    const sweep = () => this.#session && this.#replies.sweep(this.#session, performance.now()).catch(() => {});
    const sweeping = setInterval(sweep, Math.min(SWEEP_MS, this.#services.config.sealed.reply_grace));
    this.learning.begin();
    for (let over: Over | undefined; over !== 'finished' && over !== 'stopped'; ) {
      const session = this.#session ?? (await this.#again());
      if (session) {
        over = await this.#serve(session);
        await this.#left(session, over);
      } else if (this.#stopped.signal.aborted) over = 'stopped';
    }
    clearInterval(sweeping);
    this.#services.kept.keep(this.account, this.#replies.answers, this.#replies.declared);
    await this.learning.end();
  }

  /** Until the connection is lost, the broker ends, or the end of the executor is dealt with. */
  async #serve(session: AccountSession): Promise<Over> {
    const renewed = new Promise<'renewed'>((resolve) => {
      this.#renew = resolve;
    });
    if (this.#stale) this.#renew('renewed');
    if (!this.#isEnding) this.#takeBackEarlier(session);
    const over = Promise.race([session.ended, this.#stopping, renewed]);
    const first = await Promise.race([over, this.#ending]);
    return first === 'ending' ? await Promise.race([over, this.#finished(session)]) : first;
  }

  /** The executor may go on with jobs that it has. All others reach it by the queue with today's name, or the next one. */
  #takeBackEarlier(session: AccountSession): void {
    const { log } = this.#services;
    const facts = { account: this.account, queues: this.#earlier };
    takeBackEarlier(session, this.#rest).then(
      (jobs) => jobs > 0 && log.info({ ...facts, jobs }, 'jobs of an account are taken back from a queue with an earlier name'),
      ({ message: reason }: Error) =>
        log.warn({ ...facts, reason }, 'jobs in a queue with an earlier name are not taken back yet: they are when the executor ends'),
    );
  }

  async #left(session: AccountSession, over: Over): Promise<void> {
    this.#session = undefined;
    this.#taking.forget();
    this.#unconnectedSince = performance.now();
    this.#replies.lost();
    if (typeof over === 'object') {
      if (over.refused) this.#giving.suspect(session.underWay, over.why);
      this.#services.log.warn({ account: this.account, reason: over.why }, 'lost the virtual host of an account; connecting again');
    }
    if (over === 'stopped' || over === 'renewed') await session.settled();
    await session.close();
  }

  /** The executor has ended: its user goes, what it has published is carried, its jobs go back. {@link run} resolves when that is done. */
  end(): void {
    this.#isEnding = true;
    this.#end('ending');
  }

  /** Another configuration is in force: gives nothing more by the connection at hand, settles what it has read, and connects anew. */
  renew(): void {
    this.#stale = true;
    if (this.#session)
      this.#opening = new Promise((resolve) => {
        this.#opened = resolve;
      });
    this.#renew('renewed');
  }

  /** The broker ends, the executor lives on. */
  stop(): void {
    this.#stopped.abort();
    this.#stop('stopped');
  }

  /** How many consumers the job queue has, see {@link Taking}; undefined: nobody can say at the moment. `pid`: of the executor. */
  consumers(pid: number): number | Promise<number | undefined> {
    if (this.#isEnding) return 0;
    return this.#taking.consumers(this.#usable, this.#services.config.amqp.queue, pid);
  }

  /** In its job queue, at the last look. */
  get jobsWaiting(): number {
    return this.#taking.jobsWaiting;
  }

  /** Gives a job to the account. Tells once, and never throws. */
  give(message: WireMessage, hops: number, told: (given: Given) => void): void {
    const session = this.#usable;
    if (!session || this.#isEnding) told(NOT_CONNECTED);
    else this.#giving.give(session, message, hops, told);
  }

  async #given(give: (session: AccountSession) => Promise<Given>): Promise<Given> {
    const session = this.#usable;
    if (!session || this.#isEnding) return NOT_CONNECTED;
    return await give(session);
  }

  /** A message of the server to all accounts, where anybody in there listens. */
  async broadcast(exchange: string, message: WireMessage): Promise<void> {
    await this.#given((session) => this.#giving.broadcast(session, message, exchange));
  }

  /** `isKnown`: what was made for its last executor need not be made again. */
  async #establish(isKnown: boolean): Promise<AccountSession> {
    const { account, name, descriptionKept: description } = this;
    const { made, opened } = openVhost(this.#services, { account, name, description, isKnown }, this.#replies, this.#upward);
    this.#made = made;
    const { session, earlier } = await opened;
    this.#earlier = earlier;
    return session;
  }

  /** After a loss: everything is made anew that is not there any more, the user included. Undefined: it has failed, and there was a wait. */
  async #again(): Promise<AccountSession | undefined> {
    const { log } = this.#services;
    let session: AccountSession | undefined;
    this.#stale = false;
    try {
      session = await this.#establish(false);
      if (!this.#isEnding) await this.registration.repair();
      this.#failures = 0;
      this.#session = session;
      log.info({ account: this.account }, 'the virtual host of an account is connected');
      return session;
    } catch (error) {
      await session?.close();
      const ms = backoffMs(this.#failures++, RECONNECT_INITIAL_MS, RECONNECT_MAX_MS, Math.random());
      log.error(
        { account: this.account, reason: (error as Error).message, again_ms: Math.round(ms) },
        'the virtual host of an account cannot be used; trying again',
      );
      await delay(ms, undefined, { signal: this.#stopped.signal }).catch(() => {}); // by stop()
      return undefined;
    } finally {
      this.#opened();
    }
  }

  /** Resolves with why it has to be done again, after a wait. */
  async #finished(session: AccountSession): Promise<Over> {
    const { api, bounded, log } = this.#services;
    try {
      await this.learning.end();
      const { takenBack, unanswered } = await finish(api, this.name, session, this.#rest);
      await this.learning.clear(session);
      // Until now it was used. One that somebody has just removed is there anew, and bare.
      if (this.descriptionKept === undefined && (await api.putVhost(this.name, usedAt(Date.now())))) bounded.delete(this.account);
      log.info(
        { account: this.account, taken_back: takenBack, unanswered },
        'the virtual host of an account is left: all that was published is carried',
      );
      return 'finished';
    } catch (error) {
      await delay(RECONNECT_INITIAL_MS, undefined, { signal: this.#stopped.signal }).catch(() => {});
      return { why: (error as Error).message, refused: false };
    }
  }
}
