/**
 * How long RabbitMQ may take for one answer, in milliseconds. A server can go on with heartbeats and answer nothing else, for example while a queue
 * hangs. A quorum queue that is new takes some seconds.
 */
export const ANSWER_TIMEOUT_MS = 15_000;
/** How long RabbitMQ may take to confirm a message, in milliseconds: without a majority of a quorum queue it refuses one after 65 s. */
export const CONFIRM_TIMEOUT_MS = 90_000;

/** The answer, or an Error where there is none in time; `asked` completes "RabbitMQ did not answer to …". */
export async function answerInTime<T>(answer: Promise<T>, asked: string, timeoutMs = ANSWER_TIMEOUT_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const why = `RabbitMQ did not answer to ${asked} within ${timeoutMs / 1_000} s`;
    timer = setTimeout(() => reject(new Error(why)), timeoutMs);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
