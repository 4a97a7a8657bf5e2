import type { OsUser } from '@kpx/protocol';
import { AccountSession } from './account-session.js';
import { UP_QUEUE } from './names.js';
import type { Replies } from './replies.js';
import { usedAt } from './retention.js';
import type { SealedServices } from './services.js';
import { boundsOf, boundVhost, declareAccountTopology, makeVhost } from './topology.js';
import type { Upward } from './upward.js';

interface Of {
  readonly account: OsUser;
  /** Of its virtual host. */
  readonly name: string;
  /** Its bounds are there, and it has no earlier job queue. */
  readonly isKnown: boolean;
}

interface Opened {
  readonly session: AccountSession;
  /** Job queues with earlier names. */
  readonly earlier: readonly string[];
}

/**
 * Makes the virtual host of an account; `description`: undefined where it is used anew. Answers whether it is known by what this broker made there for the last
 * executor. Throws an Error for operators.
 */
export async function make(
  { api, config, bounded, administrator }: SealedServices,
  { account, name, description = usedAt(Date.now()), isKnown }: Of & { readonly description: string | undefined },
): Promise<boolean> {
  const mayBeKnown = isKnown && bounded.get(account) === boundsOf(config);
  bounded.delete(account);
  return await makeVhost(api, { name, description }, await administrator(), mayBeKnown);
}

/** Connects to it, makes what is missing there, and reads what the account publishes. Throws an Error for operators. */
export async function openVhost(
  { api, bounded, config, held, host, log }: SealedServices,
  { account, name, isKnown }: Of,
  replies: Replies,
  upward: Upward,
): Promise<Opened> {
  const began = performance.now();
  const opening = AccountSession.openAny(config, name, `${host}, ${account}`, held);
  // Policies and limits take as long as a connection; both are there before the executor is.
  const looking = Promise.all([isKnown ? [] : boundVhost(api, name, config), api.queues(name)]);
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
    if (earlier.length === 0) bounded.set(account, boundsOf(config));
    log.debug({ account, vhost: name, ms: Math.round(performance.now() - began) }, 'the virtual host of an account is ready');
    return { session, earlier };
  } catch (error) {
    await session.close();
    throw error;
  }
}
