import { setTimeout as delay } from 'node:timers/promises';
import { answerInTime } from '../amqp/deadline.js';
import type { WireMessage } from '../amqp/wire/amqplib.js';
import type { Provisioning } from '../rabbitmq/provisioning.js';
import type { AccountSession } from './account-session.js';
import { type Carrying, publishedOf } from './carrying.js';
import { UP_QUEUE } from './names.js';
import type { Replies } from './replies.js';
import { judgeBack } from './rules.js';
import { forgetQueue } from './topology.js';

/** How often it is looked whether all is carried, in milliseconds, and how often in a row it has to look so. */
const LOOK_EVERY_MS = 50;
const QUIET_LOOKS = 2;
/** The same while there are jobs of which nobody has heard: RabbitMQ may still have them, or their answers. */
const QUIET_LOOKS_UNHEARD = 10;
/** How long RabbitMQ may take to end the connections and consumers of a user who is deleted, in milliseconds: some 10 with all versions tried. */
const GONE_WITHIN_MS = 10_000;

interface Left {
  readonly jobQueue: string;
  /** Job queues with earlier names, which an executor may still read from. */
  readonly earlier: readonly string[];
  readonly replies: Replies;
  readonly carrying: Carrying;
}

/**
 * Deals with the end of an executor, in this order. Its user goes, so nobody can log in any more. All that it has published is carried. The jobs that it has
 * not done go back to the server. Can be done again from the beginning. Throws an Error for operators.
 */
export async function finish(
  api: Provisioning,
  name: string,
  session: AccountSession,
  left: Left,
): Promise<{ readonly takenBack: number; readonly unanswered: number }> {
  await api.deleteUser(name);
  await until(
    async () => (await api.connectionsOf(name)) === 0,
    GONE_WITHIN_MS,
    `RabbitMQ keeps connections of the deleted user "${name}"`,
  );
  /*
   * RabbitMQ forgets the connection of a client that was killed before its channels have ended: until then they publish what they have read, and the jobs that
   * they hold are not back. The consumers that they have go with that.
   */
  const queues = [left.jobQueue, ...left.earlier];
  await until(
    async () => (await consumersOf(session, queues)) === 0,
    GONE_WITHIN_MS,
    `somebody reads from ${queues.map((queue) => `"${queue}"`).join(' or ')} in the virtual host "${name}", whose user is deleted: jobs may be held there`,
  );
  let takenBack = 0;
  let wanted = QUIET_LOOKS;
  for (let quiet = 0; quiet < wanted; ) {
    const now = await takeBack(session, left);
    takenBack += now;
    quiet = now === 0 && (await isEmpty(session, left.replies)) ? quiet + 1 : 0;
    wanted = left.replies.answers.unheardOf > 0 ? QUIET_LOOKS_UNHEARD : QUIET_LOOKS;
    if (quiet < wanted) await delay(LOOK_EVERY_MS);
  }
  for (const queue of left.earlier) {
    const refused = await session.apart((channel) => answerInTime(channel.deleteQueue(queue), `queue.delete of "${queue}"`));
    if (refused !== undefined) throw new Error(refused);
    await forgetQueue(api, name, queue);
  }
  return { takenBack, unanswered: left.replies.answers.unheardOf };
}

async function consumersOf(session: AccountSession, queues: readonly string[]): Promise<number> {
  let consumers = 0;
  for (const queue of queues) consumers += (await session.look(queue))?.consumers ?? 0;
  return consumers;
}

async function isEmpty(session: AccountSession, replies: Replies): Promise<boolean> {
  if (session.inHand > 0) return false;
  for (const queue of [UP_QUEUE, ...replies.queues]) if (((await session.look(queue))?.messages ?? 0) > 0) return false;
  return session.inHand === 0;
}

/** Jobs that lie in the account's job queue, and in earlier ones, go back to the server; answers how many. Throws an Error for operators. */
export async function takeBack(session: AccountSession, left: Left): Promise<number> {
  return (await takeBackFrom(session, left.jobQueue, left)) + (await takeBackEarlier(session, left));
}

/** The same from earlier ones alone: also while an executor runs, which the server's jobs reach by the queue with today's name. */
export async function takeBackEarlier(session: AccountSession, left: Left): Promise<number> {
  let takenBack = 0;
  for (const queue of left.earlier) if (await session.look(queue)) takenBack += await takeBackFrom(session, queue, left);
  return takenBack;
}

async function takeBackFrom(session: AccountSession, queue: string, { jobQueue, replies, carrying }: Left): Promise<number> {
  let takenBack = 0;
  for (;;) {
    const message = await session.get(queue);
    if (message === undefined) return takenBack;
    if (await carryBack(session, message, { jobQueue, replies, carrying })) takenBack += 1;
    if (!session.open) throw new Error('the connection was closed');
    if (carrying.stopped) throw new Error('the broker ends');
  }
}

/** A job that came out of an account's job queue, to where jobs come from; false: it is not carried, see {@link Carrying.carry}. Never rejects. */
export async function carryBack(
  session: AccountSession,
  message: WireMessage,
  { jobQueue, replies, carrying }: Pick<Left, 'jobQueue' | 'replies' | 'carrying'>,
): Promise<boolean> {
  const published = publishedOf(message);
  const { correlationId } = published;
  const verdict = judgeBack(jobQueue, published, (name) => replies.standsFor(name, correlationId));
  const isCarried = await carrying.carry(session, message, verdict, 'waits');
  if (isCarried && verdict.is === 'carried') replies.answers.answered(verdict.replyTo, correlationId, performance.now());
  return isCarried;
}

async function until(isSo: () => Promise<boolean>, withinMs: number, otherwise: string): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(otherwise);
    await delay(LOOK_EVERY_MS);
  }
}
