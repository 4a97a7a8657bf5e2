import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Config } from '../config/config.js';
import { Link } from '../host/link.js';
import { backoffMs } from '../policy/backoff.js';
import { withAdvice } from './advice.js';
import { ConfirmWatch } from './confirm-watch.js';
import { whyConsumerEnded } from './consumer-ended.js';
import type { InForce } from './in-force.js';
import { JobQueueGate } from './job-queue-gate.js';
import { describe, tooLarge } from './jobs.js';
import type { JobMac } from './mac.js';
import { type Outcome, Relay } from './relay.js';
import { AmqpSession, type Ending, type SessionHandlers } from './session.js';
import { SlowStart } from './slow-start.js';
import { Suspects } from './suspects.js';
import type { WireMessage } from './wire/amqplib.js';
import type { WireProperties } from './wire/properties.js';

const RECONNECT_INITIAL_MS = 500;
const RECONNECT_MAX_MS = 10_000;
/** How long a graceful stop waits for confirms that are under way, in milliseconds. */
const STOP_TIMEOUT_MS = 5_000;

/** The events and questions of a lane. */
interface LaneHandlers {
  /** There is a connection again, after another one. */
  reconnected(): void;
  /** RabbitMQ gives jobs from now on. */
  opened(): void;
  delivery(message: WireMessage): void;
  /** A job is elsewhere, confirmed; `reason` with those that were parked. */
  left(outcome: Outcome, reason?: string): void;
  /** Jobs in hand that go back to the queue: none of them is settled after this. */
  release(): readonly WireMessage[];
  /** The connection is gone, and RabbitMQ has put back what was in hand. */
  lost(): void;
}

/** The parts that live as long as a connection. */
interface Served {
  readonly session: AmqpSession;
  readonly relay: Relay;
  readonly slowStart: SlowStart;
}

/** From one job queue to where its jobs go: connects, serves, and connects again, to whichever of `amqp.urls` answers. */
export class Lane {
  readonly link = new Link();
  readonly gate: JobQueueGate;
  readonly #log: Logger;
  readonly #config: () => Config;
  readonly #mac: () => JobMac;
  readonly #handlers: LaneHandlers;
  readonly #suspects = new Suspects();
  readonly #stopping = new AbortController();
  /** Aborted, and replaced, when another configuration is in force. */
  #replacing = new AbortController();
  #served: Served | undefined;
  #hasServed = false;

  /** `config` answers the configuration in force: while `amqp` is the same object, the connection is to be the same. */
  constructor(log: Logger, { config, mac }: InForce, handlers: LaneHandlers) {
    this.#log = log;
    this.#config = config;
    this.#mac = mac;
    this.#handlers = handlers;
    this.gate = new JobQueueGate(log, this.link);
  }

  /** Undefined while there is no connection. */
  get relay(): Relay | undefined {
    return this.#served?.relay;
  }

  /** Do bodies in hand leave no room for more? */
  get crowded(): boolean {
    return this.#served?.session.crowded === true;
  }

