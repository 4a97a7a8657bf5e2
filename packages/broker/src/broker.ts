import { hostname } from 'node:os';
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { type KnimeUser, KpxError, profileNameSchema, StopMode } from '@kpx/protocol';
import type { ConsumeMessage } from 'amqplib';
import type { Logger } from 'pino';
import { Relay } from './amqp/relay.js';
import { AmqpSession } from './amqp/session.js';
import type { Config } from './config.js';
import { rabbitmqPorts } from './executors/connections.js';
import type { Effect, Event, Ticket } from './executors/events.js';
import { Machine } from './executors/machine.js';
import { ExecutorWatch } from './executors/watch.js';
import { HelperClient, HelperUnavailable } from './helper-client.js';
import { decodeJob } from './jobs.js';
import { backoffMs } from './policy/backoff.js';
import type { Policy } from './policy/policy.js';

/** How often the machine is told that time has passed, in milliseconds: the grain of every deadline. */
const TICK_MS = 100;
const RECONNECT_INITIAL_MS = 500;
const RECONNECT_MAX_MS = 10_000;
/** How long a graceful stop waits for confirms that are under way, in milliseconds. */
const STOP_TIMEOUT_MS = 5_000;

const DEFAULT_PROFILE = profileNameSchema.parse('default');

interface Delivery {
  readonly message: ConsumeMessage;
  readonly hops: number;
}

/** Turns what the configuration says into the numbers that the machine decides by. */
export function policyOf({ policy, jobs, amqp, executors }: Config): Policy {
  return {
    maxExecutors: policy.max_executors,
    maxStarting: policy.max_starting,
    startAttempts: policy.start_attempts,
    backoffInitialMs: policy.backoff_initial,
    backoffMaxMs: policy.backoff_max,
    deny: new Set(policy.deny.map((name) => name.toLowerCase())),
    heldPerUser: jobs.held_per_user,
    // Half of the prefetch stays free, so that held jobs never keep RabbitMQ from delivering those of other users.
    heldInAll: Math.floor(amqp.prefetch / 2),
    startTimeoutMs: executors.start_timeout,
    readyDelayMs: executors.ready === 'delay' ? executors.ready_delay : undefined,
  };
}

/** kpx-broker: carries events to the machine and its effects to RabbitMQ and the helper. Decides nothing itself. */
export class Broker {
  readonly #config: Config;
  readonly #log: Logger;
  readonly #machine: Machine;
  readonly #helper: HelperClient;
  readonly #watch: ExecutorWatch;
  readonly #deliveries = new Map<Ticket, Delivery>();
  readonly #stopping = new AbortController();
  #session: AmqpSession | undefined;
  #relay: Relay | undefined;
  #lastTicket: Ticket = 0;

