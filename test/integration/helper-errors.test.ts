import { chmodSync, rmSync } from 'node:fs';
import { decodeRequest, type ErrorCode, encodeResponse, listenAt, PROTOCOL_VERSION, type Response, type Verb } from '@kpx/protocol';
import { expect, it } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import type { Kpx } from '../fixtures/kpx.js';
import { installKpx, jobsDone, publish } from './installed-kpx.js';

/** How long the broker is watched while every answer is an error, in milliseconds: several times its shortest wait. */
const WATCHED_MS = 4_000;
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
        body: { version: PROTOCOL_VERSION, requestsInFlightMax: 32, executorsMax: 40, profiles: [] },
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
