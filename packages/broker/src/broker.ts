import { performance } from 'node:perf_hooks';
import { type KnimeUser, StopMode } from '@kpx/protocol';
import type { Logger } from 'pino';
import { Alarm } from './alarm.js';
import { Lane } from './amqp/lane.js';
import type { JobMac } from './amqp/mac.js';
import { type Config, policyOf } from './config/config.js';
import { ExecutorEffects } from './effects.js';
import type { Effect, Event } from './executors/events.js';
import type { Explanation } from './executors/explanation.js';
import { Machine } from './executors/machine.js';
import { rabbitmqPorts } from './host/connections.js';
import { GroupLookups } from './host/group-lookups.js';
import { HelperClient } from './host/helper-client.js';
import { availableMemory } from './host/memory.js';
import { RuleNames } from './host/rule-names.js';
import { ExecutorWatch } from './host/watch.js';
import { Intake } from './intake.js';
import { logFailure } from './output/logged-failure.js';
import { SaidOnce } from './output/said-once.js';
import { ReadModel } from './record/read-model.js';
import { type Links, meanwhile } from './record/standing.js';
import type { UserDetail } from './record/status.js';

/** How often the host's memory is looked at, in milliseconds, where the policy asks for it. */
const MEMORY_POLL_MS = 1_000;

const DEFECT =
  'a defect of kpx: the state of its users contradicts itself. All jobs go back to the queue, and the broker ends for another one to start; please report this line';

/** kpx-broker: carries events to the machine and its effects to RabbitMQ and the helper. Decides nothing itself. */
export class Broker {
  #config: Config;
  #mac: JobMac;
  readonly #log: Logger;
  readonly #machine: Machine;
  /** The broker's own status. */
  readonly record: ReadModel;
  readonly #helper: HelperClient;
  readonly #effects: ExecutorEffects;
  readonly ruleNames: RuleNames;
  readonly #watch: ExecutorWatch;
  readonly #groups: GroupLookups;
  readonly #lane: Lane;
  readonly #intake: Intake;
  #onHelper = () => {};
  #onDefect = () => {};
  /** The machine has failed: nothing that it holds to be so may decide anything any more. */
  #defective = false;
  /** Has the log that this host can start no executor? */
  #sick = false;
  /** The machine is told that time has passed. */
  readonly #tick = new Alarm(() => this.#emit({ kind: 'tick' }));
  #ports: ReadonlySet<number>;

