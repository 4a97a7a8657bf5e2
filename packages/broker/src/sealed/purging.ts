import { setTimeout as delay } from 'node:timers/promises';
import type { OsUser } from '@kpx/protocol';
import { CommandError, EXIT } from '../output/exit.js';
import { AccountLane } from './account-lane.js';
import type { SealedServices } from './services.js';
import type { Holdings, Vhosts } from './vhosts.js';

/** How long somebody who has an account removed waits for it, in milliseconds. */
const PURGE_TIMEOUT_MS = 60_000;

/** Is given a lane that ends, and what resolves at the end. */
type Ends = (lane: AccountLane, done: Promise<void>) => void;

/** Removes the virtual hosts of accounts that have had no executor for a while. Jobs that lie there go back to the server first. Rejects with the first failure. */
export async function removeOutdated(services: SealedServices, vhosts: Vhosts, stopped: AbortSignal, ends: Ends): Promise<void> {
  for (const { name, description } of await vhosts.outdated()) {
    const account = vhosts.accountOf(name);
    if (!vhosts.isFree(account)) continue;
    await emptied(account, description, services, stopped, ends, async () => {
      await vhosts.removeUnused(account);
      services.log.info({ account, vhost: name }, 'the virtual host of an account is removed: it has had no executor for a while');
    });
  }
}

/** Resolves when the end of an executor is dealt with as if there had been one, and `remove` is done. */
async function emptied(
  account: OsUser,
  description: string,
  services: SealedServices,
  stopped: AbortSignal,
  ends: Ends,
  remove: () => Promise<void>,
): Promise<void> {
  const lane = new AccountLane(services, account, true);
  lane.descriptionKept = description;
  const done = lane.run().then(async () => {
    if (stopped.aborted) throw new Error('the broker ends');
    await remove();
  });
  ends(lane, done);
  await done;
}

/**
 * As at the end of an executor: the jobs of the account go back to the server, and all that it has published is carried. Then its virtual host and its user
 * are removed. It goes on by itself where that takes longer than {@link PURGE_TIMEOUT_MS}, or until `stopped`. Starts wait for what `ends` is
 * given. Throws CommandError. Answers what was there.
 */
export async function purge(
  account: OsUser,
  services: SealedServices,
  vhosts: Vhosts,
  stopped: AbortSignal,
  ends: Ends,
): Promise<Holdings> {
  const { log } = services;
  const held = await vhosts.holdingsOf(account);
  vhosts.mustBeFree(account); // also after the questions
  log.warn({ account, vhost: held.vhost }, "an operator has everything of an account removed at the accounts' RabbitMQ");
  const purging = emptied(account, '', services, stopped, ends, async () => {
    await vhosts.remove(account);
    log.info({ account, vhost: held.vhost }, "nothing of an account is left at the accounts' RabbitMQ");
  });
  const late = delay(PURGE_TIMEOUT_MS, undefined, { ref: false }).then(() => {
    throw new Error('jobs and answers of it cannot be carried to the server yet. The broker goes on, and its log says why it waits');
  });
  late.catch(() => {}); // nobody waits any more
  await Promise.race([purging, late]).catch((error: Error) => {
    throw new CommandError(EXIT.unavailable, `"${account}" is not removed yet: ${error.message}.`);
  });
  return held;
}
