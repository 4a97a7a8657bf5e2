import fc from 'fast-check';
import type { ODD_HEADERS } from './odd-headers.js';

/*
 * What happens in a run, as a pure function of its seed and its length: which faults, when and for how long, and which jobs are published when.
 * Nothing here knows how a fault is made (faults.ts) or what it may cause (balance.ts).
 */

/** KNIME users whose jobs are to be done, under the account of the same name. */
export const USERS = ['alice', 'bob', 'bob_temp', 'carol', 'dave', 'svc-report'] as const;

/** Faults of one part of the installation come one after the other; the parts have theirs at the same time. */
export interface Fault {
  /** Not before this time of the run, and not before the previous fault of the same part is over, in milliseconds. */
  readonly atMs: number;
  readonly kind: FaultKind;
  /** Of whom, on which way, or which of several; empty when there is only one. */
  readonly what: string;
  /** How long it lasts, beside what it takes to begin and to end, in milliseconds; 0: a moment. */
  readonly forMs: number;
}

export interface PlannedJob {
  readonly id: string;
  readonly kind: JobKind;
  readonly user: string;
}

export interface Publication {
  readonly atMs: number;
  readonly jobs: readonly PlannedJob[];
}

export interface Plan {
  /** One list for each part. */
  readonly faults: readonly (readonly Fault[])[];
  readonly publications: readonly Publication[];
}

const TOO_LARGE_BYTES = 1024 * 1024 + 1;

interface JobKindFacts {
  /** How often among 1,000 jobs. */
  readonly weight: number;
  /** Why it must be parked; undefined: it must be done. */
  readonly reason?: string;
  /** What the detail must contain. */
  readonly detail?: string;
  /** As it is published; a Buffer goes out as it is. */
  readonly body: (user: string, job: string) => unknown;
  /** Of {@link ODD_HEADERS}. */
  readonly headers?: keyof typeof ODD_HEADERS;
}

export const JOB_KINDS = {
  ordinary: { weight: 850, body: (user, job) => ({ user, job }) },
  'user in capitals': { weight: 30, body: (user, job) => ({ user: user.toUpperCase(), job }) },
  'of root': { weight: 10, reason: 'ACCOUNT_DENIED', body: (_, job) => ({ user: 'root', job }) },
  'of a system account': { weight: 8, reason: 'ACCOUNT_DENIED', body: (_, job) => ({ user: 'lowuid', job }) },
  'of a denied user': { weight: 10, reason: 'USER_DENIED', body: (_, job) => ({ user: 'mallory', job }) },
  'of an unknown user': {
    weight: 10,
    reason: 'START_FAILED',
    detail: 'ACCOUNT_UNKNOWN',
    body: (_, job) => ({ user: 'nobody-knows-me', job }),
  },
  'half a body': { weight: 10, reason: 'BODY_NOT_JSON', body: (user) => Buffer.from(`{"user": "${user}"`) },
  'without a user': { weight: 8, reason: 'USER_MISSING', body: (_, job) => ({ job }) },
  'a number for a user': { weight: 8, reason: 'USER_NOT_A_STRING', body: (_, job) => ({ user: 7, job }) },
  'a path for a user': { weight: 8, reason: 'USER_NAME_INVALID', body: (_, job) => ({ user: '../etc', job }) },
  'with headers of every type': { weight: 10, headers: 'everyType', body: (user, job) => ({ user, job }) },
  'with large headers': { weight: 10, headers: 'large', body: (user, job) => ({ user, job }) },
  'with deep headers': { weight: 10, headers: 'deep', body: (user, job) => ({ user, job }) },
  'with a wrong header of kpx': { weight: 10, headers: 'expiration', body: (user, job) => ({ user, job }) },
  'without room for headers of kpx': {
    weight: 10,
    headers: 'noRoom',
    reason: 'HEADERS_UNUSABLE',
    body: (user, job) => ({ user, job }),
  },
  'too large': { weight: 2, reason: 'BODY_TOO_LARGE', body: () => Buffer.alloc(TOO_LARGE_BYTES, ' ') },
} as const satisfies Record<string, JobKindFacts>;

export type JobKind = keyof typeof JOB_KINDS;
export const factsOf = (kind: JobKind): JobKindFacts => JOB_KINDS[kind];

