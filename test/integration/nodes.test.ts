import { execFile, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { checkout, type Kpx } from '../fixtures/kpx.js';
import { nodes } from '../fixtures/nodes/nodes.mjs';
import { jobsDone, publish, startKpx } from './installed-kpx.js';

/** Runs the operator's program as root, under the Node of this installation. */
async function kpxctl(kpx: Kpx, ...args: string[]) {
  const program = join(checkout(), 'packages/kpxctl/dist/kpxctl.cjs');
  return await promisify(execFile)(kpx.node, [program, ...args, '--config', kpx.brokerConfigFile], { env: {}, cwd: '/' }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
  );
}

const argumentsOf = (pid: number | undefined) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');

it.each(nodes())(
  'under $name jobs are done, an executor’s end is noticed within a second, and nothing is said on standard error',
  async ({ name, binary }) => {
    expect(execFileSync(binary, ['--version'], { encoding: 'utf8' })).toContain(name.replace('node-', 'v'));
    const kpx = await startKpx({ node: binary, standIn: { BOOT_MS: '50' } });
    await publish(kpx, jobOf('alice', 'a1'));
    const [first] = await jobsDone(kpx, 'alice', 1);
    const from = kpx.brokerLog.lines.length;
    const killed = performance.now();
    process.kill(Number(first?.pid), 'SIGKILL');
    await kpx.brokerLog.line({ user: 'alice', state: 'backoff' }, { from });
    expect(performance.now() - killed).toBeLessThan(1_000);
    await publish(kpx, jobOf('alice', 'a2'), jobOf('bob', 'b1'));
    await jobsDone(kpx, 'alice', 2);
    await jobsDone(kpx, 'bob', 1);
    expect(await kpxctl(kpx, 'status')).toMatchObject({ code: 0, stderr: '' });
    expect(argumentsOf(kpx.helper?.pid)).toEqual(expect.arrayContaining(['--jitless', '--disable-proto=throw']));
    expect([await kpx.endBroker(), await kpx.endHelper()]).toEqual([0, 0]);
    expect([kpx.brokerLog.stderr, kpx.helperLog.stderr]).toEqual(['', '']);
  },
);
