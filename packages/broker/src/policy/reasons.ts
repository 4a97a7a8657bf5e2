/**
 * Why a job is parked: the value of the header `x-kpx-reason` in the dead-letter queue, beside the helper's own codes (`ACCOUNT_DENIED`, …,
 * see packages/protocol/src/errors.ts). `x-kpx-detail` says it for the case at hand.
 */
export const REASONS = {
  BODY_TOO_LARGE: 'The body is larger than kpx passes on.',
  HEADERS_UNUSABLE: 'RabbitMQ takes this job from its sender, and not from kpx: its properties cannot travel on.',
  BODY_NOT_JSON: 'The body is not a JSON object in UTF-8.',
  USER_MISSING: 'The body has no user field.',
  USER_NOT_A_STRING: 'The user field is not a string.',
  USER_NAME_INVALID: 'The user field is not a name that kpx takes.',
  USER_DENIED: 'The policy denies this user an executor.',
  JOB_TOO_OLD: 'The job is older than the policy allows: KNIME Server has given it up.',
  START_FAILED: 'The executor of this user could not be started, as often as the policy tries.',
  HOSTS_FAILED: 'No host that was tried could start an executor for it.',
  DELIVERY_LIMIT: 'It was given back so often that RabbitMQ would soon have removed it.',
  EXECUTOR_WITHOUT_RABBITMQ: 'The executor of this user runs, but RabbitMQ does not serve it, as often as the policy tries.',
} as const;

export type Reason = keyof typeof REASONS;
