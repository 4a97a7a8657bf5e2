import { osUserSchema } from '@kpx/protocol';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { connection } from '../../test-fixtures/connection.js';
import { connect } from '../amqp/connect.js';
import { configSchema } from '../config/config.js';
import { Mirrors } from './mirrors.js';

/* Calls through mirrors of a real RabbitMQ: test/integration/sealed-learn.test.ts. Here it is away for seconds. */

vi.mock(import('../amqp/connect.js'), async (original) => ({ ...(await original()), connect: vi.fn(), close: vi.fn() }));

/** Node's own does not go by vitest's clock. */
vi.mock('node:timers/promises', () => ({ setTimeout: (ms: number) => new Promise((resolve) => setTimeout(resolve, ms)) }));

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

const AWAY_MS = 6_000;
const BACK_WITHIN_MS = 60_000;

it('a mirror that could not be made while the server was away is not made when it is back, but when it is asked for again', async () => {
  const { declared, model } = connection();
  vi.mocked(connect).mockRejectedValue(new Error('ECONNREFUSED'));
  const config = configSchema.parse({ amqp: { urls: ['amqp://kpx-broker@127.0.0.1/knime'] } });
  const mirrors = new Mirrors({ log: pino({ enabled: false }), config, host: 'here' });
  const call = async () => ({ is: 'given' }) as const;

  const opened = mirrors.open(osUserSchema.parse('alice'), 'gateway-1', call);
  await vi.advanceTimersByTimeAsync(AWAY_MS);
  expect(await opened).toBe('the server is not connected');

  vi.mocked(connect).mockResolvedValue(model);
  await vi.advanceTimersByTimeAsync(BACK_WITHIN_MS);
  expect(connect).toHaveResolved();
  expect(declared).toEqual([]);
  expect(await mirrors.open(osUserSchema.parse('bob'), 'gateway-1', call)).toBeUndefined();
  expect(declared).toEqual(['gateway-1']);
});
