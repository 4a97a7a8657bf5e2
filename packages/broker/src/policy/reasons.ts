import { ERRORS, type ErrorCode } from '@kpx/protocol';

/*
 * Every code that a job can be parked for, with what it means and what an operator does about it: the text of kpxctl, of the status page and of
 * docs/operate.md. The code is the value of the header `x-kpx-reason` in the dead-letter queue; `x-kpx-detail` says it for the case at hand.
 */

interface ReasonKind {
  readonly meaning: string;
  readonly advice: string;
  /** The end of a replay. `in vain`: here again. `once fixed`: the job is done when its cause is gone. */
  readonly replay: 'in vain' | 'once fixed';
}

const FIX_THE_SENDER = 'Fix what sends such jobs, then drop it.';

/** Those that the broker decides on itself. */
export const REASONS = {
  BODY_TOO_LARGE: {
    meaning: 'The body is larger than kpx passes on: 1 MiB.',
    advice: 'Have the job sent with less in it, then drop it.',
    replay: 'in vain',
  },
  HEADERS_UNUSABLE: {
    meaning:
      "The properties of this job cannot travel on. With kpx's headers they are larger than RabbitMQ's frame_max, they cannot be read, or RabbitMQ has twice ended the connection when this job alone was sent. The body is as it came; `x-kpx-properties` has the first 32 KiB of its properties in base64.",
    advice: 'A replay sends the body alone, without the properties that it came with: see what they say, then replay or drop it.',
    replay: 'once fixed',
  },
  BODY_NOT_JSON: { meaning: 'The body is not a JSON object in UTF-8.', advice: FIX_THE_SENDER, replay: 'in vain' },
  USER_MISSING: {
    meaning: 'The job names no user where jobs.user_from says.',
    advice: 'See jobs.user_from in broker.toml. If that is right: fix what sends such jobs, then drop it.',
    replay: 'once fixed',
  },
  USER_NOT_A_STRING: { meaning: 'The user is not a string.', advice: FIX_THE_SENDER, replay: 'in vain' },
  USER_AMBIGUOUS: { meaning: 'The header with the user is there more than once.', advice: FIX_THE_SENDER, replay: 'in vain' },
  USER_NAME_INVALID: { meaning: 'The user is not a name that kpx takes.', advice: FIX_THE_SENDER, replay: 'in vain' },
  USER_DENIED: {
    meaning: 'The policy denies this user an executor: the detail names policy.deny or a rule.',
    advice: 'Allow the user in broker.toml, then kpxctl reload and replay, or drop it.',
    replay: 'once fixed',
  },
  JOB_TOO_OLD: {
    meaning: 'The job is older than policy.job_max_age: KNIME Server has given it up.',
    advice: 'Have the user start it again, then drop it.',
    replay: 'in vain',
  },
  CANCELLED: {
    meaning: 'An operator has cancelled the job before an executor had it: kpxctl cancel.',
    advice: 'Replay it if it is to be done after all, or drop it.',
    replay: 'once fixed',
  },
  START_FAILED: {
    meaning: 'As many starts of the executor as policy.start_attempts have failed: the detail has the last failure.',
    advice: 'Fix its cause, then replay: the user is tried at once.',
    replay: 'once fixed',
  },
  HOSTS_FAILED: {
    meaning: 'No host that was tried could start an executor for it: the detail names the hosts.',
    advice: 'Run kpxctl doctor on each, fix what it finds, then replay.',
    replay: 'once fixed',
  },
  DELIVERY_LIMIT: {
    meaning: 'It was given back so often that RabbitMQ would soon have removed it.',
    advice: 'Lift the delivery limit of the job queue: kpxctl doctor has the command. Then replay: it counts from zero.',
    replay: 'once fixed',
  },
  EXECUTOR_WITHOUT_RABBITMQ: {
    meaning:
      'As many executors of the user as policy.start_attempts ran, and RabbitMQ served none of them: the login is refused, or they cannot reach it.',
    advice: 'See the executor with kpxctl logs USER, and the URL in /etc/kpx/executor-msgq: fix what keeps it from RabbitMQ, then replay.',
    replay: 'once fixed',
  },
  SEALED_REFUSED: {
    meaning:
      'The code of an account has published it, and it may not leave the virtual host of that account, or not as this job: the detail names the account and the reason.',
    advice:
      'If the executor has to publish it: name the exchange in [[sealed.up]] of broker.toml. If not: ask the user of the account, then drop it.',
    replay: 'in vain',
  },
} as const satisfies Record<string, ReasonKind>;

export type Reason = keyof typeof REASONS;

/** A code with its meaning, and the operator's step before such jobs are replayed. */
export interface Entry extends ReasonKind {
  readonly code: Reason | ErrorCode | typeof SEALED_UNAVAILABLE;
}

/** Begins the detail of a start that failed before the helper was asked for an executor. */
export const SEALED_UNAVAILABLE = 'SEALED_UNAVAILABLE';

/** NOT_RUNNING is the answer to a stop, and no reason of a job. */
const ofHelper = (retry: 'later' | 'never'): Entry[] =>
  (Object.keys(ERRORS) as ErrorCode[])
    .filter((code) => ERRORS[code].retry === retry && code !== 'NOT_RUNNING')
    .map((code) => ({ code, meaning: ERRORS[code].meaning, advice: ERRORS[code].advice, replay: 'once fixed' }));

/** Reasons of the broker, then refusals of the helper: values of x-kpx-reason. */
export const PARKED: readonly Entry[] = [
  ...(Object.keys(REASONS) as Reason[]).map((code) => ({ code, ...REASONS[code] })),
  ...ofHelper('never'),
];
/** Failures of a start, which is tried again: in the detail of a START_FAILED or HOSTS_FAILED when that was in vain. */
export const FAILURES: readonly Entry[] = [
  ...ofHelper('later'),
  {
    code: SEALED_UNAVAILABLE,
    meaning: 'The virtual host and the RabbitMQ user of the account could not be made ready: the detail says why.',
    advice: "Do as the detail says. See sealed.management_url and the accounts' RabbitMQ. The broker tries again by itself.",
    replay: 'once fixed',
  },
];

export const entryOf = (code: string): Entry | undefined => [...PARKED, ...FAILURES].find((entry) => entry.code === code);
