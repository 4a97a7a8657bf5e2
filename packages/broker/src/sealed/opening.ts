import type { OsUser } from '@kpx/protocol';
import type { Config } from '../config/config.js';
import type { DeclaredQueue } from '../rabbitmq/provisioning.js';
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
  /** Undefined where it is used anew. */
  readonly description: string | undefined;
  /** This broker has made all of it for the last executor, and need not do so again. */
  readonly isKnown: boolean;
}

interface Opened {
  readonly session: AccountSession;
  /** Job queues with earlier names. */
  readonly earlier: readonly string[];
}

interface Opening {
  /** Resolves when the virtual host is there: whether it is known by what this broker made there for the last executor. */
  readonly made: Promise<boolean>;
  readonly opened: Promise<Opened>;
}

/**
 * Makes the virtual host of an account and connects to it, makes what is missing there, and reads what the account publishes. `isKnown` and the
 * configuration are those of this moment. The promises reject with an Error for operators.
 */
export function openVhost(services: SealedServices, of: Of, replies: Replies, upward: Upward): Opening {
  const { api, bounded, kept, config, administrator } = services;
  const { account, name, description = usedAt(Date.now()) } = of;
  const isBounded = bounded.delete(account);
  const isKnown = of.isKnown && isBounded;
  const made = administrator().then((broker) => makeVhost(api, { name, description }, broker, isKnown));
  const connecting = connectTo(services, of, { made, isKnown });
  return { made, opened: opened(services, { ...of, config, left: kept.queuesOf(account), made, connecting }, replies, upward) };
}

/** Does not wait for a virtual host that was there: connecting takes longer than all else. */
async function connectTo(
  { config, held, host }: SealedServices,
  { account, name }: Of,
  { made, isKnown }: Pick<Opening, 'made'> & Pick<Of, 'isKnown'>,
): Promise<AccountSession> {
  const connect = () => AccountSession.openAny(config, name, `${host}, ${account}`, held);
  if (!isKnown) return await made.then(connect);
  const early = connect();
  early.catch(() => {}); // it is told below
  if (await made.catch(() => false)) return await early;
  // It had gone, and a connection to it is of no use.
  await early.then((session) => session.close()).catch(() => {});
  return await made.then(connect);
}

interface Under extends Of, Pick<Opening, 'made'> {
  readonly config: Config;
  /** Queues for answers that are there, if the virtual host is known; undefined: RabbitMQ is to be asked. */
  readonly left: readonly DeclaredQueue[] | undefined;
  readonly connecting: Promise<AccountSession>;
}

async function opened(
  services: SealedServices,
  { account, name, config, left, made, connecting }: Under,
  replies: Replies,
  upward: Upward,
): Promise<Opened> {
  const { api, bounded, log } = services;
  const began = performance.now();
  // Policies and limits take as long as a connection; both are there before the executor is.
  const looking = made.then((isKnown) => Promise.all([boundVhost(api, name, config, isKnown), (isKnown && left) || api.queues(name)]));
  looking.catch(() => {}); // it is told below
  const session = await connecting;
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
