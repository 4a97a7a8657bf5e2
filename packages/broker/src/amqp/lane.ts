import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Config } from '../config/config.js';
import { Link } from '../host/link.js';
import type { DelayMs } from '../policy/policy.js';
import { withAdvice } from './advice.js';
import { ConfirmWatch } from './confirm-watch.js';
import { whyConsumerEnded } from './consumer-ended.js';
import { type Depths, watchDepths } from './depths.js';
import type { InForce } from './in-force.js';
import { JobQueueGate } from './job-queue-gate.js';
import { describe, tooLarge } from './jobs.js';
import { Relay } from './relay.js';
import type { Outcome, Parked, RelayObserver } from './relay-observer.js';
import { AmqpSession, CannotOpen, type End, type Ending, type Ends, type SessionHandlers } from './session.js';
import { SlowStart } from './slow-start.js';
import { Suspects } from './suspects.js';
import type { WireMessage } from './wire/amqplib.js';
import type { WireProperties } from './wire/properties.js';

/** How long a graceful stop waits for confirms that are under way, in milliseconds. */
const STOP_TIMEOUT_MS = 5_000;

/** The events and questions of a lane. */
export interface LaneHandlers {
  /** There is a connection again, after another one. */
  reconnected(): void;
  /** RabbitMQ gives jobs from now on. */
  opened(): void;
  delivery(message: WireMessage): void;
  /** A job is elsewhere, confirmed; `parked` with those that are with the dead letters. */
  left: RelayObserver['left'];
  /** A job is with the dead letters, confirmed: the fields of the log. */
  parked(facts: Readonly<Record<string, unknown>>): void;
  /** RabbitMQ has not taken a job. */
  problem(message: WireMessage, why: string): void;
  named(properties: WireProperties): void;
  /** Jobs in hand that go back to the queue: none of them is settled after this. */
  release(): readonly WireMessage[];
  /** An end is gone: what was in hand goes back to the queue, or RabbitMQ has put it there already. */
  lost(): void;
}

/** The orders of a lane. */
export interface LaneSpec {
  /** The `amqp` of its configuration is where jobs come from: while it is the same object, the connection is to be the same. */
  readonly inForce: InForce;
  /** Where they go, if that is another server; as above. */
  readonly destination?: () => Config['amqp'];
  readonly handlers: LaneHandlers;
}

/** The parts that live as long as both ends are connected. */
interface Served {
  readonly session: AmqpSession;
  readonly relay: Relay;
  readonly slowStart: SlowStart;
}

/** How a connection of both ends was over. */
interface Run {
  /** Has a job passed? That it could be opened does not make it good. */
  readonly passed: boolean;
  /** The end that was lost, or could not be opened. */
  readonly end: End;
}

/** From a source to a destination: opens both, and serves until one of them is lost. A supervisor has it do so again. */
export class Lane {
  readonly link = new Link();
  readonly gate: JobQueueGate;
  readonly #log: Logger;
  /** Beside the own facts of its log lines. */
  readonly #facts: object;
  readonly #spec: LaneSpec;
  readonly #suspects = new Suspects();
  #served: Served | undefined;
  #hasServed = false;
  #depths: Depths | undefined;

  constructor(log: Logger, facts: object, spec: LaneSpec) {
    this.#log = log;
    this.#facts = facts;
    this.#spec = spec;
    this.gate = new JobQueueGate(log, facts, this.link);
  }

  /** Undefined while there is no connection. */
  get relay(): Relay | undefined {
    return this.#served?.relay;
  }

  /** As they were seen last; undefined: RabbitMQ does not say. */
  get depths(): Depths | undefined {
    return this.#depths;
  }

  /** Do bodies in hand leave no room for more? */
  get crowded(): boolean {
    return this.#served?.session.source.crowded === true;
  }

