import { askBroker, BrokerRefused, tellBroker } from '../control/client.js';
import { CommandError, EXIT } from '../exit.js';
import type { Letter } from './letter.js';
import type { Selection } from './selection.js';
import type { Chosen, DeadLetters } from './work.js';

/** The broker waits for another command for a minute, and then looks at 10,000 messages; in milliseconds. */
const TIMEOUT = { timeoutMs: 150_000 };
/** Below what the broker takes of a request's head, in characters. */
const PATH_CHARS_MAX = 7_000;

/** Of {@link serveDeadLetters}. */
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

/** How the broker says in a status what ends a command. */
export const STATUS_OF: Readonly<Record<number, number>> = { [EXIT.usage]: 400, [EXIT.noPermission]: 403, [EXIT.noInput]: 410 };

/** By the running broker, which has RabbitMQ's password. */
export const throughBroker = (socket: string): DeadLetters => ({
  lost: new Promise<never>(() => {}),
  choose: async (selection) => (await said(askBroker(socket, pathOf('', selection), TIMEOUT))) as Chosen,
  show: async (id) => {
    const { content_base64, ...others } = (await said(askBroker(socket, `/dead-letter?id=${id}`, TIMEOUT))) as ShownInJson;
    return { ...others, content: Buffer.from(content_base64, 'base64') };
  },
  settle: async (way, selection, { letters }, done) => {
    const until = letters.reduce((latest, { parkedAt }) => (parkedAt > latest ? parkedAt : latest), '');
    const path = pathOf(`/${way}`, selection, { count: `${letters.length}`, until });
    const settled = (await said(tellBroker(socket, path, TIMEOUT))) as Settled;
    for (const letter of settled.done) done(letter);
    return settled.problem ?? undefined;
  },
  close: async () => {},
});

function pathOf(below: string, { ids, user, reason }: Selection, more: Record<string, string> = {}): string {
  const query = new URLSearchParams({ ...(user !== undefined && { user }), ...(reason !== undefined && { reason }), ...more });
  for (const id of ids) query.append('id', id);
  const path = `/dead-letters${below}?${query}`;
  if (path.length <= PATH_CHARS_MAX) return path;
  throw new CommandError(EXIT.usage, 'These are more IDs than the broker takes at once: give fewer, or say --direct.');
}

/** What the broker refuses, as if it had been refused here. Where none answers is for the caller. */
async function said(answer: Promise<unknown>): Promise<unknown> {
  return await answer.catch((error: unknown) => {
    if (!(error instanceof BrokerRefused)) throw error;
    const [exitCode] = Object.entries(STATUS_OF).find(([, status]) => status === error.status) ?? [];
    if (exitCode === undefined) throw error;
    throw new CommandError(Number(exitCode) as CommandError['exitCode'], error.message);
  });
}
