import { setTimeout as delay } from 'node:timers/promises';
import type { OsUser } from '@kpx/protocol';
import type { Logger } from 'pino';
import { answerInTime } from '../amqp/deadline.js';
import { NO_QUEUE } from '../amqp/publisher.js';
import type { Config } from '../config/config.js';
import { shellWord } from '../output/format.js';
import type { Provisioning, SeenQueue, Some } from '../rabbitmq/provisioning.js';
import type { AccountSession } from './account-session.js';
import { isUnknownQueue, type Learned, proposed, ruleFor, wanted } from './learned.js';
import type { Call, Mirrors } from './mirrors.js';
import { THEIR_EXCHANGES, theirsBut } from './names.js';

/**
 * How often it is looked what an executor has declared, in milliseconds; without rules of `[[sealed.learn]]`, each so many times, and ten times as seldom once
 * it has run for five minutes.
 */
const LOOK_EVERY_MS = 5_000;
const SELDOM_TICKS = 6;
const SETTLED_TICKS = 60;
/** The pause between two looks, in milliseconds, and as a multiple of the last look: an account that publishes all the time takes a fifth of it. */
const PAUSE_MS = 50;
const PAUSE_OF_LOOKS = 4;
/** Of one executor: things that the log names. `kpxctl sealed learn` shows all. */
const LOGGED_MAX = 20;

interface Lane {
  readonly call: Call;
  /** Has the broker declared this queue for a client? */
  readonly ours: (queue: string) => boolean;
}

interface Services {
  readonly log: Logger;
  readonly config: Config;
  readonly api: Provisioning;
  readonly mirrors: Mirrors;
}

/** Watches what the executor of one account declares in its virtual host, and mirrors at the server what the rules name. */
export class Learning {
  readonly #services: Services;
  readonly #account: OsUser;
  readonly #vhost: string;
  readonly #lane: Lane;
  readonly #mirrored = new Set<string>();
  readonly #problems = new Map<string, string>();
  readonly #logged = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;
  #notBefore = Number.NEGATIVE_INFINITY;
  #isFailing = false;
  #ended = false;

  constructor(services: Services, account: OsUser, vhost: string, lane: Lane) {
    this.#services = services;
    this.#account = account;
    this.#vhost = vhost;
    this.#lane = lane;
  }

