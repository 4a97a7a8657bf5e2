import { osUserSchema } from '@kpx/protocol';
import { pino } from 'pino';
import { expect, it, vi } from 'vitest';
import { configSchema } from '../config/config.js';
import { AccountLane } from './account-lane.js';
import { RefusedRecord } from './refused.js';
import { Sealed } from './sealed.js';

vi.mock(import('./account-lane.js'));

it('a start that waited for the end of the last executor when the broker had to end makes no lane that goes on', async () => {
  const config = configSchema.parse({
    amqp: { urls: ['amqp://kpx-broker@127.0.0.1/knime'] },
    sealed: {
      enabled: true,
      node: 'here',
      urls: ['amqp://kpx-broker@127.0.0.1:5673'],
      management_password_file: '/etc/kpx/sealed-password',
    },
  });
  const inForce = { config: () => config, mac: () => expect.fail('nothing is signed') };
  const known = {
    running: () => new Map(),
    passwordHash: async () => undefined,
    waits: () => {},
    refused: new RefusedRecord(),
    answered: () => {},
  };
  const sealed = new Sealed(pino({ enabled: false }), inForce, 'here', known);
  const opened = vi.mocked(AccountLane.prototype.open).mockReturnValue(new Promise(() => {}));
  await sealed.stop();
  sealed.prepare(osUserSchema.parse('alice'), 'hash').catch(() => {});
  await expect.poll(() => opened.mock.contexts.length).toBeGreaterThan(0);
  expect(vi.mocked(AccountLane.prototype.stop).mock.contexts).toEqual([opened.mock.contexts[0]]);
});
