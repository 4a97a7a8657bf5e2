import { performance } from 'node:perf_hooks';
import type { KnimeUser } from '@kpx/protocol';
import type { Logger } from 'pino';
import type { LaneHandlers } from './amqp/lane.js';
import type { JobMac } from './amqp/mac.js';
import { Supervisor } from './amqp/supervisor.js';
import { type Config, policyOf } from './config/config.js';
import { FileWatch } from './control/file-watch.js';
import { EarlyStart } from './early-start.js';
import { ExecutorEffects } from './effects.js';
import { Engine } from './engine.js';
import type { Event } from './executors/events.js';
import { Hook } from './hook/hook.js';
import { connectedUids, rabbitmqPorts } from './host/connections.js';
import { GroupLookups } from './host/group-lookups.js';
import { HelperClient, type HelperObserver } from './host/helper-client.js';
import { KeptOrders } from './host/kept-orders.js';
import { MemoryWatch } from './host/memory.js';
import { RuleNames } from './host/rule-names.js';
import { ExecutorWatch } from './host/watch.js';
import { Intake } from './intake.js';
import { LaterOrders } from './later-orders.js';
import { Operator } from './operator.js';
import { logFailure } from './output/logged-failure.js';
import { Prestarts } from './prestarts.js';
import { ReadModel } from './record/read-model.js';
import type { Links } from './record/standing.js';
import { whyNotNow } from './sealed/reload.js';
import { SealedExecutors } from './sealed-executors.js';

/** kpx-broker: puts its parts together. Events go to the engine; what it decides goes to RabbitMQ and the helper. */
export class Broker {
  #config: Config;
  #mac: JobMac;
  readonly #log: Logger;
  readonly #engine: Engine;
  /** The broker's own status. */
  readonly record: ReadModel;
  /** Answers questions and orders of an operator. */
  readonly operator: Operator;
  /** Carries out those whose time comes later. */
  readonly orders: LaterOrders;
  readonly #helper: HelperClient;
  readonly ruleNames: RuleNames;
  readonly #watch: ExecutorWatch;
  readonly #memory: MemoryWatch;
  readonly #groups: GroupLookups;
  readonly #prestarts: Prestarts;
  readonly #lanes: Supervisor<'jobs'>;
  readonly #intake: Intake;
  readonly #hook: Hook;
  /** Undefined: executors share the virtual host of the job queue. */
  readonly sealed: SealedExecutors | undefined;
  #onHelper = () => {};
  #ports: ReadonlySet<number>;
  readonly #file: FileWatch;

