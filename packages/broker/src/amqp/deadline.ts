/**
 * How long RabbitMQ may take for one answer, in milliseconds. A server can go on with heartbeats and answer nothing else, for example while a queue
 * hangs. A quorum queue that is new takes some seconds.
 */
export const ANSWER_TIMEOUT_MS = 15_000;
/** How often it is looked whether the time is up, in milliseconds. */
const LOOK_EVERY_MS = 250;
/** How long RabbitMQ may take to confirm a message, in milliseconds: without a majority of a quorum queue it refuses one after 65 s. */
export const CONFIRM_TIMEOUT_MS = 90_000;

/**
 * The answer, or an Error where there is none in time; `asked` completes "RabbitMQ did not answer to …". As long as `isExcused` says so (during an alarm
 * RabbitMQ reads nothing of a connection that publishes) time begins anew.
 */
export async function answerInTime<T>(
  answer: Promise<T>,
  asked: string,
  timeoutMs = ANSWER_TIMEOUT_MS,
  isExcused = () => false,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  let since = performance.now();
  const late = new Promise<never>((_, reject) => {
    timer = setInterval(() => {
      const now = performance.now();
      if (isExcused()) since = now;
      else if (now - since >= timeoutMs) reject(new Error(`RabbitMQ did not answer to ${asked} within ${timeoutMs / 1_000} s`));
    }, LOOK_EVERY_MS);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearInterval(timer);
  }
}
