import { askBroker, BrokerUnreachable, OLDER, tellBroker } from '@kpx/broker/control/client';
import type { Selection } from '@kpx/broker/dead-letters/selection';
import type { Settled, ShownInJson } from '@kpx/broker/dead-letters/serve';
import type { Chosen } from '@kpx/broker/dead-letters/work';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { orRefusal } from '../refusal.js';
import type { DeadLetters } from './in-hand.js';

/** The broker waits for another command for a minute, and then looks at 10,000 messages; in milliseconds. */
const TIMEOUT_MS = 150_000;
/** Below what the broker takes of a request's head, in characters. */
const PATH_CHARS_MAX = 7_000;

/** By the running broker, which has RabbitMQ's password. */
export const throughBroker = (socket: string, timeoutMs = TIMEOUT_MS): DeadLetters => ({
  lost: new Promise<never>(() => {}),
  choose: async (selection) => (await orRefusal(askBroker(socket, pathOf(selection), { timeoutMs }))) as Chosen,
  show: async (id) => {
    const { content_base64, ...others } = (await orRefusal(askBroker(socket, `/dead-letter?id=${id}`, { timeoutMs }))) as ShownInJson;
    return { ...others, content: Buffer.from(content_base64, 'base64') };
  },
  settle: async (way, { choice }, done) => {
    if (choice === undefined) throw new CommandError(EXIT.unavailable, OLDER);
    const asked = tellBroker(socket, `/dead-letters/${way}?choice=${choice}`, { timeoutMs }).catch(mayGoOn);
    const settled = (await orRefusal(asked)) as Settled;
    for (const letter of settled.done) done(letter);
    return settled.problem ?? undefined;
  },
  close: async () => {},
});

/** The order was sent, and no answer has come. */
function mayGoOn(error: Error): never {
  if (!(error instanceof BrokerUnreachable)) throw error;
  const where = 'Its log has those that were replayed or dropped: journalctl -u kpx-broker.service';
  throw new CommandError(EXIT.unavailable, `${error.message}. The broker may go on with the dead letters. ${where}`);
}

function pathOf({ ids, user, reason }: Selection): string {
  const query = new URLSearchParams({ ...(user !== undefined && { user }), ...(reason !== undefined && { reason }) });
  for (const id of ids) query.append('id', id);
  const path = `/dead-letters?${query}`;
  if (path.length <= PATH_CHARS_MAX) return path;
  throw new CommandError(EXIT.usage, 'These are more IDs than the broker takes at once: give fewer, or say --direct.');
}
