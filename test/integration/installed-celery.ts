import { onTestFinished } from 'vitest';
import { type celeryBroker, celeryClient, celeryOptions, createCeleryVhost } from '../fixtures/celery.js';
import type { Section } from '../fixtures/helper-installation.js';
import type { Kpx } from '../fixtures/kpx.js';
import type { RabbitmqAccess } from '../fixtures/rabbitmq-access.js';
import { installSealedAt } from '../fixtures/sealed-accounts.js';
import { sharedRabbitmq } from './shared-rabbitmq.js';

/* Debian's Celery, unmodified, as the executor of its own account, and an ordinary Celery client that adds a header with the user. */

export interface CeleryOptions {
  /** Of broker.toml. */
  readonly broker: Record<keyof ReturnType<typeof celeryBroker>, Section>;
  /** Of the worker: its module with tasks, and where that is. */
  readonly app?: string;
  readonly path?: string;
  readonly environment?: Record<string, string>;
}

export async function startCelery(accounts: RabbitmqAccess, { broker, app, path, environment }: CeleryOptions): Promise<Kpx> {
  const vhost = await createCeleryVhost(sharedRabbitmq());
  onTestFinished(() => vhost.delete());
  const options = celeryOptions(broker, app, path);
  return await installSealedAt(vhost, accounts, { ...options, environment: { ...options.environment, ...environment } }).start();
}

/** What a client prints that has sent this work. */
export const clientOf = (kpx: Kpx, work: string, more: object = {}) => celeryClient(kpx.vhost, work, more);
