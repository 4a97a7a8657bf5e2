import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Config } from '../config/config.js';
import { backoffMs } from '../policy/backoff.js';
import { Lane, type LaneSpec } from './lane.js';
import type { End, Endpoint } from './session.js';

const RECONNECT_INITIAL_MS = 500;
const RECONNECT_MAX_MS = 10_000;

/** Keeps lanes going: connects each to whichever of its URLs answer, again and again, and has it go elsewhere or end. */
export class Supervisor<Name extends string> {
  readonly lanes: Readonly<Record<Name, Lane>>;
  readonly #keepers: readonly Keeper[];

  /** Lanes by name. Where there is more than one, log lines have the name. */
  constructor(log: Logger, specs: Readonly<Record<Name, LaneSpec>>) {
    const named = Object.entries<LaneSpec>(specs).map(([name, spec], _, { length }) => {
      const facts = length > 1 ? { lane: name } : {};
      return [name, new Lane(log, facts, spec)] as const;
    });
    this.lanes = Object.fromEntries(named) as Record<Name, Lane>;
    this.#keepers = named.map(([, lane]) => new Keeper(lane));
  }

  /** Runs until {@link stop}. Errors of RabbitMQ are logged and tried again; they never end it. */
  async run(): Promise<void> {
    await Promise.all(this.#keepers.map((keeper) => keeper.run()));
  }

  /** Another configuration is in force: lanes that it has go elsewhere put the jobs in hand back, and go. */
  async replace(): Promise<void> {
    await Promise.all(this.#keepers.map((keeper) => keeper.replace()));
  }

  /** Jobs in hand go back to their queues, jobs under way are confirmed. Takes as long as the slowest lane. */
  async stop(): Promise<void> {
    await Promise.all(this.#keepers.map((keeper) => keeper.stop()));
  }
}

/** The URLs of an end, in turn. */
class Turn {
  readonly #endpoints: readonly Endpoint[];
  #at = 0;

  constructor(amqp: Config['amqp']) {
    this.#endpoints = amqp.urls.map((url) => ({ url, amqp }));
  }

  get endpoint(): Endpoint {
    return this.#endpoints[this.#at] as Endpoint;
  }

  /** Answers whether every one has had its turn. */
  next(): boolean {
    this.#at = (this.#at + 1) % this.#endpoints.length;
    return this.#at === 0;
  }
}

/** Keeps one lane going. */
class Keeper {
  readonly #lane: Lane;
  readonly #stopping = new AbortController();
  /** Aborted, and made anew, when the lane is to be elsewhere. */
  #replacing = new AbortController();
  /** Where its ends are, or are tried. */
  #places: Record<End, Config['amqp']>;

  constructor(lane: Lane) {
    this.#lane = lane;
    this.#places = lane.places;
  }

  async run(): Promise<void> {
    let failures = 0;
    while (!this.#stopping.signal.aborted) {
      const { source, destination } = this.#places;
      const ofSource = new Turn(source);
      const turns = { source: ofSource, destination: destination === source ? ofSource : new Turn(destination) };
      const leave = AbortSignal.any([this.#stopping.signal, this.#replacing.signal]);
      while (!leave.aborted) {
        const { passed, end } = await this.#lane.serve({ source: turns.source.endpoint, destination: turns.destination.endpoint }, leave);
        if (passed) failures = 0;
        // Every URL of an end is tried before there is a pause.
        if (!turns[end].next() || leave.aborted) continue;
        const wait = backoffMs(failures++, RECONNECT_INITIAL_MS, RECONNECT_MAX_MS, Math.random());
        this.#lane.link.waits(wait);
        await delay(wait, undefined, { signal: leave }).catch(() => {}); // woken by stop() or replace()
        this.#lane.link.tries();
      }
    }
  }

  async replace(): Promise<void> {
    const { source, destination } = this.#lane.places;
    if (source === this.#places.source && destination === this.#places.destination) return;
    this.#places = { source, destination };
    this.#replacing.abort();
    this.#replacing = new AbortController();
    await this.#lane.close('another configuration');
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#lane.close('stopping');
  }
}
