import { type KnimeUser, PROTOCOL_VERSION, VERBS, type Verb } from '@kpx/protocol';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import manifest from '../../package.json' with { type: 'json' };
import { type Effect, END_CAUSES, type Event } from '../executors/events.js';
import { WAITS_FOR } from '../executors/line.js';
import { STATES, type State } from '../executors/states.js';
import { LIMITS, type Limit } from '../policy/policy.js';
import { PARKED } from '../policy/reasons.js';
import { REFUSED_FOR } from '../sealed/rules.js';
import { VHOST_STATES } from '../sealed/standing.js';
import { HOOK_RESULTS, type HookResult, type Outcomes } from './outcomes.js';
import type { Standing, Tally } from './standing.js';
import { LEVELS, PROBLEM_CODES, type Verdict } from './verdict.js';

/** Upper bounds, in seconds: an executor starts in 10 to 20 s, and a job is held for 5 minutes at most. */
const START_BUCKETS_SECONDS = [0.1, 0.5, 1, 2, 5, 10, 15, 20, 30, 60, 120, 300];
const HOLD_BUCKETS_SECONDS = [0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300];
/** The helper answers within milliseconds, and gives a request up after 10 s. */
const HELPER_BUCKETS_SECONDS = [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];
/** Some milliseconds where the virtual host is there, and a tenth of a second where it is not; a start waits for it for 30 s at most. */
const PROVISION_BUCKETS_SECONDS = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30];
/** Users with a series of their own, where that is asked for: those with the most jobs held. */
const USER_SERIES_MAX = 1_000;

const START_RESULTS = ['ready', 'failed', 'refused', 'no_room', 'no_helper', 'ended'] as const;
type StartResult = (typeof START_RESULTS)[number];
const POLICY_REASONS = ['denied', 'job_max_age', ...LIMITS] as const;
/** The reasons to park a job: each is there from the beginning, as the rate of a series that has only just come up is not known. */
const PARK_REASONS = PARKED.map(({ code }) => code);

/** The gauges at the moment of a scrape. */
interface Look {
  readonly standing: Standing;
  readonly tally: Tally;
  readonly users: readonly { readonly user: KnimeUser; readonly state: State; readonly held: number }[];
  readonly verdict: Verdict;
  /** Executors that have ended soon after they were ready. */
  readonly endedSoon: number;
}

/**
 * kpx's metrics, for Prometheus; names and units as on https://prometheus.io/docs/practices/naming/. The machine and the policy do not know of it: it
 * sees their events and effects go by.
 */
export class Metrics {
  readonly #registry = new Registry();
  readonly #outcomes: Outcomes;
  readonly #look: () => Look;
  /** When the helper was asked to start whose executor, in milliseconds; as long as it is not known what came of it. */
  readonly #starting = new Map<KnimeUser, number>();

