import { expect, it, onTestFinished } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { nodes } from '../fixtures/nodes/nodes.mjs';
import { startKpx } from './installed-kpx.js';
import { bootedMachine, ON_EACH_DEBIAN } from './shared-machine.js';

const machine = bootedMachine();
const NODE = '/usr/bin/node';
const DOCTOR_TIMEOUT_MS = 60_000;

/** In place of the machine's own, as an upgrade of its package would, until the test is finished. */
async function upgradeNode(binary: string): Promise<void> {
  await machine.run(['/usr/bin/mount', '--bind', binary, NODE]);
  onTestFinished(async () => void (await machine.run(['/usr/bin/umount', NODE])));
}

/** What the journal has of one of kpx's programs that is no JSON. */
async function textOf(identifier: string, cursor: string): Promise<string[]> {
  const entries = await machine.journal(`--after-cursor=${cursor}`, `--identifier=${identifier}`);
  expect(entries.length).toBeGreaterThan(0);
  return entries.flatMap(({ MESSAGE }) => (MESSAGE.startsWith('{') ? [] : [MESSAGE]));
}

async function doesJobs({ name, binary }: { name: string; binary: string }): Promise<void> {
  if (binary !== NODE) {
    await upgradeNode(binary);
    expect((await machine.run([NODE, '--version'])).stdout).toContain(name.replace('node-', 'v'));
  }
  const cursor = await machine.journalCursor();
  const kpx = await startKpx();
  await kpx.publish(jobOf('kim', name));
  await kpx.jobDone('kim', name);
  const { stdout, stderr } = await machine.run(['/usr/bin/kpxctl', 'doctor', '--json'], {
    allowFailure: true,
    timeoutMs: DOCTOR_TIMEOUT_MS,
  });
  expect(stderr).toBe('');
  const failed = JSON.parse(stdout).checks.filter(({ result }: { result: string }) => result === 'fail');
  expect(failed).toEqual([]);
  await machine.run(['/usr/bin/journalctl', '--sync']);
  for (const program of ['kpx-broker', 'kpx-privhelper']) expect(await textOf(program, cursor)).toEqual([]);
}

const DO_JOBS = 'the package’s units do a job, and say nothing on standard error';

it(`under the machine’s own Node ${DO_JOBS}`, ON_EACH_DEBIAN, () => doesJobs({ name: 'own', binary: NODE }));

it.each(nodes(machine.facts.checkout))(`under $name ${DO_JOBS}`, doesJobs);