  get #rules() {
    return this.#services.config.sealed.learn;
  }

  /** Looks from time to time, until {@link end}. */
  begin(): void {
    let ticks = 0;
    const look = () => {
      const every = ticks < SETTLED_TICKS ? SELDOM_TICKS : SETTLED_TICKS;
      if (this.#rules.length + this.#mirrored.size > 0 || ticks % every === every - 1) this.#look().catch(() => {}); // it never rejects
      ticks += 1;
    };
    this.#timer ??= setInterval(look, LOOK_EVERY_MS);
    look();
  }

  /**
   * To be awaited before a message of the account goes up: what it tells of is at the server then. Resolves when all queues that were declared before this
   * call have their mirrors, or that has failed. At once without rules. Never rejects.
   */
  async caughtUp(): Promise<void> {
    if (this.#rules.length > 0) await this.#look();
  }

  /** One look at a time: everybody who asks meanwhile shares the next one. Never rejects. */
  async #look(): Promise<void> {
    this.#next ??= this.#looking.then(async () => {
      await delay(Math.max(0, this.#notBefore - performance.now()));
      this.#next = undefined;
      const began = performance.now();
      this.#looking = this.#lookOnce();
      await this.#looking;
      const now = performance.now();
      this.#notBefore = now + Math.max(PAUSE_MS, PAUSE_OF_LOOKS * (now - began));
    });
    await this.#next;
  }

  async #lookOnce(): Promise<void> {
    const { log } = this.#services;
    if (this.#ended) return;
    try {
      const { items } = await this.#queues();
      await this.#mirror(items.map(({ name }) => name));
      this.#tell(items);
      this.#isFailing = false;
    } catch (error) {
      const reason = (error as Error).message;
      if (!this.#isFailing) log.warn({ account: this.#account, reason }, 'nobody can say what an executor has declared; looking again');
      this.#isFailing = true;
    }
  }

  /** Those of the account, without the job queue. */
  async #queues(): Promise<Some<SeenQueue>> {
    const { api, config } = this.#services;
    const { items, total } = await api.queuesLike(this.#vhost, theirsBut(config.amqp.queue));
    return { items: items.filter(({ name }) => !this.#lane.ours(name)), total };
  }

  async #mirror(queues: readonly string[]): Promise<void> {
    const { mirrors } = this.#services;
    const { mirrors: names, left } = wanted(this.#rules, queues, this.#mirrored);
    const gone = [...this.#mirrored].filter((queue) => !names.includes(queue));
    this.#problems.clear();
    for (const queue of left) this.#fails(queue, `[[sealed.learn]] allows ${ruleFor(this.#rules, queue)?.max} of these for an account`);
    await Promise.all([...gone.map((queue) => this.#release(queue)), ...names.map((queue) => this.#take(queue))]);
    if (this.#ended) for (const queue of this.#mirrored) await mirrors.close(this.#account, queue);
  }

  async #take(queue: string): Promise<void> {
    const { mirrors, log } = this.#services;
    const why = await mirrors.open(this.#account, queue, this.#call);
    if (why !== undefined) {
      this.#mirrored.delete(queue);
      this.#fails(queue, why);
    } else if (!this.#mirrored.has(queue)) {
      this.#mirrored.add(queue);
      log.info({ account: this.#account, queue }, 'calls of the server reach a queue that an executor has declared');
    }
  }

  /** A call for a queue that is gone is gone with it, and so is its mirror then. */
  #call: Call = async (queue, message) => {
    const given = await this.#lane.call(queue, message);
    if (given.is !== 'not yet' || given.why !== NO_QUEUE) return given;
    await this.#look();
    return { is: 'given' };
  };

  async #release(queue: string): Promise<void> {
    this.#mirrored.delete(queue);
    await this.#services.mirrors.close(this.#account, queue);
    this.#services.log.info({ account: this.#account, queue }, 'a queue of an executor is gone, and its mirror with it');
  }

  #fails(queue: string, why: string): void {
    this.#problems.set(queue, why);
    this.#once(`mirror ${queue}`, { queue, reason: why }, 'a queue of an executor has no mirror: no call of the server reaches it');
  }

  #tell(queues: readonly SeenQueue[]): void {
    const advice = `kpxctl sealed learn ${shellWord(this.#account)} shows what to configure`;
    for (const { name } of queues.filter((queue) => isUnknownQueue(queue, this.#services.config)))
      this.#once(`queue ${name}`, { queue: name }, `an executor has declared a queue that no call of the server reaches; ${advice}`);
  }

  #once(what: string, facts: object, message: string): void {
    if (this.#logged.has(what) || this.#logged.size >= LOGGED_MAX) return;
    this.#logged.add(what);
    this.#services.log.warn({ account: this.#account, ...facts }, message);
  }

  /** The executor has ended: the mirrors go. */
  async end(): Promise<void> {
    this.#ended = true;
    clearInterval(this.#timer);
    await this.#looking;
    for (const queue of this.#mirrored) await this.#services.mirrors.close(this.#account, queue);
    this.#mirrored.clear();
  }

  /** Deletes queues that the rules name and that an executor has left: the next one must not be called by them. Throws an Error for operators. */
  async clear(session: AccountSession): Promise<void> {
    if (this.#rules.length === 0) return;
    const { items } = await this.#queues();
    for (const { name } of items.filter((queue) => ruleFor(this.#rules, queue.name)))
      await session.apart((channel) => answerInTime(channel.deleteQueue(name), `queue.delete of "${name}"`));
  }

  /** Looks anew. `published`: exchanges by which the account has published something that was refused. Throws an Error for operators. */
  async report(published: ReadonlySet<string>): Promise<Learned> {
    const { api, config } = this.#services;
    await this.#look();
    const [queues, exchanges] = await Promise.all([this.#queues(), api.exchangesLike(this.#vhost, THEIR_EXCHANGES)]);
    return {
      account: this.#account,
      vhost: this.#vhost,
      queues: { ...queues, items: queues.items.map((queue) => ({ ...queue, mirrored: this.#mirrored.has(queue.name) })) },
      exchanges,
      problems: [...this.#problems].map(([queue, why]) => ({ queue, why })),
      toml: proposed(queues.items, exchanges.items, published, config),
    };
  }
}
