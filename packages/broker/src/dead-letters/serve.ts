import type { Logger } from 'pino';
import type { InForce } from '../amqp/in-force.js';
import { CommandError, EXIT } from '../output/exit.js';
import { plain } from '../output/format.js';
import { openQueue } from './access.js';
import type { Letter } from './letter.js';
import type { DeadLetterQueue } from './queue.js';
import type { Selection } from './selection.js';
import { type Chosen, choose, chooseAgain, settle, show, type Way } from './work.js';

/** Largest body that is handed out, in bytes: one answer has it as text. */
const BODY_BYTES_MAX = 8 * 1024 * 1024;

/** The letters that an operator has seen before settling them: how many, and when the latest of them was parked. */
export interface Seen {
  readonly count: number;
  readonly until: string;
}

/** Which letters were settled, and why the others had to stay. */
export interface Settled {
  readonly done: readonly Letter[];
  readonly problem: string | null;
}

/** {@link Shown} in JSON. */
export interface ShownInJson {
  readonly letter: Letter;
  readonly copies: number;
  readonly all: boolean;
  readonly properties: Readonly<Record<string, unknown>>;
  readonly content_base64: string;
}

/** Dead letters through the broker, for an operator who may not read RabbitMQ's password. Each rejects with a {@link CommandError}. */
export interface DeadLetterService {
  choose(selection: Selection): Promise<Chosen>;
  show(id: string): Promise<ShownInJson>;
  settle(way: Way, selection: Selection, seen: Seen): Promise<Settled>;
}

/** On a connection for each: what it looks at is in nobody else's hands, and back in the queue when that ends. */
export function serveDeadLetters({ config, mac }: InForce, log: Logger): DeadLetterService {
  const withQueue = async <T>(work: (queue: DeadLetterQueue) => Promise<T>): Promise<T> => {
    const queue = await openQueue(config(), mac(), () => {});
    try {
      return await Promise.race([work(queue), queue.lost]);
    } finally {
      await queue.close();
    }
  };
  return {
    choose: (selection) => withQueue((queue) => choose(queue, selection)),
    show: (id) => withQueue(async (queue) => inJson(await show(queue, id))),
    settle: async (way, selection, seen) => {
      log.warn({ way, ...selection, ...seen }, 'an operator replays or drops dead letters');
      return await withQueue((queue) => settleSeen(queue, way, selection, seen));
    },
  };
}

/** Those that came later are left; where the others are not those that were seen, nothing is done. */
async function settleSeen(queue: DeadLetterQueue, way: Way, selection: Selection, { count, until }: Seen): Promise<Settled> {
  const meant = await chooseAgain(queue, selection, ({ parkedAt }) => parkedAt <= until, count);
  if (meant.length !== count) {
    const what = `The dead letters are others than a moment ago, ${meant.length} and not ${count}. Look again.`;
    throw new CommandError(EXIT.noInput, queue.hint === undefined ? what : `${what} ${queue.hint}`);
  }
  const done: Letter[] = [];
  const problem = await settle(queue, way, meant, (letter) => done.push(letter));
  return { done, problem: problem ?? null };
}

function inJson({ content, properties, ...others }: Awaited<ReturnType<typeof show>>): ShownInJson {
  if (content.length > BODY_BYTES_MAX) {
    const why = `Its body has ${content.length} bytes, and the broker hands out at most ${BODY_BYTES_MAX}: say --direct.`;
    throw new CommandError(EXIT.unavailable, why);
  }
  return { ...others, properties: JSON.parse(JSON.stringify(properties, plain)), content_base64: content.toString('base64') };
}