  /** Where both ends are to be. */
  get places(): Record<End, Config['amqp']> {
    const source = this.#spec.inForce.config().amqp;
    return { source, destination: this.#spec.destination?.() ?? source };
  }

  /** Once, from the beginning to the end. Errors of RabbitMQ are logged. `leave` is aborted when the lane is to end, or to be elsewhere. */
  async serve(ends: Ends, leave: AbortSignal): Promise<Run> {
    let confirms: ConfirmWatch | undefined;
    const opened = await this.#open(ends, leave, (on) => confirms?.blocked(on));
    if (!(opened instanceof AmqpSession)) return { passed: false, end: opened };
    const session = opened;
    if (leave.aborted) {
      await session.close();
      return { passed: true, end: 'source' };
    }
    if (this.#hasServed) this.#spec.handlers.reconnected();
    this.#hasServed = true;
    let passed = false;
    const relay = this.#relayOf(session, ends, (outcome) => {
      passed ||= outcome !== 'returned';
      slowStart.look(relay.underWayCount);
    });
    let cancelled: (why: string) => void = () => {};
    const cancel = new Promise<Ending>((resolve) => {
      cancelled = (why) => resolve({ why, refused: false, end: 'source' });
    });
    const { amqp, url } = ends.source;
    const late = new Promise<Ending>((resolve) => {
      confirms = new ConfirmWatch(
        () => relay.oldestUnderWay,
        (why) => resolve({ why, refused: false, end: 'destination' }),
      );
    });
    const unwatch = this.gate.watch(cancelled, session, url, amqp);
    const unwatchDepths = watchDepths(session.source.connection, amqp.queue, (depths) => {
      this.#depths = depths;
    });
    const slowStart = new SlowStart(amqp.prefetch, (prefetch) => {
      session.source.widen(prefetch).catch((error: Error) => cancelled(error.message));
    });
    this.#served = { session, relay, slowStart };
    this.#consume(ends, this.#served, cancelled);
    const ending = await Promise.race([session.ended, cancel, late]);
    if (ending.refused) this.#suspects.note(relay.underWay, ending.why);
    confirms?.stop();
    unwatch();
    unwatchDepths();
    this.#depths = undefined;
    await this.#over(ends, ending, leave);
    return { passed, end: ending.end };
  }

