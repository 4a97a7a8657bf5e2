import type { Kpx, KpxOptions } from '../fixtures/kpx.js';
import type { RabbitmqAccess } from '../fixtures/rabbitmq-access.js';
import { installSealedAt } from '../fixtures/sealed-accounts.js';
import { takeKnimeVhost } from './shared-rabbitmq.js';

/** kpx on a virtual host of its own at the server that all tests share, not started yet. */
export const installSealed = async (accounts: RabbitmqAccess, options: KpxOptions = {}): Promise<Kpx> =>
  installSealedAt(await takeKnimeVhost(), accounts, options);

export const startSealed = async (accounts: RabbitmqAccess, options: KpxOptions = {}): Promise<Kpx> =>
  await (await installSealed(accounts, options)).start();
