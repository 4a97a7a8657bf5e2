import { EventEmitter, once } from 'node:events';
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

beforeEach(() => {
  vi.resetAllMocks();
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

const AWAY_MS = 6_000;
const BACK_WITHIN_MS = 60_000;

const URLS = ['amqp://kpx-broker@127.0.0.1/knime'];
const call = async () => ({ is: 'given' }) as const;
const alice = osUserSchema.parse('alice');
const log = pino({ enabled: false });
const newMirrors = () => new Mirrors({ log, config: configSchema.parse({ amqp: { urls: URLS } }), host: 'here' });

it('a mirror that could not be made while the server was away is not made when it is back, but when it is asked for again', async () => {
  const { declared, model } = connection();
  vi.mocked(connect).mockRejectedValue(new Error('ECONNREFUSED'));
  const mirrors = newMirrors();
  const opened = mirrors.open(alice, 'gateway-1', call);
  await vi.advanceTimersByTimeAsync(AWAY_MS);
  expect(await opened).toBe('the server is not connected');

  vi.mocked(connect).mockResolvedValue(model);
  await vi.advanceTimersByTimeAsync(BACK_WITHIN_MS);
  expect(connect).toHaveResolved();
  expect(declared).toEqual([]);
  expect(await mirrors.open(osUserSchema.parse('bob'), 'gateway-1', call)).toBeUndefined();
  expect(declared).toEqual(['gateway-1']);
});

it('a mirror is made once, whoever asks for it while it is made', async () => {
  const { declared, model } = connection();
  vi.mocked(connect).mockResolvedValue(model);
  const mirrors = newMirrors();
  expect(await Promise.all([1, 2].map(() => mirrors.open(alice, 'gateway-1', call)))).toEqual([undefined, undefined]);
  await vi.advanceTimersByTimeAsync(BACK_WITHIN_MS);
  expect(declared).toEqual(['gateway-1']);
});

it('a mirror that is closed while it is made is deleted', async () => {
  const { declared, deleted, model } = connection();
  vi.mocked(connect).mockResolvedValue(model);
  const mirrors = newMirrors();
  const opened = mirrors.open(alice, 'gateway-1', call);
  await mirrors.close(alice, 'gateway-1');
  expect(await opened).toBe('it was closed meanwhile');
  expect(declared).toEqual(deleted);
});

it('a connection that is made while another configuration comes into force is not used', async () => {
  const [before, after] = [connection(), connection()];
  const hello = new EventEmitter();
  const connecting = once(hello, 'done').then(() => before.model);
  vi.mocked(connect).mockReturnValueOnce(connecting).mockResolvedValue(after.model);
  const config = configSchema.parse({ amqp: { urls: [...URLS, 'amqp://kpx-broker@127.0.0.2/knime'] } });
  const mirrors = new Mirrors({ log, config, host: 'here' });
  const opened = mirrors.open(alice, 'gateway-1', call);
  config.amqp.urls = ['amqp://kpx-broker@127.0.0.3/knime'];
  mirrors.reconnect();
  hello.emit('done');
  await vi.advanceTimersByTimeAsync(BACK_WITHIN_MS);
  await opened;
  expect([before.declared, after.declared]).toEqual([[], ['gateway-1']]);
  expect(vi.mocked(connect).mock.calls.map(([url]) => url)).toEqual([...URLS, 'amqp://kpx-broker@127.0.0.3/knime']);
});

it('a mirror that an operator has deleted is made anew when it is asked for', async () => {
  const { declared, consumers, model } = connection();
  vi.mocked(connect).mockResolvedValue(model);
  const mirrors = newMirrors();
  await mirrors.open(alice, 'gateway-1', call);
  consumers.get('gateway-1')?.(null); // basic.cancel
  expect(await mirrors.open(alice, 'gateway-1', call)).toBeUndefined();
  expect(declared).toEqual(['gateway-1', 'gateway-1']);
});