  constructor(config: Config, log: Logger) {
    this.#config = config;
    this.#log = log;
    this.#machine = new Machine(policyOf(config));
    this.#helper = new HelperClient(config.helper.socket, log, () => void this.#watch.list());
    const ports = rabbitmqPorts(config.amqp.urls);
    this.#watch = new ExecutorWatch(
      this.#machine,
      this.#helper,
      ports,
      () => performance.now(),
      (event) => this.#emit(event),
    );
  }

  /** Runs until {@link stop}. Errors of RabbitMQ and of the helper are logged and tried again; they never end it. */
  async run(): Promise<void> {
    const helper = this.#helper.run();
    this.#watch.start();
    const ticks = setInterval(() => this.#emit({ kind: 'tick' }), TICK_MS);
    let failures = 0;
    while (!this.#stopping.signal.aborted) {
      // Every URL is tried before there is a pause.
      for (const url of this.#config.amqp.urls) {
        if (this.#stopping.signal.aborted) break;
        if (await this.#serve(url)) failures = 0;
      }
      const wait = backoffMs(failures++, RECONNECT_INITIAL_MS, RECONNECT_MAX_MS, Math.random());
      await delay(wait, undefined, { signal: this.#stopping.signal }).catch(() => {}); // woken by stop()
    }
    clearInterval(ticks);
    this.#watch.stop();
    this.#helper.stop();
    await helper;
  }

  /** Held jobs go back to the queue, jobs under way are confirmed, executors are left alone. Takes STOP_TIMEOUT_MS and little more at most. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const session = this.#session;
    const relay = this.#relay;
    if (!session || !relay) return; // connecting, or waiting to: run() sees that it is to end
    await Promise.race([this.#settleAll(session, relay), delay(STOP_TIMEOUT_MS, undefined, { ref: false })]);
    await session.close();
  }

  async #settleAll(session: AmqpSession, relay: Relay): Promise<void> {
    await session.cancel().catch((error: Error) => this.#log.warn({ reason: error.message }, 'the consumer could not be cancelled'));
    for (const { message } of this.#deliveries.values()) relay.putBackNow(message);
    this.#log.info({ put_back: this.#deliveries.size }, 'stopping: held jobs are back in the queue');
    this.#deliveries.clear();
    await relay.settled();
  }

  /** One connection from beginning to end. Answers whether it was usable. */
  async #serve(url: string): Promise<boolean> {
    const { amqp } = this.#config;
    const server = new URL(url).host;
    const handlers = {
      delivery: (message: ConsumeMessage) => this.#delivery(message),
      blocked: (reason: string | undefined) => {
        if (reason === undefined) this.#log.info({ server }, 'RabbitMQ takes messages again');
        else this.#log.warn({ server, reason }, 'RabbitMQ takes no messages (alarm); jobs wait');
      },
    };
    let session: AmqpSession;
    try {
      session = await AmqpSession.open(url, amqp, hostname(), handlers);
    } catch (error) {
      this.#log.error({ server, reason: (error as Error).message }, 'RabbitMQ cannot be used; trying again');
      return false;
    }
    if (this.#stopping.signal.aborted) {
      await session.close();
      return true;
    }
    this.#session = session;
    this.#relay = new Relay(session.channel, this.#config, hostname(), (message, why) => {
      this.#log.error({ ...describe(message), reason: why }, 'a job found no place');
    });
    let cancelled: (why: string) => void = () => {};
    const cancel = new Promise<string>((resolve) => {
      cancelled = resolve;
    });
    session
      .consume(amqp.queue, handlers, () => cancelled(`RabbitMQ ended the consumer of "${amqp.queue}"`))
      .then(() => this.#log.info({ server, queue: amqp.queue, prefetch: amqp.prefetch }, 'consuming'))
      .catch((error: Error) => cancelled(error.message));
    const why = await Promise.race([session.ended, cancel]);
    this.#relay.close();
    this.#relay = undefined;
    this.#session = undefined;
    this.#deliveries.clear();
    this.#emit({ kind: 'channel lost' });
    await session.close();
    if (!this.#stopping.signal.aborted) this.#log.warn({ server, reason: why }, 'lost RabbitMQ');
    return true;
  }

  #delivery(message: ConsumeMessage): void {
    if (this.#stopping.signal.aborted) {
      this.#relay?.putBackNow(message);
      return;
    }
    const job = decodeJob(message.content, message.properties.headers ?? {}, this.#config.jobs.user_field);
    if ('reason' in job) {
      this.#log.warn({ ...describe(message), ...job }, 'job parked');
      this.#relay?.park(message, job.reason, job.detail);
      return;
    }
    const ticket = ++this.#lastTicket;
    this.#deliveries.set(ticket, { message, hops: job.hops });
    this.#emit({ kind: 'job', ticket, user: job.user, hops: job.hops });
  }

  #emit(event: Event): void {
    for (const effect of this.#machine.step(event, performance.now(), Math.random())) this.#apply(effect);
  }

  #apply(effect: Effect): void {
    switch (effect.kind) {
      case 'start':
        void this.#start(effect.user);
        return;
      case 'kill':
        void this.#kill(effect.user);
        return;
      case 'state':
        this.#logState(effect);
        return;
      default:
        this.#settle(effect);
    }
  }

  #settle(effect: Extract<Effect, { ticket: Ticket }>): void {
    const delivery = this.#deliveries.get(effect.ticket);
    this.#deliveries.delete(effect.ticket);
    if (!delivery || !this.#relay) return; // the channel is gone, and the delivery with it
    const { message, hops } = delivery;
    const facts = () => ({ ...describe(message), user: effect.user, hops });
    if (effect.kind === 'forward') {
      if (this.#log.isLevelEnabled('debug')) this.#log.debug(facts(), 'job forwarded');
      this.#relay.forward(message, hops);
    } else if (effect.kind === 'defer') {
      if (this.#log.isLevelEnabled('debug')) this.#log.debug({ ...facts(), reason: effect.why, delay_ms: effect.delayMs }, 'job deferred');
      this.#relay.defer(message, hops, effect.delayMs);
    } else {
      this.#log.warn({ ...facts(), reason: effect.reason, detail: effect.detail }, 'job parked');
      this.#relay.park(message, effect.reason, effect.detail);
    }
  }

  #logState({ user, state, detail }: Extract<Effect, { kind: 'state' }>): void {
    const level = { idle: 'info', queued: 'debug', starting: 'debug', booting: 'info', ready: 'info' } as const;
    this.#log[level[state as keyof typeof level] ?? 'warn']({ user, state, ...(detail === '' ? {} : { reason: detail }) }, 'executor');
  }

  async #start(user: KnimeUser): Promise<void> {
    try {
      const { executor } = await this.#helper.request('spawnExecutor', { knimeUser: user, profile: DEFAULT_PROFILE });
      this.#emit({ kind: 'started', user, executor });
    } catch (error) {
      if (error instanceof KpxError) this.#emit({ kind: 'not started', user, code: error.code, detail: error.message });
      else if (error instanceof HelperUnavailable) this.#emit({ kind: 'no helper', user, detail: error.message });
      else throw error;
    }
  }

  async #kill(user: KnimeUser): Promise<void> {
    try {
      await this.#helper.request('stopExecutor', { knimeUser: user, mode: StopMode.kill });
    } catch (error) {
      if (!(error instanceof KpxError || error instanceof HelperUnavailable)) throw error;
      this.#log.warn({ user, reason: error.message }, 'an executor that is not ready could not be ended');
    }
  }
}

/** What the log says of a message. Never its body. */
function describe({ properties, fields }: ConsumeMessage): Record<string, unknown> {
  const id = properties.messageId === undefined ? {} : { job: properties.messageId };
  return { ...id, delivery: fields.deliveryTag };
}