  constructor(config: Config, mac: JobMac, log: Logger) {
    this.#config = config;
    this.#mac = mac;
    this.#log = log;
    const policy = policyOf(config);
    const emit = (event: Event) => this.#emit(event);
    this.ruleNames = new RuleNames(log, policy.rules);
    this.#machine = new Machine(policy);
    this.record = new ReadModel(this.#machine, () => ({ config: this.#config, links: this.#links }));
    this.#groups = new GroupLookups(log, policy.rules);
    const inForce = { config: () => this.#config, mac: () => this.#mac };
    this.#lane = new Lane(log, inForce, {
      reconnected: () => this.record.metrics.reconnected(),
      opened: () => emit({ kind: 'channel opened' }),
      delivery: (message) => this.#intake.take(message),
      left: (outcome, reason) => this.record.outcomes.left(outcome, reason),
      release: () => this.#intake.release(),
      lost: () => {
        this.#intake.release();
        emit({ kind: 'channel lost' });
      },
    });
    this.#intake = new Intake(log, inForce, this.#lane, this.#groups, { emit, held: (ms) => this.record.metrics.held(ms) });
    this.#helper = new HelperClient(config.helper.socket, log, {
      connected: (profiles) => {
        this.ruleNames.profiles(profiles);
        this.#onHelper();
        this.#watch.list().catch(logFailure(log, 'the executors cannot be listed'));
      },
      answered: (verb, ms) => this.record.metrics.answered(verb, ms),
    });
    this.#effects = new ExecutorEffects(log, this.#helper, emit);
    this.#ports = rabbitmqPorts(config.amqp.urls);
    this.#watch = new ExecutorWatch(this.#machine, this.#helper, () => this.#ports, {
      now: () => performance.now(),
      emit: (event) => {
        emit(event);
        if (event.kind === 'listed') this.#lookUpGroups();
      },
      log,
    });
  }

  get #links(): Links {
    return { rabbitmq: this.#lane.link.status, helper: this.#helper.link, jobQueue: this.#lane.gate.jobQueue };
  }

  /** The configuration in force. */
  get config(): Config {
    return this.#config;
  }

  /** The key in force. */
  get mac(): JobMac {
    return this.#mac;
  }

  /**
   * Puts another configuration in force. No job and no executor is lost: jobs held are put back where the connection to RabbitMQ has to be another
   * one. Answers what takes effect only with a restart.
   */
  async reload(config: Config, mac: JobMac): Promise<string[]> {
    const before = this.#config;
    this.#mac = mac;
    const elsewhere = JSON.stringify([before.amqp, before.jobs]) !== JSON.stringify([config.amqp, config.jobs]);
    const { amqp, jobs } = elsewhere ? config : before; // the same object stands for the same connection
    this.#config = { ...config, amqp, jobs, helper: before.helper, control: before.control };
    this.#log.level = config.log.level;
    this.#ports = rabbitmqPorts(amqp.urls);
    const policy = policyOf(config);
    this.#groups.replace(policy.rules);
    this.ruleNames.rules(policy.rules);
    this.#emit({ kind: 'policy', policy });
    this.#lookUpGroups();
    if (elsewhere) await this.#lane.replace();
    const fixed = ['helper', 'control'] as const;
    return fixed.filter((section) => JSON.stringify(before[section]) !== JSON.stringify(config[section]));
  }

  /** Jobs may wait meanwhile, as they are judged again when the groups are known. */
  #lookUpGroups(): void {
    this.#groups
      .tell(
        () => this.#machine.ungrouped(),
        (user, groups) => this.#emit({ kind: 'groups', user, groups }),
      )
      .catch(logFailure(this.#log, 'groups of users cannot be looked up'));
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
    const groups = this.#groups.asked ? await this.#groups.of(user) : undefined;
    this.#log.warn({ user }, 'an operator has an executor started');
    this.#emit({ kind: 'start asked', user, groups });
    return await this.explain(user, groups);
  }

  /** Ends the executor that this user's jobs go to; undefined: there is none. */
  async stopOf(user: KnimeUser, mode: StopMode): Promise<Explanation | undefined> {
    if (!this.#machine.executorOf(user)) return undefined;
    this.#log.warn({ user, mode }, 'an operator has an executor ended');
    this.#emit({ kind: 'stop asked', user, force: mode === StopMode.kill });
    return await this.explain(user, undefined);
  }

  /** Says what a job of this user would meet now. Groups that are not given are looked up where a rule asks for them. */
  async explain(user: KnimeUser, groups: readonly string[] | undefined): Promise<Explanation> {
    const known = groups ?? (this.#groups.asked ? await this.#groups.of(user).catch((error: Error) => error) : []);
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
    await this.#lane.run();
    this.#tick.off();
    clearInterval(memory);
    this.#watch.stop();
    this.#helper.stop();
    await helper;
  }

  /** Held jobs go back to the queue, jobs under way are confirmed, executors are left alone. */
  async stop(): Promise<void> {
    await this.#lane.stop();
  }

  async #lookAtMemory(): Promise<void> {
    const { executor_memory: each, min_available_memory: left } = this.#config.policy;
    if (each === 0 && left === 0) return;
    this.#emit({ kind: 'memory', availableBytes: await availableMemory() });
  }

  #emit(event: Event): void {
    const now = performance.now();
    const effects = this.#stepped(event, now).map((effect) => this.#intake.marked(effect));
    this.#sayHealth();
    this.record.observe(event, effects, now);
    for (const effect of effects) this.#carryOut(effect);
    if (!this.#defective) this.#tick.set(now + this.#machine.tickInMs);
  }

  /** The machine's conclusion; nothing at all once it has failed. */
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

  #carryOut(effect: Effect): void {
    if ('ticket' in effect) this.#intake.settle(effect);
    else this.#effects.apply(effect);
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
}