  /** Jobs in hand go back to the queue, jobs under way are confirmed. Takes STOP_TIMEOUT_MS and little more at most. */
  async close(why: string): Promise<void> {
    const served = this.#served;
    if (!served) return; // connecting, or waiting to: serve() sees that it is to end, or to be elsewhere
    try {
      await Promise.race([this.#settleAll(served, why), delay(STOP_TIMEOUT_MS, undefined, { ref: false })]);
    } finally {
      await served.session.close();
    }
  }

  async #settleAll({ session, relay }: Served, why: string): Promise<void> {
    await session.source
      .cancel()
      .catch((error: Error) => this.#log.warn({ ...this.#facts, reason: error.message }, 'the consumer could not be cancelled'));
    const held = this.#spec.handlers.release();
    for (const message of held) relay.putBackNow(message);
    this.#log.info({ ...this.#facts, put_back: held.length }, `${why}: held jobs are back in the queue`);
    await relay.settled();
  }

  /** The end where RabbitMQ cannot be used, which has been logged. */
  async #open(ends: Ends, leave: AbortSignal, blocked: (on: boolean) => void): Promise<AmqpSession | End> {
    let session: AmqpSession | undefined;
    try {
      session = await AmqpSession.open(ends, hostname(), this.#sessionHandlers(ends, leave, blocked), leave);
      await this.gate.opens(leave, session, ends.source.url, ends.source.amqp);
      return session;
    } catch (error) {
      const end = error instanceof CannotOpen ? error.end : (session?.ending?.end ?? 'source');
      const [server, reason] = [serverOf(ends, end), (error as Error).message];
      await session?.close();
      this.link.down(`${server}: ${reason}`);
      if (!leave.aborted) this.#log.error({ ...this.#facts, server, reason }, 'RabbitMQ cannot be used; trying again');
      return end;
    }
  }

  #sessionHandlers(ends: Ends, leave: AbortSignal, blocked: (on: boolean) => void): SessionHandlers {
    const server = serverOf(ends, 'source');
    return {
      tooLarge: (properties: WireProperties, bytes: number) => {
        if (!this.relay) throw new Error('a job has come before the relay');
        return this.relay.parkedAs(properties, bytes, tooLarge(bytes));
      },
      crowded: (on) => {
        const facts = { ...this.#facts, server };
        if (on) this.#log.warn(facts, 'jobs in hand take all of amqp.held_bytes_max: no further ones until half of it is free');
        else this.#log.info(facts, 'half of amqp.held_bytes_max is free: jobs are taken again');
      },
      delivery: (message) => this.#taken(message, leave),
      blocked: (reason, end) => {
        blocked(reason !== undefined);
        const facts = { ...this.#facts, server: serverOf(ends, end) };
        if (reason === undefined) this.#log.info(facts, 'RabbitMQ takes messages again');
        else this.#log.warn({ ...facts, reason }, 'RabbitMQ takes no messages (alarm); jobs wait');
      },
    };
  }

  #relayOf({ source, destination, home }: AmqpSession, ends: Ends, left: (outcome: Outcome) => void): Relay {
    const elsewhere = destination === home ? undefined : { publisher: destination.publisher, amqp: ends.destination.amqp };
    const observer = {
      named: (properties: WireProperties) => this.#spec.handlers.named(properties),
      problem: (message: WireMessage, why: string) => {
        this.#log.error({ ...describe(message), reason: why }, 'RabbitMQ has not taken a job');
        this.#spec.handlers.problem(message, why);
      },
      left: (message: WireMessage, outcome: Outcome, parked?: Parked, delayMs?: DelayMs) => {
        this.#spec.handlers.left(message, outcome, parked, delayMs);
        left(outcome);
        if (!parked) return;
        const facts = { ...describe(message), ...parked };
        this.#log.warn(facts, 'job parked');
        this.#spec.handlers.parked(facts);
      },
    };
    const { config, mac } = this.#spec.inForce;
    const sender = { config: config(), host: hostname(), mac };
    return new Relay(source, home.publisher, sender, this.#suspects, observer, elsewhere);
  }

  #consume(ends: Ends, served: Served, cancelled: (why: string) => void): void {
    const { session, slowStart } = served;
    const { queue, prefetch } = ends.source.amqp;
    session.source
      .consume(queue, slowStart.prefetch, () => cancelled(whyConsumerEnded(queue, this.gate.jobQueue)))
      .then(() => {
        if (this.#served !== served) return; // lost meanwhile
        this.link.up();
        this.#log.info({ ...this.#facts, server: serverOf(ends, 'source'), queue, prefetch }, 'consuming');
        this.#spec.handlers.opened();
      })
      .catch((error: Error) => cancelled(error.message));
  }

  /** Nothing is taken between the word that all is lost and the end of the source: what comes then goes back as well. */
  async #over(ends: Ends, { end, why }: Ending, leave: AbortSignal): Promise<void> {
    const served = this.#served;
    const [server, reason] = [serverOf(ends, end), withAdvice(why, ends[end].url)];
    this.link.down(`${server}: ${reason}`);
    served?.relay.close();
    this.#served = undefined;
    this.#spec.handlers.lost();
    if (!leave.aborted) this.#log.warn({ ...this.#facts, server, reason }, 'lost RabbitMQ; connecting again');
    await served?.session.close();
  }

  #taken(message: WireMessage, leave: AbortSignal): void {
    const { passage } = message.properties;
    if (passage?.passedOn !== undefined) {
      this.relay?.parked(message, passage.passedOn, tooLarge(passage.bytes));
    } else if (leave.aborted) this.relay?.putBackNow(message);
    else this.#spec.handlers.delivery(message);
    this.#served?.slowStart.taken();
    this.#served?.slowStart.look(this.relay?.underWayCount ?? 0);
  }
}

const serverOf = (ends: Ends, end: End) => new URL(ends[end].url).host;
