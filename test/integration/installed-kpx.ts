import { onTestFinished } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { drainQueue, publishJobs, type TestJob } from '../fixtures/jobs.js';
import { Kpx, type KpxOptions } from '../fixtures/kpx.js';
import { runKpxctl } from '../fixtures/programs.js';
import { takeKnimeVhost } from './shared-rabbitmq.js';

export { runBroker, runKpxctl } from '../fixtures/programs.js';

/** kpx on a virtual host of its own for one test, both programs not started yet; ended when the test is finished. */
export async function installKpx(options: KpxOptions = {}): Promise<Kpx> {
  const kpx = new Kpx(await takeKnimeVhost(), options);
  onTestFinished(() => kpx.stop());
  return kpx;
}

/** The same, with helper and broker running. */
export async function startKpx(options: KpxOptions = {}): Promise<Kpx> {
  return await (await installKpx(options)).start();
}

/** What `kpxctl explain` says to root. */
export async function explain(kpx: Kpx, user: string, ...args: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await runKpxctl([
    'explain',
    user,
    '--json',
    '--config',
    kpx.brokerConfigFile,
    '--helper-config',
    kpx.configFile,
    ...args,
  ]);
  if (code !== 0) throw new Error(`kpxctl explain ended with ${code}: ${stderr}`);
  return JSON.parse(stdout);
}

/** Publishes as KNIME Server does. */
export const publish = (kpx: Kpx, ...jobs: TestJob[]) => publishJobs(kpx.vhost.url('publisher'), jobs);

/** Resolves with all that an account's executor has done once it is `count` jobs or more. */
export const jobsDone = (kpx: Kpx, osUser: string, count: number, timeoutMs?: number) =>
  eventually(`${count} jobs of ${osUser} are done`, () => kpx.done(osUser).length >= count && kpx.done(osUser), timeoutMs);

/** Resolves with the dead letters once there are `count` or more of them. */
export async function deadLetters(kpx: Kpx, count: number) {
  await eventually(`${count} dead letters`, async () => ((await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages ?? 0) >= count);
  return await drainQueue(kpx.vhost.url('admin'), 'kpx.dead-letter');
}