/** Ways to RabbitMQ that lead through a proxy. */
export const WAYS = ['broker', 'executors'] as const;

/** Other configurations of the broker; faults.ts says what is in them. */
export const RELOADS = [
  'prefetch 8',
  'max_executors 2',
  'max_starting 1',
  'dave denied',
  'bob started before the job',
  'all kept warm',
  'two jobs of each user held',
  'a hook that hangs',
  'a hook that floods',
] as const;

/** Limits that an administrator of RabbitMQ sets for queues; faults.ts says which. */
export const QUEUE_POLICIES = ['delay queues take one job', 'the job queue takes one job', 'the job queue is lazy'] as const;

/** Answers of the helper in the place of its own. */
export const HELPER_ERRORS = ['INTERNAL', 'DEADLINE_EXCEEDED', 'ACCOUNT_LOOKUP_FAILED', 'LAUNCH_FAILED', 'HOST_FAILED'] as const;

/** What the broker sees of a systemctl that is slow: answers come later, or only when the helper has given up waiting for it. */
export const SLOWNESSES = ['some seconds', 'beyond the deadline'] as const;

/** From this method of AMQP on, RabbitMQ answers a broker that connects with heartbeats alone; faults.ts has their numbers. */
export const MUTE_METHODS = ['queue.declare', 'confirm.select', 'basic.consume'] as const;

interface FaultFacts {
  /** How often among the faults of its part, exactly: see {@link deckOf}. */
  readonly weight: number;
  readonly what?: readonly string[];
  /** Shortest and longest duration in milliseconds; none: a moment. */
  readonly lasts?: readonly [number, number];
}

interface Part {
  /** Shortest and longest time between two faults, in milliseconds. */
  readonly pause: readonly [number, number];
  readonly faults: Record<string, FaultFacts>;
}

const PARTS = {
  broker: {
    pause: [2_000, 12_000],
    faults: {
      'broker: kill -9': { weight: 5, lasts: [0, 3_000] },
      'broker: SIGTERM': { weight: 3, lasts: [0, 3_000] },
      'broker: another configuration': { weight: 5, what: RELOADS, lasts: [500, 6_000] },
      'broker: a wrong configuration': { weight: 1 },
      'broker: drained': { weight: 2, lasts: [500, 6_000] },
      'broker: drained until': { weight: 1, lasts: [500, 6_000] },
      'broker: drained over a restart': { weight: 1, lasts: [500, 6_000] },
      'broker: log lost': { weight: 5, lasts: [0, 3_000] },
    },
  },
  executors: {
    pause: [2_000, 8_000],
    faults: {
      'executor: kill -9': { weight: 5, what: USERS },
      'executor: installation broken': { weight: 2, what: USERS, lasts: [1_000, 12_000] },
      'helper: kill -9': { weight: 2, lasts: [0, 3_000] },
      'helper: SIGSTOP': { weight: 2, lasts: [500, 20_000] },
      'helper: log lost': { weight: 4, lasts: [0, 3_000] },
      'helper: answers with errors': { weight: 4, what: HELPER_ERRORS, lasts: [1_000, 6_000] },
      'systemctl: slow': { weight: 4, what: SLOWNESSES, lasts: [2_000, 8_000] },
    },
  },
  rabbitmq: {
    pause: [6_000, 30_000],
    faults: {
      'RabbitMQ: all connections closed': { weight: 3 },
      'RabbitMQ: app stopped': { weight: 2, lasts: [500, 6_000] },
      'RabbitMQ: kill -9': { weight: 2, lasts: [0, 4_000] },
      'RabbitMQ: memory alarm': { weight: 2, lasts: [500, 8_000] },
      'RabbitMQ: queue policy': { weight: 3, what: QUEUE_POLICIES, lasts: [1_000, 8_000] },
    },
  },
  network: {
    pause: [2_000, 8_000],
    faults: {
      'network: cut': { weight: 4, what: WAYS },
      'network: refusing': { weight: 2, what: WAYS, lasts: [500, 5_000] },
      'network: slow': { weight: 2, what: WAYS, lasts: [1_000, 8_000] },
      'network: half-open': { weight: 2, what: WAYS, lasts: [1_000, 15_000] },
      'RabbitMQ: mute': { weight: 4, what: MUTE_METHODS, lasts: [1_000, 10_000] },
      'executors: without RabbitMQ': { weight: 4, lasts: [5_000, 12_000] },
    },
  },
  operator: {
    pause: [2_000, 10_000],
    faults: {
      'operator: cancel': { weight: 6 },
      'operator: start': { weight: 2, what: USERS },
      'operator: stop --all --when-idle': { weight: 2 },
      'operator: audit log rotated': { weight: 1 },
    },
  },
} as const satisfies Record<string, Part>;

