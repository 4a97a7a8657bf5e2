import { REASONS, type Reason } from '@kpx/broker/policy/reasons';
import { ERRORS, type ErrorCode } from '@kpx/protocol';

/** A code with its meaning, and the operator's step before such jobs are replayed. */
export interface Entry {
  readonly code: string;
  readonly meaning: string;
  readonly advice: string;
}

const NOT_FOR_REPLAY = 'A replay ends here again: fix what sends such jobs, then drop it.';

const ADVICE: Partial<Record<string, string>> = {
  BODY_TOO_LARGE: 'A replay ends here again: have the job sent with less in it (1 MiB at most), then drop it.',
  HEADERS_UNUSABLE: 'A replay sends the body alone, without the properties that it came with: see what they say, then replay or drop it.',
  BODY_NOT_JSON: NOT_FOR_REPLAY,
  USER_MISSING: 'See jobs.user_field in broker.toml. If that is right: fix what sends such jobs, then drop it.',
  USER_NOT_A_STRING: NOT_FOR_REPLAY,
  USER_NAME_INVALID: NOT_FOR_REPLAY,
  USER_DENIED: 'The detail names policy.deny or a rule: allow the user in broker.toml, then kpxctl reload and replay, or drop it.',
  JOB_TOO_OLD: 'KNIME Server has given it up: have the user start it again, then drop it.',
  HOSTS_FAILED: 'The detail names the hosts: run kpxctl doctor on each, fix what it finds, then replay.',
  EXECUTOR_WITHOUT_RABBITMQ:
    'See the executor with kpxctl logs USER, and the URL in /etc/kpx/executor-msgq: fix what keeps it from RabbitMQ, then replay.',
  DELIVERY_LIMIT: 'Lift the delivery limit of the job queue: kpxctl doctor has the command. Then replay: it counts from zero.',
  START_FAILED: 'The detail has the last failure: fix its cause, then replay: the user is tried at once.',
} satisfies Partial<Record<Reason, string>>;

/** NOT_RUNNING is the answer to a stop, and no reason of a job. */
const MEANINGS = {
  VERSION_MISMATCH: 'kpx-broker and kpx-privhelper are not of one release.',
  ACCOUNT_UNKNOWN: 'There is no account of this name.',
  ACCOUNT_DENIED: 'This account may not have an executor.',
  ACCOUNT_LOOKUP_FAILED: 'The name service failed or gave no usable answer.',
  HOME_UNUSABLE: "The home directory is missing, in the wrong place or not the account's own.",
  DIRECTORY_UNSAFE: "Something that kpx has not made, or that others may write to, is where a user's directory should be.",
  DIRECTORY_FAILED: 'A directory could not be made or prepared.',
  PROFILE_UNKNOWN: 'The helper knows no profile of this name.',
  LAUNCH_FAILED: 'The executor could not be launched.',
  LIMIT_REACHED: 'The helper runs as many executors as it may.',
  DEADLINE_EXCEEDED: 'A step of the start took too long.',
  INTERNAL: 'A defect of kpx.',
  NOT_PREPARED: 'The start had no password for RabbitMQ: it is made before each one.',
  HOST_FAILED: 'The host can start no executor: systemd, the executor’s program or msgq_file is not as it must be.',
} as const satisfies Record<Exclude<ErrorCode, 'NOT_RUNNING'>, string>;

/** Codes in x-kpx-reason that the broker decides on itself. */
export const BROKER_REASONS: readonly Entry[] = Object.entries(REASONS).map(([code, meaning]) => ({
  code,
  meaning,
  advice: ADVICE[code] ?? 'See the detail, and docs/operate.md.',
}));

const helperEntries = (retry: 'later' | 'never') =>
  (Object.keys(MEANINGS) as (keyof typeof MEANINGS)[])
    .filter((code) => ERRORS[code].retry === retry)
    .map((code) => ({ code, meaning: MEANINGS[code], advice: ERRORS[code].advice }));

/** The helper's refusals: they are in x-kpx-reason themselves. */
export const REFUSALS: readonly Entry[] = helperEntries('never');
/** The helper's failures: they are tried again, and in the detail of a START_FAILED when that was in vain. */
export const FAILURES: readonly Entry[] = helperEntries('later');

export const entryOf = (code: string): Entry | undefined =>
  [...BROKER_REASONS, ...REFUSALS, ...FAILURES].find((entry) => entry.code === code);
