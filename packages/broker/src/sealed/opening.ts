import type { OsUser } from '@kpx/protocol';
import type { Config } from '../config/config.js';
import { AccountSession } from './account-session.js';
import { UP_QUEUE } from './names.js';
import type { Replies } from './replies.js';
import { usedAt } from './retention.js';
import type { SealedServices } from './services.js';
import { boundVhost, declareAccountTopology, makeVhost } from './topology.js';
import type { Upward } from './upward.js';

interface Of {
  readonly account: OsUser;
  /** Of its virtual host. */
  readonly name: string;
  /** The one that was in force when this began. */
  readonly config: Config;
  /** This broker has made all of it before. */
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
  { api, bounded, administrator }: SealedServices,
  { account, name, description = usedAt(Date.now()), isKnown }: Omit<Of, 'config'> & { readonly description: string | undefined },
): Promise<boolean> {
  const isBounded = bounded.delete(account);
  return await makeVhost(api, { name, description }, await administrator(), isKnown && isBounded);
}

/** Connects to it, makes what is missing there, and reads what the account publishes. Throws an Error for operators. */
export async function openVhost(
  services: SealedServices,
  { account, name, config, isKnown }: Of,
  replies: Replies,
  upward: Upward,
): Promise<Opened> {
  const { api, bounded, held, host, log } = services;
  const began = performance.now();
  const opening = AccountSession.openAny(config, name, `${host}, ${account}`, held);
  // Policies and limits take as long as a connection; both are there before the executor is.
  const looking = Promise.all([boundVhost(api, name, config, isKnown), api.queues(name)]);
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
    if (services.config === config) bounded.add(account);
    log.debug({ account, vhost: name, ms: Math.round(performance.now() - began) }, 'the virtual host of an account is ready');
    return { session, earlier };
  } catch (error) {
    await session.close();
    throw error;
  }
}
