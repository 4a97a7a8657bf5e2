import { isAtLeast, type JobQueue } from './job-queue.js';

/** RabbitMQ ends a consumer (basic.cancel) without a reason, and leaves the channel open. The probable reason, for the log. Tried with 4.3.6. */
export function whyConsumerEnded(queue: string, seen: JobQueue | undefined): string {
  const what = `RabbitMQ ended the consumer of "${queue}"`;
  if (seen === undefined) return what;
  const { type, version } = seen;
  const gone = type === 'classic' ? 'the queue was deleted, or its node is away' : 'the queue was deleted, or has no leader';
  if (type !== 'quorum' || !isAtLeast(version, 4, 3)) return `${what}; probably ${gone}`;
  return `${what}; probably a job was held longer than its consumer timeout (x-consumer-timeout, a policy with consumer-timeout, consumer_timeout in rabbitmq.conf), which has to be more than 5 minutes; or ${gone}`;
}
