import { askBroker, OLDER, tellBroker } from '@kpx/broker/control/client';
import type { Selection } from '@kpx/broker/dead-letters/selection';
import type { Settled, ShownInJson } from '@kpx/broker/dead-letters/serve';
import type { Chosen } from '@kpx/broker/dead-letters/work';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { orRefusal } from '../refusal.js';
import type { DeadLetters } from './in-hand.js';

/** The broker waits for another command for a minute, and then looks at 10,000 messages; in milliseconds. */
const TIMEOUT = { timeoutMs: 150_000 };
/** Below what the broker takes of a request's head, in characters. */
const PATH_CHARS_MAX = 7_000;

/** By the running broker, which has RabbitMQ's password. */
export const throughBroker = (socket: string): DeadLetters => ({
  lost: new Promise<never>(() => {}),
  choose: async (selection) => (await orRefusal(askBroker(socket, pathOf(selection), TIMEOUT))) as Chosen,
  show: async (id) => {
    const { content_base64, ...others } = (await orRefusal(askBroker(socket, `/dead-letter?id=${id}`, TIMEOUT))) as ShownInJson;
    return { ...others, content: Buffer.from(content_base64, 'base64') };
  },
  settle: async (way, { choice }, done) => {
    if (choice === undefined) throw new CommandError(EXIT.unavailable, OLDER);
    const settled = (await orRefusal(tellBroker(socket, `/dead-letters/${way}?choice=${choice}`, TIMEOUT))) as Settled;
    for (const letter of settled.done) done(letter);
    return settled.problem ?? undefined;
  },
  close: async () => {},
});

function pathOf({ ids, user, reason }: Selection): string {
  const query = new URLSearchParams({ ...(user !== undefined && { user }), ...(reason !== undefined && { reason }) });
  for (const id of ids) query.append('id', id);
  const path = `/dead-letters?${query}`;
  if (path.length <= PATH_CHARS_MAX) return path;
  throw new CommandError(EXIT.usage, 'These are more IDs than the broker takes at once: give fewer, or say --direct.');
}
