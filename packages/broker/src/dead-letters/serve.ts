import type { Logger } from 'pino';
import type { InForce } from '../amqp/in-force.js';
import { CommandError, EXIT } from '../output/exit.js';
import { plain } from '../output/format.js';
import { openQueue } from './access.js';
import { Choices } from './choices.js';
import type { Letter } from './letter.js';
import type { DeadLetterQueue } from './queue.js';
import type { Selection } from './selection.js';
import { type Chosen, choose, settle, show, type Way } from './work.js';

/** Largest body that is handed out, in bytes: one answer has it as text. */
const BODY_BYTES_MAX = 8 * 1024 * 1024;

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
      return await Promise.race([work(queue), queue.lost]);
    } finally {
      await queue.close();
    }
  };
  return {
    choose: (selection) =>
      withQueue(async (queue) => {
        const chosen = await choose(queue, selection);
        return { ...chosen, choice: choices.keep(selection, chosen.letters) };
      }),
    show: (id) => withQueue(async (queue) => inJson(await show(queue, id))),
    settle: async (way, choice) => {
      const { selection, keys } = choices.take(choice);
      log.warn({ way, ...selection, count: keys.length }, 'an operator replays or drops dead letters');
      return await withQueue((queue) => settleChosen(queue, way, keys));
    },
  };
}

async function settleChosen(queue: DeadLetterQueue, way: Way, keys: readonly string[]): Promise<Settled> {
  const done: Letter[] = [];
  const problem = await settle(queue, way, keys, (letter) => done.push(letter));
  return { done, problem: problem ?? null };
}

function inJson({ content, properties, ...others }: Awaited<ReturnType<typeof show>>): ShownInJson {
  if (content.length > BODY_BYTES_MAX) {
    const why = `Its body has ${content.length} bytes, and the broker hands out at most ${BODY_BYTES_MAX}: say --direct.`;
    throw new CommandError(EXIT.unavailable, why);
  }
  return { ...others, properties: JSON.parse(JSON.stringify(properties, plain)), content_base64: content.toString('base64') };
}
