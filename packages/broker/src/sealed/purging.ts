import { setTimeout as delay } from 'node:timers/promises';
import type { OsUser } from '@kpx/protocol';
import { CommandError, EXIT } from '../output/exit.js';
import { AccountLane } from './account-lane.js';
import type { SealedServices } from './services.js';
import type { Holdings, Vhosts } from './vhosts.js';

/** How long somebody who has an account removed waits for it, in milliseconds. */
const PURGE_TIMEOUT_MS = 60_000;

/**
 * As at the end of an executor: the jobs of the account go back to the server, and all that it has published is carried. Then its virtual host and its user
 * are removed. It goes on by itself where that takes longer than {@link PURGE_TIMEOUT_MS}, or until `stopped`. `ends` is given a lane that ends, and what
 * resolves at the end: starts wait for it. Throws CommandError. Answers what was there.
 */
export async function purge(
  account: OsUser,
  services: SealedServices,
  vhosts: Vhosts,
  stopped: AbortSignal,
  ends: (lane: AccountLane, done: Promise<void>) => void,
): Promise<Holdings> {
  const { log } = services;
  const held = await vhosts.holdingsOf(account);
  vhosts.mustBeFree(account); // also after the questions
  log.warn({ account, vhost: held.vhost }, "an operator has everything of an account removed at the accounts' RabbitMQ");
  const lane = new AccountLane(services, account, true);
  lane.descriptionKept = '';
  const purging = lane.run().then(async () => {
    if (stopped.aborted) throw new Error('the broker ends');
    await vhosts.remove(account);
    log.info({ account, vhost: held.vhost }, "nothing of an account is left at the accounts' RabbitMQ");
  });
  ends(lane, purging);
  const late = delay(PURGE_TIMEOUT_MS, undefined, { ref: false }).then(() => {
    throw new Error('jobs and answers of it cannot be carried to the server yet. The broker goes on, and its log says why it waits');
  });
  late.catch(() => {}); // nobody waits any more
  await Promise.race([purging, late]).catch((error: Error) => {
    throw new CommandError(EXIT.unavailable, `"${account}" is not removed yet: ${error.message}.`);
  });
  return held;
}