  /** Runs until {@link stop}. Errors of RabbitMQ are logged and tried again; they never end it. */
  async run(): Promise<void> {
    let failures = 0;
    while (!this.#stopping.signal.aborted) {
      const { amqp } = this.#config();
      // Every URL is tried before there is a pause.
      for (const url of amqp.urls) {
        if (this.#leaves(amqp)) break;
        if (await this.#serve(url, amqp)) failures = 0;
      }
      if (this.#leaves(amqp)) continue;
      const wait = backoffMs(failures++, RECONNECT_INITIAL_MS, RECONNECT_MAX_MS, Math.random());
      this.link.waits(wait);
      await delay(wait, undefined, { signal: this.#woken() }).catch(() => {}); // by stop() or replace()
      this.link.tries();
    }
  }

  /** Goes over to another configuration, which is in force already. Jobs in hand are put back. */
  async replace(): Promise<void> {
    this.#replacing.abort();
    this.#replacing = new AbortController();
    await this.#close('another configuration');
  }

  /** Jobs in hand go back to the queue, jobs under way are confirmed. Takes STOP_TIMEOUT_MS and little more at most. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#close('stopping');
  }

  async #close(why: string): Promise<void> {
    const served = this.#served;
    if (!served) return; // connecting, or waiting to: run() sees that it is to end, or to be elsewhere
    try {
      await Promise.race([this.#settleAll(served, why), delay(STOP_TIMEOUT_MS, undefined, { ref: false })]);
    } finally {
      await served.session.close();
    }
  }

  async #settleAll({ session, relay }: Served, why: string): Promise<void> {
    await session.cancel().catch((error: Error) => this.#log.warn({ reason: error.message }, 'the consumer could not be cancelled'));
    const held = this.#handlers.release();
    for (const message of held) relay.putBackNow(message);
    this.#log.info({ put_back: held.length }, `${why}: held jobs are back in the queue`);
    await relay.settled();
  }

  #woken(): AbortSignal {
    return AbortSignal.any([this.#stopping.signal, this.#replacing.signal]);
  }

  /** Is a connection of this configuration to end? */
  #leaves(amqp: Config['amqp']): boolean {
    return this.#stopping.signal.aborted || this.#config().amqp !== amqp;
  }

  /** One connection from beginning to end. Answers whether a job has passed: that it could be opened does not make it good. */
  async #serve(url: string, amqp: Config['amqp']): Promise<boolean> {
    const server = new URL(url).host;
    let confirms: ConfirmWatch | undefined;
    const session = await this.#open(server, url, amqp, (on) => confirms?.blocked(on));
    if (session === undefined) return false;
    if (this.#leaves(amqp)) {
      await session.close();
      return true;
    }
    if (this.#hasServed) this.#handlers.reconnected();
    this.#hasServed = true;
    let passed = false;
    const relay = this.#relayOf(session, (outcome) => {
      passed ||= outcome !== 'returned';
      slowStart.look(relay.underWayCount);
    });
    let cancelled: (why: string) => void = () => {};
    const cancel = new Promise<Ending>((resolve) => {
      cancelled = (why) => resolve({ why, refused: false });
    });
    confirms = new ConfirmWatch(() => relay.oldestUnderWay, cancelled);
    const unwatch = this.gate.watch(cancelled, session, url, amqp);
    const slowStart = new SlowStart(amqp.prefetch, (prefetch) => {
      session.widen(prefetch).catch((error: Error) => cancelled(error.message));
    });
    this.#served = { session, relay, slowStart };
    this.#consume(server, this.#served, amqp, cancelled);
    const ending = await Promise.race([session.ended, cancel]);
    if (ending.refused) this.#suspects.note(relay.underWay, ending.why);
    confirms.stop();
    unwatch();
    await this.#over(server, url, amqp, ending);
    return passed;
  }

  /** Undefined where RabbitMQ cannot be used, which has been logged. */
  async #open(server: string, url: string, amqp: Config['amqp'], blocked: (on: boolean) => void): Promise<AmqpSession | undefined> {
    let session: AmqpSession | undefined;
    try {
      session = await AmqpSession.open(url, amqp, hostname(), this.#sessionHandlers(server, amqp, blocked), this.#stopping.signal);
      await this.gate.opens(this.#woken(), session, url, amqp);
      return session;
    } catch (error) {
      await session?.close();
      this.link.down(`${server}: ${(error as Error).message}`);
      if (!this.#stopping.signal.aborted) {
        this.#log.error({ server, reason: (error as Error).message }, 'RabbitMQ cannot be used; trying again');
      }
      return undefined;
    }
  }

  #sessionHandlers(server: string, amqp: Config['amqp'], blocked: (on: boolean) => void): SessionHandlers {
    return {
      tooLarge: (properties: WireProperties, bytes: number) => {
        if (!this.relay) throw new Error('a job has come before the relay');
        return this.relay.parkedAs(properties, bytes, tooLarge(bytes));
      },
      crowded: (on) => {
        if (on) this.#log.warn({ server }, 'jobs in hand take all of amqp.held_bytes_max: no further ones until half of it is free');
        else this.#log.info({ server }, 'half of amqp.held_bytes_max is free: jobs are taken again');
      },
      delivery: (message) => this.#taken(message, amqp),
      blocked: (reason) => {
        blocked(reason !== undefined);
        if (reason === undefined) this.#log.info({ server }, 'RabbitMQ takes messages again');
        else this.#log.warn({ server, reason }, 'RabbitMQ takes no messages (alarm); jobs wait');
      },
    };
  }

  #relayOf(session: AmqpSession, left: (outcome: Outcome) => void): Relay {
    return new Relay(session, session.publisher, { config: this.#config(), host: hostname(), mac: this.#mac }, this.#suspects, {
      unusable: (message, reason, detail) => this.#log.warn({ ...describe(message), reason, detail }, 'job parked'),
      problem: (message, why) => this.#log.error({ ...describe(message), reason: why }, 'RabbitMQ has not taken a job'),
      left: (outcome, reason) => {
        this.#handlers.left(outcome, reason);
        left(outcome);
      },
    });
  }

  #consume(server: string, served: Served, amqp: Config['amqp'], cancelled: (why: string) => void): void {
    const { session, slowStart } = served;
    const { queue, prefetch } = amqp;
    session
      .consume(queue, slowStart.prefetch, () => cancelled(whyConsumerEnded(queue, this.gate.jobQueue)))
      .then(() => {
        if (this.#served !== served) return; // lost meanwhile
        this.link.up();
        this.#log.info({ server, queue, prefetch }, 'consuming');
        this.#handlers.opened();
      })
      .catch((error: Error) => cancelled(error.message));
  }

  async #over(server: string, url: string, amqp: Config['amqp'], ending: Ending): Promise<void> {
    const served = this.#served;
    const reason = withAdvice(ending.why, url);
    this.link.down(`${server}: ${reason}`);
    served?.relay.close();
    this.#served = undefined;
    this.#handlers.lost();
    if (!this.#leaves(amqp)) this.#log.warn({ server, reason }, 'lost RabbitMQ; connecting again');
    await served?.session.close();
  }

  #taken(message: WireMessage, amqp: Config['amqp']): void {
    const { passage } = message.properties;
    if (passage?.passedOn !== undefined) {
      const { reason, detail } = tooLarge(passage.bytes);
      this.#log.warn({ ...describe(message), reason, detail }, 'job parked');
      this.relay?.parked(message, passage.passedOn, reason);
    } else if (this.#leaves(amqp)) this.relay?.putBackNow(message);
    else this.#handlers.delivery(message);
    this.#served?.slowStart.taken();
    this.#served?.slowStart.look(this.relay?.underWayCount ?? 0);
  }
}
