import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { checkout } from '../fixtures/kpx.js';
import { installKpx, jobsDone, publish } from './installed-kpx.js';

/*
 * What becomes of the jobs of a broker whose own books contradict themselves: a defect that the assertions of the state machine find.
 */

const EXIT_DEFECT = 70;

describe('a broker whose books contradict themselves', () => {
  it('says so, gives every job back, and ends for the next broker to do them', async () => {
    // alice's executor takes longer to start than the broker lives: her job is held.
    const kpx = await installKpx({ standIn: { BOOT_MS: '5000' } });
    await kpx.startHelper();
    await kpx.startBroker({ env: { NODE_OPTIONS: `--require=${join(checkout(), 'test/fixtures/forget-line.cjs')}` } });
    const ended = new Promise((resolve) => kpx.broker?.once('exit', (code, signal) => resolve({ code, signal })));
    await publish(kpx, jobOf('alice', 'held'));
    await kpx.brokerLog.line({ user: 'alice', state: 'booting' });
    await publish(kpx, jobOf('mallory', 'the last straw'));

    const said = await kpx.brokerLog.line({ level: 60, event: 'job', user: 'mallory' });
    expect(said.reason).toBe('"mallory" is queued, and not in line (after the event "job" of "mallory")');
    expect(said.msg).toMatch(/^a defect of kpx: .* All jobs go back to the queue/);
    expect(await ended).toEqual({ code: EXIT_DEFECT, signal: null });
    await eventually('both jobs are in the queue', async () => (await kpx.vhost.queueDepth('knime-jobs'))?.messages === 2);
    expect(kpx.brokerLog.lines.filter(({ state, user }) => state !== undefined && user === 'mallory')).toEqual([]); // nothing was carried out

    await kpx.startBroker();
    expect((await jobsDone(kpx, 'alice', 1)).length).toBe(1);
  });
});
