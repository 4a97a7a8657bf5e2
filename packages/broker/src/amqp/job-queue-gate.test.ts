import { pino } from 'pino';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { configSchema } from '../config/config.js';
import { Link } from '../host/link.js';
import { lookAtJobQueue } from './job-queue.js';
import { JobQueueGate } from './job-queue-gate.js';
import type { AmqpSession } from './session.js';

/* What a real queue is refused for: test/integration/delivery-limit.test.ts. Here minutes pass. */

vi.mock(import('./job-queue.js'), async (original) => ({ ...(await original()), lookAtJobQueue: vi.fn() }));

/** Node's own does not go by vitest's clock. */
vi.mock('node:timers/promises', () => ({ setTimeout: (ms: number) => new Promise((resolve) => setTimeout(resolve, ms)) }));

const DANGER = 'the queue "knime-jobs" gives a job back 20 times at most';
const refused = { version: '4.0.5', type: 'quorum', limit: 20, danger: DANGER, fix: 'rabbitmqctl set_policy' };
const session = { ended: new Promise(() => {}), source: {} } as unknown as AmqpSession;

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

it('says that jobs are not taken at once and then each minute, looks every 10 seconds, and opens when the limit is lifted', async () => {
  const said: { level: number; time: number; reason: string; fix: string }[] = [];
  const log = pino({}, { write: (line) => void said.push(JSON.parse(line)) });
  const link = new Link();
  const looks = vi.mocked(lookAtJobQueue).mockResolvedValue(refused);
  const { amqp } = configSchema.parse({ amqp: { urls: ['amqp://kpx-broker@127.0.0.1/knime'] } });
  const opened = vi.fn();
  const gate = new JobQueueGate(log, {}, link);
  const opens = gate.opens(new AbortController().signal, session, 'amqp://127.0.0.1/knime', amqp).then(opened);

  const begin = Date.now();
  await vi.advanceTimersByTimeAsync(125_000);
  expect(looks).toHaveBeenCalledTimes(13);
  expect(said.map(({ time, reason }) => [Math.round((Number(new Date(time)) - begin) / 1_000), reason])).toEqual([
    [0, DANGER],
    [60, DANGER],
    [120, DANGER],
  ]);
  expect(said[0]?.fix).toContain('rabbitmqctl set_policy');
  expect(link.status).toMatchObject({ connected: false, refused: true, reason: expect.stringContaining('set_policy') });
  expect(opened).not.toHaveBeenCalled();

  looks.mockResolvedValue({ ...refused, limit: undefined, danger: undefined, fix: undefined });
  await vi.advanceTimersByTimeAsync(10_000);
  await opens;
  expect(opened).toHaveBeenCalledWith(true);
  expect(said).toHaveLength(3);
});
