import { describe, expect, it, onTestFinished } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { drainQueue, jobOf } from '../fixtures/jobs.js';
import type { LogLine } from '../fixtures/json-log.js';
import { Kpx } from '../fixtures/kpx.js';
import { doneJobs, takeStock } from '../fixtures/ledger.js';
import { installKpx, jobsDone, publish, startKpx } from './installed-kpx.js';

const USERS = ['alice', 'bob'];
/** `npm run test:kills` has 1,000. */
const KILLS = Number(process.env.KPX_TEST_KILLS ?? 50);
const JOBS_A_KILL = 10;
const JOBS = KILLS * JOBS_A_KILL;
/** Longest life of a broker between two kills, in milliseconds: enough to connect and to be in the middle of something. */
const LIFE_MS_MAX = 150;
/** One life in so many ends at a random moment of its start. */
const EARLY_END_EVERY = 5;
const START_MS_MAX = 300;
/** A start, a life, and as much again for a machine with more to do. */
const KILL_TIMEOUT_MS = 1_000;
/** An orderly end, below every time limit of the broker for one that is not. */
const STOP_MS_MAX = 1_500;
const ALL_DONE_TIMEOUT_MS = 180_000;

const upTo = (ms: number) => new Promise((resolve) => setTimeout(resolve, Math.random() * ms));
const isMove = ({ msg }: LogLine) => msg === 'job forwarded' || msg === 'job deferred';

/** The jobs that a broker, by its own word, has published elsewhere, as often as it has. */
const movedBy = (kpx: Kpx) => kpx.brokerLog.lines.filter(isMove).map(({ job }) => String(job));

describe('no job is lost', () => {
  const title = `when brokers are killed ${KILLS} times at random during a burst of ${JOBS} jobs`;
  it(title, { timeout: KILLS * KILL_TIMEOUT_MS + ALL_DONE_TIMEOUT_MS }, async () => {
    const options = { standIn: { BOOT_MS: '200', JOB_MS: '2', PREFETCH: '16' }, broker: { log: { level: 'debug' } } };
    const one = await installKpx(options);
    const two = new Kpx(one.vhost, options);
    onTestFinished(() => two.stop());
    const ids = Array.from({ length: JOBS }, (_, index) => `job-${index}`);
    const jobs = ids.map((id, index) => jobOf(USERS[index % USERS.length] ?? '', id));
    /** How often each job was moved by brokers that were killed: as often it may have been in two places. */
    const windows = new Map<string, number>();
    const killAndKill = async (kpx: Kpx, first: number) => {
      await kpx.startHelper();
      for (let kill = first; kill < KILLS; kill += 2) {
        const published = publish(kpx, ...jobs.slice(kill * JOBS_A_KILL, (kill + 1) * JOBS_A_KILL));
        await kpx.startBroker({ wait: false });
        if (kill % EARLY_END_EVERY === 0) await upTo(START_MS_MAX);
        else await kpx.brokerLog.line({ msg: 'consuming' }).then(() => upTo(LIFE_MS_MAX));
        await kpx.endBroker('SIGKILL');
        await published;
        for (const job of movedBy(kpx)) windows.set(job, (windows.get(job) ?? 0) + 1);
      }
    };
    const from = performance.now();
    // Two at once, as on two hosts: both cores have work.
    await Promise.all([killAndKill(one, 0), killAndKill(two, 1)]);
    const killedMs = Math.round(performance.now() - from);
    await Promise.all([one.startBroker(), two.startBroker()]);
    await eventually('every job is done', () => new Set(doneJobs([one, two], USERS)).size === JOBS, ALL_DONE_TIMEOUT_MS);
    await Promise.all([one.stop(), two.stop()]);
    const { lost, doneAgain, done, parked } = await takeStock(ids, [one, two], USERS, one.vhost.url('admin'));
    console.log(`${KILLS} kills in ${killedMs} ms, ${JOBS} jobs: ${lost.length} lost, ${doneAgain} done again`);
    expect(lost).toEqual([]);
    expect(parked.size).toBe(0);
    // The one window in which a job can be done twice: RabbitMQ has it elsewhere, and has not yet got the acknowledgement.
    expect([...done].filter(([job, times]) => times > 1 + (windows.get(job) ?? 0))).toEqual([]);
  });

  it('when the broker is asked to end while jobs are held: they are back in the queue at once', async () => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '60000' } });
    await publish(kpx, ...Array.from({ length: 20 }, (_, count) => jobOf('alice', `a${count}`)));
    await kpx.brokerLog.line({ user: 'alice', state: 'booting' });
    const from = performance.now();
    expect(await kpx.endBroker('SIGTERM')).toBe(0);
    expect(performance.now() - from).toBeLessThan(STOP_MS_MAX);
    const jobs = await drainQueue(kpx.vhost.url('admin'), 'knime-jobs');
    expect(new Set(jobs.map(({ json }) => (json as { job: string }).job)).size).toBe(20);
  });

  it('when the executor is killed in the middle of a job', async () => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '50', JOB_MS: '400', PREFETCH: '1' } });
    await publish(kpx, jobOf('alice', 'a1'), jobOf('alice', 'a2'));
    const [{ pid } = { pid: 0 }] = await jobsDone(kpx, 'alice', 1);
    process.kill(pid, 'SIGKILL');
    // The first one may be done twice: the executor may have died between its record and its acknowledgement.
    const done = () => [...new Set(kpx.done('alice').map(({ job }) => job))].sort().join();
    await expect.poll(done, { timeout: 20_000 }).toBe('a1,a2');
  });

  it('when the helper is killed and comes back: its executors end with it and are started again', async () => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '50' } });
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
    await kpx.endHelper('SIGKILL');
    await kpx.brokerLog.line({ msg: 'lost the helper; connecting again' });
    await publish(kpx, jobOf('alice', 'a2'), jobOf('bob', 'b1'));
    await kpx.brokerLog.line({ msg: 'the helper cannot be used; trying again' });
    await kpx.startHelper();
    await jobsDone(kpx, 'alice', 2);
    await jobsDone(kpx, 'bob', 1);
  });
});
