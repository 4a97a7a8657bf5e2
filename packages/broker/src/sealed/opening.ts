import type { OsUser } from '@kpx/protocol';
import { AccountSession } from './account-session.js';
import { UP_QUEUE } from './names.js';
import type { Replies } from './replies.js';
import type { SealedServices } from './services.js';
import { boundVhost, declareAccountTopology } from './topology.js';
import type { Upward } from './upward.js';

interface Opened {
  readonly session: AccountSession;
  /** Job queues with earlier names. */
  readonly earlier: readonly string[];
}

/** Connects to the virtual host of an account, makes what is missing there, and reads what the account publishes. Throws an Error for operators. */
export async function openVhost(
  { api, config, held, host }: SealedServices,
  { account, name }: { readonly account: OsUser; readonly name: string },
  replies: Replies,
  upward: Upward,
): Promise<Opened> {
  const opening = AccountSession.openAny(config, name, `${host}, ${account}`, held);
  // Policies and limits take as long as a connection; both are there before the executor is.
  const looking = Promise.all([boundVhost(api, name, config), api.queues(name)]);
  looking.catch(() => {}); // it is told below
  const session = await opening;
  try {
    await declareAccountTopology(session.channel, config);
    const [earlier, declared] = await looking;
    await replies.takeUp(session, declared);
    await session.consume(
      UP_QUEUE,
      (message) => upward.up(session, message),
      () => session.fail(`"${UP_QUEUE}" was deleted`),
    );
    return { session, earlier };
  } catch (error) {
    await session.close();
    throw error;
  }
}
