import { describe, expect, it } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { publish, startKpx } from './installed-kpx.js';

/*
 * What becomes of a broker whose log nobody takes any more: journald was ended, or the pipe of a container is shut.
 */

const EXIT_LOG = 74;

describe('a broker whose log cannot be written', () => {
  it('ends, so that the service manager starts another one; held jobs are back in the queue', async () => {
    // Its executor takes longer to start than this test: the job is held.
    const kpx = await startKpx({ standIn: { BOOT_MS: '60000' } });
    await publish(kpx, jobOf('alice', 'held'));
    await kpx.brokerLog.line({ user: 'alice', state: 'booting' });
    const ended = new Promise((resolve) => kpx.broker?.once('exit', (code, signal) => resolve({ code, signal })));
    kpx.broker?.stdout?.destroy();
    await publish(kpx, jobOf('bob', 'heard')); // it has something to say now
    expect(await ended).toEqual({ code: EXIT_LOG, signal: null });
    await eventually('both jobs are in the queue', async () => (await kpx.vhost.queueDepth('knime-jobs'))?.messages === 2);
    expect(kpx.brokerLog.stderr).toMatch(/^the log cannot be written: EPIPE; the broker ends$/m);

    await kpx.startBroker();
    await kpx.brokerLog.line({ user: 'alice', state: 'booting' });
  });
});
