import { chmodSync, rmSync } from 'node:fs';
import {
  decodeRequest,
  type ErrorCode,
  ExecutorState,
  encodeResponse,
  knimeUserSchema,
  listenAt,
  osUserSchema,
  PROTOCOL_VERSION,
  type Response,
  type Verb,
} from '@kpx/protocol';
import { expect, it, onTestFinished } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import type { Kpx } from '../fixtures/kpx.js';
import { installKpx, jobsDone, publish, runKpxctl } from './installed-kpx.js';

/** How long the broker is watched while every answer is an error, in milliseconds: several times its shortest wait. */
const WATCHED_MS = 4_000;
/** END_RETRY_MS of the broker, and a little. */
const STOP_AGAIN_MS = 5_000;
/** Wait of at least a second between two lists, the first at once. */
const LISTS_MAX = WATCHED_MS / 1_000 + 1;

/** A helper that greets, and answers everything else with an error. Counts what it is asked for. */
function answersWith(kpx: Kpx, code: ErrorCode) {
  const asked = new Map<Verb, number>();
  let hangUp = () => {};
  const server = listenAt(kpx.socket, (connection) => ({
    packet: (packet) => {
      const { id, verb } = decodeRequest(packet);
      hangUp = () => connection().close('the test has seen enough');
      asked.set(verb, (asked.get(verb) ?? 0) + 1);
      const hello = {
        kind: 'hello',
        body: { version: PROTOCOL_VERSION, profiles: [] },
      } as const;
      const error = { kind: 'error', body: { code, message: 'systemctl took too long' } } as const;
      connection().send(encodeResponse({ id, ...(verb === 'hello' ? hello : error) } as Response));
    },
    closed: () => {},
  }));
  chmodSync(kpx.socket, 0o666);
  const end = () => {
    server.close();
    hangUp();
    rmSync(kpx.socket, { force: true });
  };
  return { asked, end };
}

it.each<ErrorCode>(['DEADLINE_EXCEEDED', 'INTERNAL', 'NOT_RUNNING'])(
  'no answer of the helper ends the broker: %s to everything is said, asked again without haste, and over when the helper is well',
  { timeout: 60_000 },
  async (code) => {
    const kpx = await installKpx({ standIn: { BOOT_MS: '50' } });
    const { asked, end } = answersWith(kpx, code);
    await kpx.startBroker({ wait: false });
    await kpx.brokerLog.line({ msg: 'consuming' });
    const { reason } = await kpx.brokerLog.line({ msg: 'the helper could not list the executors; it is asked again' });
    expect(reason).toContain('systemctl took too long');
    await eventually('it is asked again', () => (asked.get('listExecutors') ?? 0) >= 2, WATCHED_MS);
    expect(asked.get('listExecutors')).toBeLessThanOrEqual(LISTS_MAX);
    expect(kpx.broker?.exitCode).toBeNull();
    end();
    kpx.broker?.kill('SIGUSR2'); // alive, and it answers signals
    await kpx.brokerLog.line({ draining: true });
    kpx.broker?.kill('SIGUSR2');
    await kpx.startHelper();
    await publish(kpx, jobOf('alice', code));
    await jobsDone(kpx, 'alice', 1);
  },
);

it('asks again within seconds when the helper could not end an executor', async () => {
  const kpx = await installKpx();
  const [osUser, knimeUser] = [osUserSchema.parse('alice'), knimeUserSchema.parse('alice')];
  const executor = { osUser, uid: 1_001, knimeUsers: [knimeUser], state: ExecutorState.running, sinceMs: 1, mainPid: process.pid };
  const stops: number[] = [];
  const server = listenAt(kpx.socket, (connection) => ({
    packet: (packet) => {
      const { id, verb } = decodeRequest(packet);
      if (verb === 'stopExecutor') stops.push(performance.now());
      const answers = {
        hello: { kind: 'hello', body: { version: PROTOCOL_VERSION } },
        listExecutors: { kind: 'executorPage', body: { executors: [{ ...executor, lastExit: '', cpuMs: 0 }], more: false } },
        stopExecutor:
          stops.length === 1
            ? { kind: 'error', body: { code: 'DEADLINE_EXCEEDED', message: 'systemctl took too long' } }
            : { kind: 'executorStopped', body: { osUser, uid: 1_001 } },
      };
      connection().send(encodeResponse({ id, ...answers[verb as keyof typeof answers] } as Response));
    },
    closed: () => {},
  }));
  onTestFinished(() => server.close());
  chmodSync(kpx.socket, 0o666);
  await kpx.startBroker();
  await expect.poll(async () => (await runKpxctl(['stop', 'alice', '--config', kpx.brokerConfigFile])).code).toBe(0);
  await kpx.brokerLog.line({ user: 'alice', msg: 'an executor could not be ended; tried again in 3 s, by force where that does not help' });
  await eventually('it is asked again', () => stops.length >= 2, STOP_AGAIN_MS);
});