type Parts = typeof PARTS;
export type FaultKind = { [Name in keyof Parts]: keyof Parts[Name]['faults'] }[keyof Parts] & string;

/** Between two publications, in milliseconds. */
const PUBLISH_PAUSE_MS = [250, 2_500] as const;
const FEW_JOBS_MAX = 8;
const BURST_JOBS_MAX = 60;
/** One publication in so many is a burst. */
const BURST_EVERY = 12;

const MOMENT = [0, 0] as const;

const between = ([min, max]: readonly [number, number]) => fc.integer({ min, max });
const sample = <T>(values: fc.Arbitrary<T>, seed: number, count: number) => fc.sample(values, { seed, numRuns: count, unbiased: true });

/** Every fault of a part as often as its weight, shuffled like cards: however short a run is, no kind comes up much less often than it should. */
function deckOf({ pause, faults }: Part) {
  const cards = Object.entries(faults).flatMap(([kind, { weight, what = [''], lasts = MOMENT }]) =>
    Array.from({ length: weight }, () =>
      fc.record({ pauseMs: between(pause), kind: fc.constant(kind as FaultKind), what: fc.constantFrom(...what), forMs: between(lasts) }),
    ),
  );
  return fc.shuffledSubarray(cards, { minLength: cards.length }).chain((shuffled) => fc.tuple(...shuffled));
}

function publicationStep() {
  const kinds = Object.entries(JOB_KINDS).map(([kind, { weight }]) => ({ weight, arbitrary: fc.constant(kind as JobKind) }));
  const job = fc.record({ kind: fc.oneof(...kinds), user: fc.constantFrom(...USERS) });
  const jobs = fc.oneof(
    { weight: BURST_EVERY - 1, arbitrary: fc.array(job, { minLength: 1, maxLength: FEW_JOBS_MAX, size: 'max' }) },
    { weight: 1, arbitrary: fc.array(job, { minLength: FEW_JOBS_MAX, maxLength: BURST_JOBS_MAX, size: 'max' }) },
  );
  return fc.record({ pauseMs: between(PUBLISH_PAUSE_MS), jobs });
}

const deckSizeOf = ({ faults }: Part) => Object.values(faults).reduce((sum, { weight }) => sum + weight, 0);

function faultsOf(part: Part, seed: number, durationMs: number): Fault[] {
  const planned: Fault[] = [];
  let atMs = 0;
  const decks = Math.ceil(durationMs / part.pause[0] / deckSizeOf(part));
  for (const { pauseMs, ...fault } of sample(deckOf(part), seed, decks).flat()) {
    atMs += pauseMs;
    if (atMs + fault.forMs > durationMs) break;
    planned.push({ atMs, ...fault });
    atMs += fault.forMs;
  }
  return planned;
}

function publicationsOf(seed: number, durationMs: number): Publication[] {
  const planned: Publication[] = [];
  let [atMs, number] = [0, 0];
  for (const { pauseMs, jobs } of sample(publicationStep(), seed, Math.ceil(durationMs / PUBLISH_PAUSE_MS[0]))) {
    atMs += pauseMs;
    if (atMs > durationMs) break;
    planned.push({ atMs, jobs: jobs.map((job) => ({ id: `job-${++number}`, ...job })) });
  }
  return planned;
}

/** `durationMs`: when the last fault is over and the last job published, if nothing takes longer than planned. A longer plan begins as a shorter one. */
export function planOf(seed: number, durationMs: number): Plan {
  const parts = Object.values(PARTS);
  // A seed each: what one of them draws does not move the others.
  const [ofPublications = 0, ...seeds] = sample(fc.integer(), seed, 1 + parts.length);
  const faults = parts.map((part, index) => faultsOf(part, seeds[index] ?? 0, durationMs));
  return { faults, publications: publicationsOf(ofPublications, durationMs) };
}
