import type { Logger } from 'pino';

/** For work that nobody waits for: a failure of it is logged, and never ends the broker. */
export const logFailure =
  (log: Logger, what: string) =>
  ({ message, stack }: Error): void =>
    log.error({ reason: message, stack }, what);
