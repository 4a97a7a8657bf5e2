import type { ChannelModel } from 'amqplib';
import { answerInTime } from './deadline.js';
import { DEAD_LETTER_QUEUE, ownQueues } from './topology.js';

/** How often the queues are looked at, in milliseconds. */
const LOOK_MS = 10_000;

/** Messages in the server's queues that nobody has taken, of all hosts together. */
export interface Depths {
  /** In the job queue. */
  readonly jobs: number;
  /** In kpx's delay queues of this job queue. */
  readonly delayed: number;
  readonly dead_letters: number;
}

/**
 * Looks at once and then again and again; `seen` is told, with undefined where RabbitMQ does not say: while the node of a queue is down, for example. Ends
 * with the connection, or when it is told to by what this answers.
 */
export function watchDepths(connection: ChannelModel, queue: string, seen: (depths: Depths | undefined) => void): () => void {
  let isOver = false;
  let looking = false;
  const tell = (depths: Depths | undefined) => {
    looking = false;
    if (!isOver) seen(depths);
  };
  const look = () => {
    if (looking) return;
    looking = true;
    depthsOf(connection, queue).then(tell, () => tell(undefined)); // the session says by itself what is wrong
  };
  look();
  const watching = setInterval(look, LOOK_MS);
  return () => {
    isOver = true;
    clearInterval(watching);
  };
}

/** On a channel of its own, because RabbitMQ closes a channel when it refuses. */
async function depthsOf(connection: ChannelModel, queue: string): Promise<Depths> {
  const channel = await answerInTime(connection.createChannel(), 'channel.open');
  channel.on('error', () => {}); // rejects the call as well
  const messagesIn = async (name: string) => (await answerInTime(channel.checkQueue(name), `queue.declare of "${name}"`)).messageCount;
  try {
    const [jobs, dead_letters] = [await messagesIn(queue), await messagesIn(DEAD_LETTER_QUEUE)];
    let delayed = 0;
    for (const [name] of ownQueues(queue)) if (name !== DEAD_LETTER_QUEUE) delayed += await messagesIn(name);
    return { jobs, delayed, dead_letters };
  } finally {
    channel.close().catch(() => {}); // RabbitMQ has closed it already
  }
}
