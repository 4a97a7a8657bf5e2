import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { onTestFinished } from 'vitest';
import { BROKER_ACCOUNT } from '../fixtures/accounts.js';
import { eventually } from '../fixtures/eventually.js';
import { drainQueue, publishJobs, type TestJob } from '../fixtures/jobs.js';
import { checkout, idsOf, Kpx, type KpxOptions, node } from '../fixtures/kpx.js';
import { takeKnimeVhost } from './shared-rabbitmq.js';

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

/** Runs the broker's program to its end, as its own account unless told otherwise. */
export const runBroker = (args: string[], ids: object = idsOf(BROKER_ACCOUNT)) => runProgram('kpx-broker', args, ids);

/** Runs the operator's program to its end, as root unless told otherwise. `input`: all that it is told. */
export const runKpxctl = (args: string[], ids: object = {}, input?: string) => runProgram('kpxctl', args, ids, input);

async function runProgram(name: string, args: string[], ids: object, input?: string) {
  const program = join(checkout(), `packages/${name.replace('kpx-', '')}/dist/${name}.cjs`);
  const run = promisify(execFile)(node(), [program, ...args], { ...ids, env: {}, cwd: '/' });
  if (input !== undefined) run.child.stdin?.end(input);
  return await run.then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
  );
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