  /** `file` is where the configuration was read. */
  constructor(config: Config, file: string, mac: JobMac, log: Logger) {
    this.#config = config;
    this.#mac = mac;
    this.#log = log;
    this.#file = new FileWatch(file, () => this.#config);
    const policy = policyOf(config);
    this.#engine = new Engine(log, policy, {
      marked: (effect) => this.#intake.marked(effect),
      observe: (event, effects, now) => this.record.observe(event, effects, now),
      carryOut: (effect) => ('ticket' in effect ? this.#intake.settle(effect) : effects.apply(effect)),
    });
    const { emit, machine } = this.#engine;
    this.record = new ReadModel(
      machine,
      () => ({ config: this.#config, links: this.#links, planned: this.orders.planned }),
      config.sealed.enabled,
    );
    this.ruleNames = new RuleNames(log, policy.rules);
    this.#groups = new GroupLookups(log, policy.rules);
    const early = new EarlyStart(log, this.#engine, this.#groups);
    this.#prestarts = new Prestarts(log, this.#engine, early);
    this.#hook = new Hook(
      log,
      () => this.#config.hook.command,
      () => this.record.verdict(),
      { called: (result) => this.record.metrics.hookCalled(result), suppressed: () => this.record.metrics.hookSuppressed() },
    );
    this.operator = new Operator(log, this.#engine, this.#groups, this.record, () => this.#links);
    const kept = new KeptOrders(process.env, config.control.socket);
    this.orders = new LaterOrders(log, this.#engine, this.operator, early, kept);
    const inForce = { config: () => this.#config, mac: () => this.#mac };
    this.#lanes = new Supervisor(log, { jobs: { inForce, handlers: this.#jobsHandlers() } });
    const { jobs } = this.#lanes.lanes;
    this.#helper = new HelperClient(config.helper.socket, log, this.#helperObserver());
    this.sealed = config.sealed.enabled
      ? new SealedExecutors(log, inForce, machine, this.#helper, {
          waits: (why) => jobs.link.down(why),
          provisioned: (ms) => this.record.metrics.provisioned(ms),
          answered: (account, correlationId) => this.record.stories.answered(account, correlationId),
        })
      : undefined;
    const handlers = {
      emit,
      accountOf: (user: KnimeUser) => machine.executorOf(user)?.osUser,
      held: (ms: number) => this.record.metrics.held(ms),
    };
    this.#intake = new Intake(log, inForce, { lane: jobs, stories: this.record.stories }, this.#groups, handlers, this.sealed);
    const effects = new ExecutorEffects(log, this.#helper, emit, this.sealed);
    this.#ports = rabbitmqPorts(config.amqp.urls);
    const told = (event: Event) => {
      emit(event);
      if (event.kind !== 'listed') return;
      this.#lookUpGroups();
      this.#prestarts.begin();
      this.orders.begin();
      this.sealed?.listed();
    };
    this.#watch = new ExecutorWatch(machine, this.#helper, () => this.#served(), { now: () => performance.now(), emit: told, log });
    this.#memory = new MemoryWatch(
      log,
      () => this.#config.policy.executor_memory > 0 || this.#config.policy.min_available_memory > 0,
      (availableBytes) => emit({ kind: 'memory', availableBytes }),
    );
  }

  #jobsHandlers(): LaneHandlers {
    return {
      reconnected: () => this.record.metrics.reconnected(),
      opened: () => this.#engine.emit({ kind: 'channel opened' }),
      delivery: (message) => this.#intake.take(message),
      left: (message, outcome, parked, delayMs) => {
        this.record.outcomes.left(outcome, parked?.reason);
        this.record.stories.left(this.#intake.idOf(message), outcome, parked, delayMs);
      },
      named: (properties) => this.#intake.name(properties),
      problem: (message, why) => this.record.stories.problem(this.#intake.idOf(message), why),
      parked: (facts) => this.#hook.parked(facts),
      release: () => this.#intake.release(),
      lost: () => {
        this.#intake.release();
        this.record.stories.lost('the connection to RabbitMQ was lost');
        this.#engine.emit({ kind: 'channel lost' });
      },
    };
  }

  #helperObserver(): HelperObserver {
    return {
      connected: ({ profiles, sealedNode, foldsCase }) => {
        this.#engine.emit({ kind: 'helper greeted', foldsCase });
        this.sealed?.helperIsFor(sealedNode);
        this.ruleNames.profiles(profiles);
        this.#onHelper();
        this.#watch.list().catch(logFailure(this.#log, 'the executors cannot be listed'));
      },
      answered: (verb, ms) => this.record.metrics.answered(verb, ms),
    };
  }

  /** The executors that take jobs. Where they are sealed RabbitMQ tells, otherwise the kernel's list of connections. */
  async #served(): Promise<{ readonly uids: ReadonlySet<number>; readonly unknown?: ReadonlySet<number> }> {
    const connected = () => connectedUids(this.#ports);
    return this.sealed ? await this.sealed.served(connected) : { uids: await connected() };
  }

  get #links(): Links {
    const { link, gate, depths } = this.#lanes.lanes.jobs;
    return {
      rabbitmq: link.status,
      helper: this.#helper.link,
      jobQueue: gate.jobQueue,
      depths,
      sealed: this.sealed?.tally(),
      file: this.#file.stale,
    };
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
   * one. Answers which sections take effect only with a restart, and for [sealed] why.
   */
  async reload(config: Config, mac: JobMac): Promise<{ readonly restart: string[]; readonly reasons: string[] }> {
    const before = this.#config;
    this.#mac = mac;
    const elsewhere = JSON.stringify([before.amqp, before.jobs]) !== JSON.stringify([config.amqp, config.jobs]);
    const { amqp, jobs } = elsewhere ? config : before; // the same object stands for the same connection
    const reasons = whyNotNow(before.sealed, config.sealed);
    const sealed = reasons.length === 0 ? config.sealed : before.sealed;
    this.#config = { ...config, amqp, jobs, sealed, helper: before.helper, control: before.control };
    this.#file.forget();
    const renewed = this.sealed?.renew(before);
    this.#log.level = config.log.level;
    this.#ports = rabbitmqPorts(amqp.urls);
    const policy = policyOf(this.#config);
    this.#groups.replace(policy.rules);
    this.ruleNames.rules(policy.rules);
    this.#engine.emit({ kind: 'policy', policy });
    this.#hook.renewed();
    this.#lookUpGroups();
    await Promise.all([this.#lanes.replace(), renewed]);
    const fixed = ['helper', 'control'] as const;
    const restart: string[] = fixed.filter((section) => JSON.stringify(before[section]) !== JSON.stringify(config[section]));
    return { restart: reasons.length === 0 ? restart : [...restart, 'sealed'], reasons };
  }

  /** Jobs may wait meanwhile, as they are judged again when the groups are known. */
  #lookUpGroups(): void {
    this.#groups
      .tell(
        () => this.#engine.machine.ungrouped(),
        (user, groups) => this.#engine.emit({ kind: 'groups', user, groups }),
      )
      .catch(logFailure(this.#log, 'groups of users cannot be looked up'));
  }

  /** Calls `listener` whenever there is a new connection to the helper: from the first one on this host can start executors. */
  onHelper(listener: () => void): void {
    this.#onHelper = listener;
  }

  /** Calls `listener` once, when the machine has failed: the broker has to {@link stop}, which puts every job back that it has. */
  onDefect(listener: () => void): void {
    this.#engine.onDefect(listener);
  }

  /** Runs until {@link stop}. Errors of RabbitMQ and of the helper are logged and tried again; they never end it. */
  async run(): Promise<void> {
    const helper = this.#helper.run();
    this.#watch.start();
    this.#hook.start();
    this.#engine.emit({ kind: 'tick' });
    await this.#memory.start();
    this.#file.run().catch(logFailure(this.#log, 'the configuration file is not watched any more'));
    await this.sealed?.begin();
    await this.#lanes.run();
    this.#prestarts.stop();
    this.orders.stop();
    this.#engine.stop();
    this.#memory.stop();
    this.#file.stop();
    this.#watch.stop();
    this.#hook.stop();
    this.#helper.stop();
    await helper;
  }

  /** Held jobs go back to the queue, jobs under way are confirmed, executors are left alone. */
  async stop(): Promise<void> {
    await this.#lanes.stop();
    await this.sealed?.stop();
  }
}