  readonly #jobs = this.#counter('kpx_jobs_total', 'Jobs that have left kpx, by where they went.', 'outcome');
  readonly #parked = this.#counter('kpx_jobs_parked_total', 'Jobs that were moved to the dead-letter queue.', 'reason');
  readonly #refusals = this.#counter(
    'kpx_policy_refusals_total',
    'Jobs that the policy refused (denied, job_max_age), and users who had to wait for room (by the limit that was met).',
    'reason',
    POLICY_REASONS,
  );
  readonly #starts = this.#counter('kpx_executor_starts_total', 'Starts of executors that were asked for.', 'result', START_RESULTS);
  readonly #ends = this.#counter('kpx_executor_ends_total', 'Executors that the broker has ended, by the cause.', 'cause', END_CAUSES);
  readonly #endedSoon = this.#counter(
    'kpx_executors_ended_soon_total',
    'Executors that have ended by themselves within 10 s after they were ready, with exit 0 and without a job.',
  );
  readonly #reconnects = this.#counter('kpx_rabbitmq_reconnects_total', 'Connections to RabbitMQ that were made again.');
  readonly #startTime = this.#histogram(
    'kpx_executor_start_seconds',
    'From asking for the start of an executor until it was ready.',
    START_BUCKETS_SECONDS,
  );
  readonly #holdTime = this.#histogram('kpx_job_hold_seconds', 'From the delivery of a job until it was sent on.', HOLD_BUCKETS_SECONDS);
  readonly #helperTime = this.#histogram(
    'kpx_helper_request_seconds',
    'Round trips to kpx-privhelper.',
    HELPER_BUCKETS_SECONDS,
    Object.keys(VERBS),
  );
  readonly #provisionTime = this.#histogram(
    'kpx_sealed_provision_seconds',
    "From when an executor's account is prepared until its virtual host and user are there.",
    PROVISION_BUCKETS_SECONDS,
  );
  readonly #sealedAccounts = this.#gauge('kpx_sealed_accounts', 'Accounts with a virtual host of their own.', ['vhost']);
  readonly #sealedMax = this.#gauge(
    'kpx_sealed_vhosts_max',
    'How many virtual hosts are kept: sealed.vhosts_max; 0: executors are not sealed.',
  );
  readonly #sealedJobs = this.#gauge('kpx_sealed_jobs_waiting', 'Jobs in the queues of accounts that their executors have not taken yet.');
  readonly #sealedRefused = this.#counter(
    'kpx_sealed_refused_total',
    'Messages that accounts have published and that may not leave their virtual host.',
    'reason',
    Object.keys(REFUSED_FOR),
  );
  readonly #verdict = this.#gauge('kpx_verdict', '0: all is well; 1: something needs attention; 2: jobs do not get through.');
  readonly #problems = this.#gauge('kpx_problem', '1 or 2 while there is this problem, as in kpx_verdict; 0: there is not.', ['problem']);
  readonly #build = this.#gauge('kpx_build_info', 'Always 1.', ['version', 'protocol', 'node']);
  readonly #hookCalls = this.#counter('kpx_hook_calls_total', 'Calls of the program of hook.command.', 'result', HOOK_RESULTS);
  readonly #hookSuppressed = this.#counter(
    'kpx_hook_suppressed_total',
    'Events that no call of the program is about: there were too many.',
  );
  readonly #rabbitmq = this.#gauge('kpx_rabbitmq_connected', '1 while jobs are consumed.');
  readonly #helper = this.#gauge('kpx_helper_connected', '1 while kpx-privhelper can be asked.');
  readonly #losesJobs = this.#gauge(
    'kpx_job_queue_loses_jobs',
    '1 while RabbitMQ would remove jobs that were given back too often from the job queue.',
  );
  readonly #queues = this.#gauge(
    'kpx_queue_messages',
    "Messages in the server's queues that nobody has taken, of all hosts together. No series: not known.",
    ['queue'],
  );
  readonly #draining = this.#gauge('kpx_draining', '1 while no executor is started because the host is to be emptied.');
  readonly #sick = this.#gauge('kpx_host_sick', '1 while no executor is started because those of several users in a row failed.');
  readonly #held = this.#gauge('kpx_jobs_held', 'Jobs in the hands of the broker.');
  readonly #heldMax = this.#gauge('kpx_jobs_held_max', 'How many may be at most: half of amqp.prefetch.');
  readonly #executors = this.#gauge('kpx_executors', 'Executors of this host.', ['state']);
  readonly #executorsMax = this.#gauge('kpx_executors_max', 'How many there may be at most: policy.max_executors.');
  readonly #users = this.#gauge('kpx_users', 'Users who have jobs here, an executor, or failed starts.', ['state']);
  readonly #waiting = this.#gauge('kpx_users_waiting', 'Users who wait for room, by the limit that they wait for.', ['limit']);
  readonly #longestWait = this.#gauge(
    'kpx_longest_wait_seconds',
    'For how long one of these users has waited, at most; 0: nobody waits for that.',
    ['limit'],
  );
  readonly #userHeld = this.#gauge('kpx_user_jobs_held', 'Jobs held for a user; only with http.user_labels.', ['user', 'state']);

  constructor(outcomes: Outcomes, look: () => Look) {
    this.#outcomes = outcomes;
    this.#look = look;
    collectDefaultMetrics({ register: this.#registry });
    this.#build.set({ version: manifest.version, protocol: PROTOCOL_VERSION, node: process.version }, 1);
  }

  /** An event of the machine and what it led to; `now` in milliseconds, of the machine's clock. */
  observe(event: Event, effects: readonly Effect[], now: number): void {
    for (const effect of effects) {
      if (effect.kind === 'start') this.#starting.set(effect.user, now);
      else if (effect.kind === 'stop' || effect.kind === 'kill') {
        if (effect.cause !== undefined) this.#ends.inc({ cause: effect.cause });
      } else if (effect.kind === 'state') {
        if (effect.limit !== undefined) this.#refused(effect.limit);
        this.#stateOf(effect.user, effect.state, event, now);
      } else if (effect.kind === 'park' && effect.reason === 'USER_DENIED') this.#refused('denied');
      else if (effect.kind === 'park' && effect.reason === 'JOB_TOO_OLD') this.#refused('job_max_age');
    }
  }

  #refused(reason: Limit | 'denied' | 'job_max_age'): void {
    this.#refusals.inc({ reason });
  }

  #stateOf(user: KnimeUser, state: State, event: Event, now: number): void {
    const asked = this.#starting.get(user);
    const result = asked === undefined ? undefined : resultOf(state, event);
    if (asked === undefined || result === undefined) return;
    this.#starting.delete(user);
    this.#starts.inc({ result });
    if (state === 'ready') this.#startTime.observe((now - asked) / 1_000);
  }

  held(ms: number): void {
    this.#holdTime.observe(ms / 1_000);
  }

  answered(verb: Verb, ms: number): void {
    this.#helperTime.observe({ verb }, ms / 1_000);
  }

  provisioned(ms: number): void {
    this.#provisionTime.observe(ms / 1_000);
  }

  hookCalled(result: HookResult): void {
    this.#hookCalls.inc({ result });
  }

  hookSuppressed(): void {
    this.#hookSuppressed.inc();
  }

  reconnected(): void {
    this.#reconnects.inc();
  }

  /** Prometheus' text format; names of users are in it only if they are asked for. */
  async text(userLabels: boolean): Promise<string> {
    const { standing, tally, users, verdict, endedSoon } = this.#look();
    const { rabbitmq, helper, job_queue, queues, draining, sick, capacity, waits, sealed } = standing;
    this.#verdict.set(LEVELS.indexOf(verdict.level));
    for (const problem of PROBLEM_CODES) this.#problems.set({ problem }, 0);
    for (const { code: problem, level } of verdict.problems) this.#problems.set({ problem }, LEVELS.indexOf(level));
    this.#rabbitmq.set(Number(rabbitmq.connected));
    this.#helper.set(Number(helper.connected));
    this.#losesJobs.set(Number(job_queue?.danger !== undefined));
    this.#queues.reset();
    for (const [queue, messages] of Object.entries(queues ?? {})) this.#queues.set({ queue }, messages);
    this.#draining.set(Number(draining));
    this.#sick.set(Number(sick !== null));
    this.#held.set(capacity.held);
    this.#heldMax.set(capacity.held_max);
    this.#executorsMax.set(capacity.max_executors);
    for (const limit of WAITS_FOR) {
      this.#waiting.set({ limit }, waits[limit].users);
      this.#longestWait.set({ limit }, waits[limit].longest_wait / 1_000);
    }
    for (const [state, count] of Object.entries(tally.executors)) this.#executors.set({ state }, count);
    for (const [state, count] of Object.entries(tally.users)) this.#users.set({ state }, count);
    this.#sealedMax.set(sealed?.vhosts_max ?? 0);
    this.#sealedJobs.set(sealed?.jobs_waiting ?? 0);
    for (const state of VHOST_STATES) this.#sealedAccounts.set({ vhost: state }, sealed?.accounts[state] ?? 0);
    if (sealed) counted(this.#sealedRefused, 'reason', Object.entries(sealed.refused));
    counted(this.#jobs, 'outcome', Object.entries(this.#outcomes.jobs));
    counted(this.#parked, 'reason', [...PARK_REASONS.map((reason) => [reason, 0] as const), ...this.#outcomes.parked]);
    this.#endedSoon.reset();
    this.#endedSoon.inc(endedSoon);
    this.#userHeld.reset();
    const named = userLabels ? users.toSorted((a, b) => b.held - a.held).slice(0, USER_SERIES_MAX) : [];
    for (const { user, state, held } of named) this.#userHeld.set({ user, state }, held);
    return await this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  #counter(name: string, help: string, label?: string, values: readonly string[] = []): Counter {
    const counter = new Counter({ name, help, labelNames: label === undefined ? [] : [label], registers: [this.#registry] });
    for (const value of values) counter.inc({ [label ?? '']: value }, 0);
    return counter;
  }

  #gauge(name: string, help: string, labelNames: string[] = []): Gauge {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] });
  }

  #histogram(name: string, help: string, buckets: number[], verbs: readonly string[] = []): Histogram {
    const histogram = new Histogram({ name, help, buckets, labelNames: verbs.length === 0 ? [] : ['verb'], registers: [this.#registry] });
    for (const verb of verbs) histogram.zero({ verb });
    return histogram;
  }
}

/** Has a counter say what was counted elsewhere. */
function counted(counter: Counter, label: string, counts: readonly (readonly [string, number])[]): void {
  counter.reset();
  for (const [value, count] of counts) counter.inc({ [label]: value }, count);
}

/** The outcome of a start: the state that its user is in after `event`; undefined: nothing yet. */
function resultOf(state: State, event: Event): StartResult | undefined {
  const { start } = STATES[state];
  if (start === undefined || start === 'ready') return start;
  if (event.kind === 'no helper') return 'no_helper';
  return event.kind === 'not started' && event.code === 'LIMIT_REACHED' ? 'no_room' : start;
}
