import { expect, it, onTestFinished } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { nodes } from '../fixtures/nodes/nodes.mjs';
import { installPackage, startKpx } from './installed-kpx.js';
import { bootedMachine, dropIn, ON_EACH_DEBIAN } from './shared-machine.js';

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

/** Of the Node before an upgrade: a helper that runs has left it there. Node 24 and later know no such flag. */
const OLD_FLAGS = { path: '/run/kpx/node/flags', text: 'NODE_FLAGS=--no-expose-wasm\n' };
/** Until Node 23, from units whose flags do not depend on the release. */
const NO_WEBASSEMBLY = 'Warning: disabling flag --expose_wasm due to conflicting flags';
const PROGRAMS = [
  { unit: 'kpx-ticket', status: '77', says: /^there is no \/etc\/kpx\/keytabs/ },
  { unit: 'kpx-drive', status: '75', says: /^\/usr\/bin\/true/ },
];

it.each(nodes(machine.facts.checkout))(
  'after an upgrade to $name tickets and drives start by the flags of another Node, and say nothing but that there is no WebAssembly',
  async ({ binary }) => {
    await installPackage();
    await upgradeNode(binary);
    await machine.writeFile(OLD_FLAGS.path, OLD_FLAGS.text);
    onTestFinished(() => machine.remove(OLD_FLAGS.path));
    await dropIn(machine, 'kpx-drive@.service', '[Service]\nEnvironment=KPX_DRIVE_SERVER=/usr/bin/true\n');
    for (const { unit, status, says } of PROGRAMS) {
      const cursor = await machine.journalCursor();
      expect((await machine.run(['/usr/bin/systemctl', 'start', `${unit}@kim`], { allowFailure: true })).exitCode).toBe(1);
      expect(await machine.show(`${unit}@kim.service`, 'ExecMainStatus')).toEqual({ ExecMainStatus: status });
      await machine.run(['/usr/bin/journalctl', '--sync']);
      const said = (await textOf(unit, cursor)).filter((line) => line !== NO_WEBASSEMBLY);
      expect(said).toEqual([expect.stringMatching(says)]);
    }
  },
);
