import type { Logger } from 'pino';
import type { InForce } from '../amqp/in-force.js';
import { CommandError, EXIT } from '../output/exit.js';
import { plain } from '../output/format.js';
import { openQueue } from './access.js';
import { Choices } from './choices.js';
import type { Letter } from './letter.js';
import { type DeadLetterQueue, QueueLost } from './queue.js';
import type { Selection } from './selection.js';
import { type Chosen, choose, settle, show, type Way } from './work.js';

/** Largest body that is handed out, in bytes: one answer has it as text. */
const BODY_BYTES_MAX = 8 * 1024 * 1024;
/** Letters that one line of the log names: it is shorter than a line of the journal may be. */
const LOGGED_TOGETHER = 50;

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
  /** Those of this choice that are still there. Nothing else that came later, or that the operator has not seen. */
  settle(way: Way, choice: string): Promise<Settled>;
}

/** On a connection for each: what it looks at is in nobody else's hands, and back in the queue when that ends. */
export function serveDeadLetters({ config, mac }: InForce, log: Logger, open = openQueue): DeadLetterService {
  const choices = new Choices();
  const withQueue = async <T>(work: (queue: DeadLetterQueue) => Promise<T>): Promise<T> => {
    const queue = await open(config(), mac(), () => {});
    try {
      return await work(queue);
    } finally {
      await queue.close();
    }
  };
  const looking = <T>(work: (queue: DeadLetterQueue) => Promise<T>) => withQueue((queue) => Promise.race([work(queue), queue.lost]));
  return {
    choose: (selection) =>
      looking(async (queue) => {
        const chosen = await choose(queue, selection);
        return { ...chosen, choice: choices.keep(selection, chosen.letters) };
      }),
    show: (id) => looking(async (queue) => inJson(await show(queue, id))),
    settle: async (way, choice) => {
      const { selection, keys } = choices.take(choice);
      log.warn({ way, ...selection, count: keys.length }, 'an operator replays or drops dead letters');
      const done: Letter[] = [];
      const problem = await withQueue((queue) =>
        Promise.race([settle(queue, way, keys, (letter) => done.push(letter)), queue.lost]).catch(whyNotAll),
      );
      // The connection is closed: no more is done from here on.
      logSettled(log, way, done, keys.length - done.length, problem);
      return { done, problem: problem ?? null };
    },
  };
}

/** Also where it fails halfway an operator has to know what was done. */
const whyNotAll = (error: Error) => (error instanceof QueueLost ? error.why : error.message);

/** Each of them: the one who has asked may have gone away meanwhile. */
function logSettled(log: Logger, way: Way, done: readonly Letter[], left: number, problem: string | undefined): void {
  for (let from = 0; from < done.length; from += LOGGED_TOGETHER) {
    const letters = done.slice(from, from + LOGGED_TOGETHER).map(({ id, job, user }) => ({ id, job, user }));
    log.warn({ way, letters }, 'dead letters were replayed or dropped for an operator');
  }
  if (left > 0)
    log.warn({ way, done: done.length, left, reason: problem }, 'not all dead letters were replayed or dropped for an operator');
}

function inJson({ content, properties, ...others }: Awaited<ReturnType<typeof show>>): ShownInJson {
  if (content.length > BODY_BYTES_MAX) {
    const why = `Its body has ${content.length} bytes, and the broker hands out at most ${BODY_BYTES_MAX}: say --direct.`;
    throw new CommandError(EXIT.unavailable, why);
  }
  return { ...others, properties: JSON.parse(JSON.stringify(properties, plain)), content_base64: content.toString('base64') };
}
