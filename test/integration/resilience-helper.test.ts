import { chmodSync, rmSync } from 'node:fs';
import { encodeResponse, listenAt, osUserSchema, type PacketConnection } from '@kpx/protocol';
import { describe, expect, it, onTestFinished } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { takeStock } from '../fixtures/ledger.js';
import { installKpx, jobsDone, publish, startKpx } from './installed-kpx.js';

const CANNOT = 'the helper cannot be used; trying again';
/** REQUEST_DEADLINE_MS and ANSWER_MARGIN_MS, and a little. */
const HANGING_NOTICED_MS = 17_000;

describe('a helper that', () => {
  it('is not there: jobs wait, nobody is blamed for it, and they are done when it comes', async () => {
    const kpx = await installKpx({ standIn: { BOOT_MS: '50' } });
    await kpx.startBroker({ wait: false });
    await kpx.brokerLog.line({ msg: 'consuming' });
    const { reason } = await kpx.brokerLog.line({ msg: CANNOT });
    expect(reason).toContain('kpx-privhelper or its socket unit is not running');
    await publish(kpx, ...Array.from({ length: 10 }, (_, index) => jobOf('alice', `a${index}`)));
    await kpx.brokerLog.line({ user: 'alice', state: 'backoff' });
    await kpx.startHelper();
    await jobsDone(kpx, 'alice', 10);
    await kpx.stop();
    const jobs = Array.from({ length: 10 }, (_, index) => `a${index}`);
    expect(await takeStock(jobs, [kpx], ['alice'], kpx.vhost.url('admin'))).toMatchObject({ lost: [], doneAgain: 0, parked: new Map() });
  });

  it('hangs: users whose executor runs are served on, others wait until it answers again', async () => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '50' } });
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
    process.kill(kpx.helper?.pid ?? 0, 'SIGSTOP');
    const from = performance.now();
    await publish(kpx, jobOf('bob', 'b1'), jobOf('alice', 'a2'));
    await jobsDone(kpx, 'alice', 2);
    expect(performance.now() - from).toBeLessThan(5_000);
    const { reason } = await kpx.brokerLog.line({ msg: 'lost the helper; connecting again' }, { timeoutMs: HANGING_NOTICED_MS });
    expect(reason).toBe('no answer to spawnExecutor');
    process.kill(kpx.helper?.pid ?? 0, 'SIGCONT');
    await jobsDone(kpx, 'bob', 1);
    expect(kpx.done('bob')).toHaveLength(1);
  });

  const body = { osUser: osUserSchema.parse('alice'), uid: 1_001 };
  const GARBAGE: [string, (connection: PacketConnection) => void][] = [
    ['bytes that are no message', (connection) => connection.send(Buffer.from('HTTP/1.1 200 OK\r\n\r\n'))],
    ['an answer to nothing that was asked', (connection) => connection.send(encodeResponse({ id: 77, kind: 'executorStopped', body }))],
    ['another verb’s answer', (connection) => connection.send(encodeResponse({ id: 1, kind: 'executorStopped', body }))],
    ['an end at once', (connection) => connection.close('rude')],
  ];

  it.each(GARBAGE)('answers with %s: the broker says so, does not spin, and takes the real one when it comes', async (_, answer) => {
    const kpx = await installKpx({ standIn: { BOOT_MS: '50' } });
    let connections = 0;
    const impostor = listenAt(kpx.socket, (connection) => {
      connections += 1;
      return { packet: () => answer(connection()), closed: () => {} };
    });
    onTestFinished(() => impostor.close());
    chmodSync(kpx.socket, 0o666);
    await kpx.startBroker({ wait: false });
    await kpx.brokerLog.line({ msg: 'consuming' });
    await publish(kpx, jobOf('alice', 'a1'));
    await kpx.brokerLog.line({ msg: CANNOT });
    await eventually('it has tried again', () => connections >= 3);
    expect(kpx.brokerLog.lines.filter(({ msg }) => msg === CANNOT).length).toBeLessThanOrEqual(2);
    impostor.close();
    rmSync(kpx.socket, { force: true });
    await kpx.startHelper();
    // A connection that the one before has left unanswered is given up first.
    await kpx.brokerLog.line({ msg: 'connected to the helper' }, { timeoutMs: 40_000 });
    await jobsDone(kpx, 'alice', 1);
  });
});
