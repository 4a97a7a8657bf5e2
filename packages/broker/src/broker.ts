import { hostname } from 'node:os';
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { type KnimeUser, KpxError, type ProfileName, StopMode } from '@kpx/protocol';
import type { Logger } from 'pino';
import { Alarm } from './alarm.js';
import { withAdvice } from './amqp/advice.js';
import { ConfirmWatch } from './amqp/confirm-watch.js';
import { whyConsumerEnded } from './amqp/consumer-ended.js';
import { Relay } from './amqp/relay.js';
import { AmqpSession } from './amqp/session.js';
import { SlowStart } from './amqp/slow-start.js';
import { Suspects } from './amqp/suspects.js';
import type { WireMessage } from './amqp/wire/amqplib.js';
import type { WireProperties } from './amqp/wire/properties.js';
import { type Config, policyOf } from './config.js';
import { rabbitmqPorts } from './executors/connections.js';
import { END_RETRY_MS } from './executors/ending.js';
import type { Effect, Event, Ticket } from './executors/events.js';
import type { Explanation } from './executors/explanation.js';
import { Machine } from './executors/machine.js';
import { availableMemory } from './executors/memory.js';
import { STATES } from './executors/states.js';
import { ExecutorWatch } from './executors/watch.js';
import { Groups } from './groups.js';
import { handedBack, headersOf, type Marks, marksOf, NO_MARKS } from './hand-back.js';
import { HelperClient, HelperUnavailable } from './helper-client.js';
import { JobQueueGate } from './job-queue-gate.js';
import { decodeJob, sentAt, tooLarge } from './jobs.js';
import { Link } from './link.js';
import { reasonOf } from './name-service-down.js';
import { backoffMs } from './policy/backoff.js';
import { rulesAskForGroups } from './policy/rules.js';
import { ReadModel } from './record/read-model.js';
import { type Links, meanwhile } from './record/standing.js';
import type { UserDetail } from './record/status.js';
import { RuleNames } from './rule-names.js';
import { SaidOnce } from './said-once.js';

const RECONNECT_INITIAL_MS = 500;
const RECONNECT_MAX_MS = 10_000;
/** How long a graceful stop waits for confirms that are under way, in milliseconds. */
const STOP_TIMEOUT_MS = 5_000;

/** How often the host's memory is looked at, in milliseconds, where the policy asks for it. */
const MEMORY_POLL_MS = 1_000;

const DEFECT =
  'a defect of kpx: the state of its users contradicts itself. All jobs go back to the queue, and the broker ends for another one to start; please report this line';

interface Delivery {
  readonly message: WireMessage;
  readonly hops: number;
  readonly marks: Marks;
  /** When it came, in milliseconds of the machine's clock. */
  readonly since: number;
}

/** kpx-broker: carries events to the machine and its effects to RabbitMQ and the helper. Decides nothing itself. */
export class Broker {
  #config: Config;
  readonly #log: Logger;
  readonly #machine: Machine;
  /** What it says of itself. */
  readonly record: ReadModel;
  readonly #helper: HelperClient;
  readonly ruleNames: RuleNames;
  readonly #watch: ExecutorWatch;
  #groups = this.#newGroups();
  #lookingUp = false;
  readonly #deliveries = new Map<Ticket, Delivery>();
  readonly #stopping = new AbortController();
  /** Aborted, and replaced, when another configuration is in force. */
  #replacing = new AbortController();
  readonly #rabbitmq = new Link();
  readonly #gate: JobQueueGate;
  #onHelper = () => {};
  #onDefect = () => {};
  /** The machine has failed: nothing that it holds to be so may decide anything any more. */
  #defective = false;
  #session: AmqpSession | undefined;
  #hadSession = false;
  #relay: Relay | undefined;
  /** Of the session. */
  #slowStart: SlowStart | undefined;
  readonly #suspects = new Suspects();
  #lastTicket: Ticket = 0;
  /** Has the log that this host can start no executor? */
  #sick = false;
  /** The machine is told that time has passed. */
  readonly #tick = new Alarm(() => this.#emit({ kind: 'tick' }));
  #asksForGroups: boolean;
  #ports: ReadonlySet<number>;

  constructor(config: Config, log: Logger) {
    this.#config = config;
    this.#log = log;
    this.#gate = new JobQueueGate(log, this.#rabbitmq);
    const policy = policyOf(config);
    this.ruleNames = new RuleNames(log, policy.rules);
    this.#machine = new Machine(policy);
    this.record = new ReadModel(this.#machine, () => ({ config: this.#config, links: this.#links }));
    this.#asksForGroups = rulesAskForGroups(policy.rules);
    this.#helper = new HelperClient(config.helper.socket, log, {
      connected: (profiles) => {
        this.ruleNames.profiles(profiles);
        this.#onHelper();
        this.#watch.list().catch(this.#failed('the executors cannot be listed'));
      },
      answered: (verb, ms) => this.record.metrics.answered(verb, ms),
    });
    this.#ports = rabbitmqPorts(config.amqp.urls);
    this.#watch = new ExecutorWatch(this.#machine, this.#helper, () => this.#ports, {
      now: () => performance.now(),
      emit: (event) => {
        this.#emit(event);
        if (event.kind === 'listed') this.#lookUpGroups().catch(this.#failed('groups of users cannot be looked up'));
      },
      log,
    });
  }

  get #links(): Links {
    return { rabbitmq: this.#rabbitmq.status, helper: this.#helper.link, jobQueue: this.#gate.jobQueue };
  }

  /** The configuration in force. */
  get config(): Config {
    return this.#config;
  }

  /**
   * Puts another configuration in force. No job and no executor is lost: jobs held are put back where the connection to RabbitMQ has to be another
   * one. Answers what takes effect only with a restart.
   */
  async reload(config: Config): Promise<string[]> {
    const before = this.#config;
    const elsewhere = JSON.stringify([before.amqp, before.jobs]) !== JSON.stringify([config.amqp, config.jobs]);
    const { amqp, jobs } = elsewhere ? config : before; // the same object stands for the same connection
    this.#config = { ...config, amqp, jobs, helper: before.helper, control: before.control };
    this.#log.level = config.log.level;
    this.#ports = rabbitmqPorts(amqp.urls);
    const policy = policyOf(config);
    this.#asksForGroups = rulesAskForGroups(policy.rules);
    this.#groups = this.#newGroups();
    this.ruleNames.rules(policy.rules);
    this.#emit({ kind: 'policy', policy });
    this.#lookUpGroups().catch(this.#failed('groups of users cannot be looked up'));
    if (elsewhere) await this.#connectElsewhere();
    const fixed = ['helper', 'control'] as const;
    return fixed.filter((section) => JSON.stringify(before[section]) !== JSON.stringify(config[section]));
  }

  async #connectElsewhere(): Promise<void> {
    this.#replacing.abort();
    this.#replacing = new AbortController();
    const session = this.#session;
    const relay = this.#relay;
    if (!session || !relay) return; // connecting, or waiting to: run() sees that it is to be elsewhere
    await Promise.race([this.#settleAll(session, relay, 'another configuration'), delay(STOP_TIMEOUT_MS, undefined, { ref: false })]);
    await session.close();
  }

  /** Jobs may wait meanwhile, as they are judged again when the groups are known. */
  async #lookUpGroups(): Promise<void> {
    if (!this.#asksForGroups || this.#lookingUp) return;
    this.#lookingUp = true;
    try {
      for (const user of this.#machine.ungrouped()) {
        const groups = await this.#groups.of(user).catch(() => undefined); // asked for again after the next list
        if (groups) this.#emit({ kind: 'groups', user, groups });
      }
    } finally {
      this.#lookingUp = false;
    }
  }

  get draining(): boolean {
    return this.#machine.draining;
  }

  /** Starts no executor any more, or starts them again. Running ones get their jobs. */
  drain(on: boolean): void {
    this.#log.warn({ draining: on }, on ? 'draining: no executor is started any more' : 'executors are started again');
    this.#emit({ kind: 'drain', on });
  }

  /** Asks for an executor as a job of this user would, and at once where earlier starts have failed. */
  async startFor(user: KnimeUser): Promise<Explanation> {
    const groups = this.#asksForGroups ? await this.#groups.of(user) : undefined;
    this.#log.warn({ user }, 'an operator asks for an executor');
    this.#emit({ kind: 'start asked', user, groups });
    return await this.explain(user, groups);
  }

  /** Ends the executor that this user's jobs go to; undefined: there is none. */
  async stopOf(user: KnimeUser, mode: StopMode): Promise<Explanation | undefined> {
    if (!this.#machine.executorOf(user)) return undefined;
    this.#log.warn({ user, mode }, 'an operator ends an executor');
    this.#emit({ kind: 'stop asked', user, force: mode === StopMode.kill });
    return await this.explain(user, undefined);
  }

  /** What a job of this user would meet now. Groups that are not given are looked up where a rule asks for them. */
  async explain(user: KnimeUser, groups: readonly string[] | undefined): Promise<Explanation> {
    const known = groups ?? (this.#asksForGroups ? await this.#groups.of(user).catch((error: Error) => error) : []);
    if (known instanceof Error) return { ...this.#machine.explain(user, []), decision: 'hand back', why: known.message };
    return meanwhile(this.#machine.explain(user, known), this.#links);
  }

  /** All that is known of one user. */
  async user(user: KnimeUser): Promise<UserDetail> {
    return this.record.user(await this.explain(user, undefined));
  }

  /** Calls `listener` whenever there is a new connection to the helper: from the first one on this host can start executors. */
  onHelper(listener: () => void): void {
    this.#onHelper = listener;
  }

  /** Calls `listener` once, when the machine has failed: the broker has to {@link stop}, which puts every job back that it has. */
  onDefect(listener: () => void): void {
    this.#onDefect = listener;
  }

  /** Runs until {@link stop}. Errors of RabbitMQ and of the helper are logged and tried again; they never end it. */
  async run(): Promise<void> {
    const helper = this.#helper.run();
    this.#watch.start();
    this.#emit({ kind: 'tick' });
    const looks = new SaidOnce(this.#log, 'the memory of the host cannot be read; the broker goes by what it read last');
    const lookAtMemory = () => looks.run(() => this.#lookAtMemory());
    const memory = setInterval(lookAtMemory, MEMORY_POLL_MS);
    await lookAtMemory();
    let failures = 0;
    while (!this.#stopping.signal.aborted) {
      const { amqp } = this.#config;
      // Every URL is tried before there is a pause.
      for (const url of amqp.urls) {
        if (this.#leaves(amqp)) break;
        if (await this.#serve(url, amqp)) failures = 0;
      }
      if (this.#leaves(amqp)) continue;
      const wait = backoffMs(failures++, RECONNECT_INITIAL_MS, RECONNECT_MAX_MS, Math.random());
      this.#rabbitmq.waits(wait);
      const woken = AbortSignal.any([this.#stopping.signal, this.#replacing.signal]);
      await delay(wait, undefined, { signal: woken }).catch(() => {}); // by stop() or reload()
      this.#rabbitmq.tries();
    }
    this.#tick.off();
    clearInterval(memory);
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
    try {
      await Promise.race([this.#settleAll(session, relay, 'stopping'), delay(STOP_TIMEOUT_MS, undefined, { ref: false })]);
    } finally {
      await session.close();
    }
  }

  async #settleAll(session: AmqpSession, relay: Relay, why: string): Promise<void> {
    await session.cancel().catch((error: Error) => this.#log.warn({ reason: error.message }, 'the consumer could not be cancelled'));
    for (const { message } of this.#deliveries.values()) relay.putBackNow(message);
    this.#log.info({ put_back: this.#deliveries.size }, `${why}: held jobs are back in the queue`);
    this.#deliveries.clear();
    await relay.settled();
  }

  /** Is a connection of this configuration to end? */
  #leaves(amqp: Config['amqp']): boolean {
    return this.#stopping.signal.aborted || this.#config.amqp !== amqp;
  }

  /** One connection from beginning to end. Answers whether a job has passed: that it could be opened does not make it good. */
  async #serve(url: string, amqp: Config['amqp']): Promise<boolean> {
    const server = new URL(url).host;
    let confirms: ConfirmWatch | undefined;
    const handlers = {
      tooLarge: (properties: WireProperties, bytes: number) => this.#parkedAs(properties, bytes),
      crowded: (on: boolean) => {
        if (on) this.#log.warn({ server }, 'jobs in hand take all of amqp.held_bytes_max: no further ones until half of it is free');
        else this.#log.info({ server }, 'half of amqp.held_bytes_max is free: jobs are taken again');
      },
      delivery: (message: WireMessage) => this.#taken(message, amqp),
      blocked: (reason: string | undefined) => {
        confirms?.blocked(reason !== undefined);
        if (reason === undefined) this.#log.info({ server }, 'RabbitMQ takes messages again');
        else this.#log.warn({ server, reason }, 'RabbitMQ takes no messages (alarm); jobs wait');
      },
    };
    let session: AmqpSession | undefined;
    try {
      session = await AmqpSession.open(url, amqp, hostname(), handlers, this.#stopping.signal);
      await this.#gate.opens(AbortSignal.any([this.#stopping.signal, this.#replacing.signal]), session, url, amqp);
    } catch (error) {
      await session?.close();
      this.#rabbitmq.down(`${server}: ${(error as Error).message}`);
      if (!this.#stopping.signal.aborted) {
        this.#log.error({ server, reason: (error as Error).message }, 'RabbitMQ cannot be used; trying again');
      }
      return false;
    }
    if (this.#leaves(amqp)) {
      await session.close();
      return true;
    }
    this.#session = session;
    if (this.#hadSession) this.record.metrics.reconnected();
    this.#hadSession = true;
    let passed = false;
    const relay = new Relay(session, session.publisher, this.#config, hostname(), this.#suspects, {
      unusable: (message, reason, detail) => this.#log.warn({ ...describe(message), reason, detail }, 'job parked'),
      problem: (message, why) => this.#log.error({ ...describe(message), reason: why }, 'a job found no place'),
      left: (outcome, reason) => {
        this.record.outcomes.left(outcome, reason);
        passed ||= outcome !== 'returned';
        slowStart.look(relay.underWayCount);
      },
    });
    this.#relay = relay;
    let cancelled: (why: string) => void = () => {};
    const cancel = new Promise<string>((resolve) => {
      cancelled = resolve;
    });
    confirms = new ConfirmWatch(() => relay.oldestUnderWay, cancelled);
    const unwatch = this.#gate.watch(cancelled, session, url, amqp);
    const slowStart = new SlowStart(amqp.prefetch, (prefetch) => {
      session.widen(prefetch).catch((error: Error) => cancelled(error.message));
    });
    this.#slowStart = slowStart;
    session
      .consume(amqp.queue, slowStart.prefetch, () => cancelled(whyConsumerEnded(amqp.queue, this.#gate.jobQueue)))
      .then(() => {
        if (this.#session !== session) return; // lost meanwhile
        this.#rabbitmq.up();
        this.#log.info({ server, queue: amqp.queue, prefetch: amqp.prefetch }, 'consuming');
        this.#emit({ kind: 'channel opened' });
      })
      .catch((error: Error) => cancelled(error.message));
    const ending = await Promise.race([session.ended, cancel.then((reason) => ({ why: reason, refused: false }))]);
    const why = withAdvice(ending.why, url);
    if (ending.refused) this.#suspects.note(relay.underWay, ending.why);
    this.#rabbitmq.down(`${server}: ${why}`);
    confirms.stop();
    unwatch();
    relay.close();
    this.#relay = undefined;
    this.#slowStart = undefined;
    this.#session = undefined;
    this.#deliveries.clear();
    this.#emit({ kind: 'channel lost' });
    if (!this.#leaves(amqp)) this.#log.warn({ server, reason: why }, 'lost RabbitMQ');
    await session.close();
    return passed;
  }

  #parkedAs(properties: WireProperties, bytes: number): Buffer {
    if (!this.#relay) throw new Error('a job has come before the relay');
    return this.#relay.parkedAs(properties, tooLarge(bytes));
  }

  #taken(message: WireMessage, amqp: Config['amqp']): void {
    const { passage } = message.properties;
    if (passage?.passedOn !== undefined) {
      const { reason, detail } = tooLarge(passage.bytes);
      this.#log.warn({ ...describe(message), reason, detail }, 'job parked');
      this.#relay?.parked(message, passage.passedOn, reason);
    } else if (this.#leaves(amqp)) this.#relay?.putBackNow(message);
    else this.#delivery(message);
    this.#slowStart?.taken();
    this.#slowStart?.look(this.#relay?.underWayCount ?? 0);
  }

  #delivery(message: WireMessage): void {
    const decoded = () => decodeJob(message.content, message.properties, this.#config.jobs.user_field);
    const job = this.#gate.endangers(message.properties) ?? decoded();
    if ('reason' in job) {
      this.#log.warn({ ...describe(message), ...job }, 'job parked');
      this.#relay?.park(message, job.reason, job.detail);
      return;
    }
    const ticket = ++this.#lastTicket;
    const marks = marksOf((name) => message.properties.header(name));
    this.#deliveries.set(ticket, { message, hops: job.hops, marks, since: performance.now() });
    const ageMs = Math.max(0, Date.now() - (sentAt(message.properties) ?? Date.now()));
    const { user, hops, waited, replayed } = job;
    const event = { kind: 'job', ticket, user, hops, waited, replayed, ageMs, crowded: this.#session?.crowded === true } as const;
    if (this.#asksForGroups) this.#withGroups(event).catch(this.#failed('a job cannot be judged'));
    else this.#emit({ ...event, groups: undefined });
  }

  /** A user whose groups are not known might be denied by them: that is a failed start, of the host's kind. */
  async #withGroups(event: Omit<Extract<Event, { kind: 'job' }>, 'groups'>): Promise<void> {
    const { user, ticket } = event;
    const groups = await this.#groups.of(user).catch((error: Error) => error);
    if (!this.#deliveries.has(ticket)) return;
    if (!(groups instanceof Error)) this.#emit({ ...event, groups });
    else this.#emit({ kind: 'groups unknown', user, ticket, detail: groups.message });
  }

  #newGroups(): Groups {
    const nameless = (user: KnimeUser, gids: readonly string[]) =>
      this.#log.warn({ user, gids }, 'a user is in a group that has no name: no rule can match it, see getent group GID');
    return new Groups(() => performance.now(), nameless);
  }

  /** For work that nobody waits for: a failure of it is logged, and never ends the broker. */
  #failed(what: string): (error: Error) => void {
    return ({ message, stack }) => this.#log.error({ reason: message, stack }, what);
  }

  async #lookAtMemory(): Promise<void> {
    const { executor_memory: each, min_available_memory: left } = this.#config.policy;
    if (each === 0 && left === 0) return;
    this.#emit({ kind: 'memory', availableBytes: await availableMemory() });
  }

  #emit(event: Event): void {
    const now = performance.now();
    const effects = this.#stepped(event, now).map((effect) => this.#marked(effect));
    this.#sayHealth();
    this.record.observe(event, effects, now);
    for (const effect of effects) this.#apply(effect);
    if (!this.#defective) this.#tick.set(now + this.#machine.tickInMs);
  }

  /** What the machine makes of it; nothing at all once it has failed. */
  #stepped(event: Event, now: number): Effect[] {
    if (this.#defective) return [];
    try {
      return this.#machine.step(event, now, Math.random());
    } catch (error) {
      this.#defective = true;
      const { message, stack } = error as Error;
      const facts = { event: event.kind, ...('user' in event && { user: event.user }), ...this.#machine.counts };
      this.#log.fatal({ reason: message, ...facts, stack }, DEFECT);
      this.#onDefect();
      return [];
    }
  }

  #marked(effect: Effect): Effect {
    if (effect.kind !== 'hand back') return effect;
    return handedBack(effect, this.#deliveries.get(effect.ticket)?.marks ?? NO_MARKS, hostname());
  }

  #sayHealth(): void {
    const { sickness } = this.#machine.health;
    if (this.#sick === (sickness !== undefined)) return;
    this.#sick = sickness !== undefined;
    if (sickness)
      this.#log.error(
        { reason: sickness.why },
        'this host starts no executor: those of several users in a row failed; other hosts get their jobs',
      );
    else this.#log.info('this host starts executors again');
  }

  #apply(effect: Effect): void {
    switch (effect.kind) {
      case 'start':
        this.#log.info({ user: effect.user, profile: effect.profile, reason: effect.why }, 'starting an executor');
        this.#start(effect.user, effect.profile).catch(this.#failed('an executor cannot be started'));
        return;
      case 'stop':
        this.#log[effect.cause === 'without_rabbitmq' ? 'warn' : 'info']({ user: effect.user, reason: effect.why }, 'ending an executor');
        this.#end(effect.user, StopMode.graceful).catch(this.#failed('an executor cannot be ended'));
        return;
      case 'kill':
        this.#log.warn({ user: effect.user, reason: effect.why }, 'ending an executor by force');
        this.#end(effect.user, StopMode.kill).catch(this.#failed('an executor cannot be ended'));
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
    const { message, hops, since } = delivery;
    this.record.metrics.held(performance.now() - since);
    const facts = () => ({ ...describe(message), user: effect.user, hops });
    if (effect.kind === 'forward') {
      if (this.#log.isLevelEnabled('debug')) this.#log.debug(facts(), 'job forwarded');
      this.#relay.forward(message, hops);
    } else if (effect.kind === 'defer') {
      if (this.#log.isLevelEnabled('debug')) this.#log.debug({ ...facts(), reason: effect.why, delay_ms: effect.delayMs }, 'job deferred');
      this.#relay.defer(message, hops, effect.delayMs, effect.marks && headersOf(effect.marks));
    } else if (effect.kind === 'park') {
      this.#log.warn({ ...facts(), reason: effect.reason, detail: effect.detail }, 'job parked');
      this.#relay.park(message, effect.reason, effect.detail);
    }
  }

  #logState({ user, state, detail }: Extract<Effect, { kind: 'state' }>): void {
    this.#log[STATES[state].log]({ user, state, ...(detail === '' ? {} : { reason: detail }) }, 'executor');
  }

  async #start(user: KnimeUser, profile: ProfileName): Promise<void> {
    try {
      const { executor } = await this.#helper.request('spawnExecutor', { knimeUser: user, profile });
      this.#emit({ kind: 'started', user, executor });
    } catch (error) {
      if (error instanceof KpxError) this.#emit({ kind: 'not started', user, ...(await reasonOf(error)) });
      else this.#emit({ kind: 'no helper', user, detail: (error as Error).message });
      if (!(error instanceof KpxError || error instanceof HelperUnavailable)) throw error;
    }
  }

  async #end(user: KnimeUser, mode: StopMode): Promise<void> {
    try {
      await this.#helper.request('stopExecutor', { knimeUser: user, mode });
    } catch (error) {
      this.#emit({ kind: 'not ended', user });
      this.#log.warn(
        { user, reason: (error as Error).message, again_ms: END_RETRY_MS },
        'an executor could not be ended; the helper is asked again',
      );
    }
  }
}

/** What the log says of a message. Never its body. */
function describe({ properties, fields }: WireMessage): Record<string, unknown> {
  const job = properties.text('messageId');
  return { ...(job === undefined ? {} : { job }), delivery: fields.deliveryTag };
}
