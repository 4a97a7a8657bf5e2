import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { ExecutorCgroups } from './cgroups.js';

/** A directory as the kernel has it for a slice; the real one is in test/system/idle.test.ts. */
function slice() {
  const root = mkdtempSync(join(tmpdir(), 'cgroups-'));
  onTestFinished(() => rmSync(root, { recursive: true }));
  const unit = (path: string, pids: number[], microseconds: number, memory?: number) => {
    const cgroup = join(root, path);
    mkdirSync(cgroup, { recursive: true });
    writeFileSync(join(cgroup, 'cgroup.procs'), pids.map((pid) => `${pid}\n`).join(''));
    writeFileSync(join(cgroup, 'cpu.stat'), `usage_usec ${microseconds}\nuser_usec 1\nsystem_usec 1\n`);
    if (memory !== undefined) writeFileSync(join(cgroup, 'memory.current'), `${memory}\n`);
    return cgroup;
  };
  return { root, unit };
}

it('reads the processor time and memory of each executor, in a slice of its own as well, and leaves out who has none', async () => {
  const { root, unit } = slice();
  unit('kpx-executor@alice.service', [100, 101], 1_500, 4_096);
  unit('kpx-executors-big.slice/kpx-executor-big@bob.service', [200], 2_000_001);
  const cgroups = new ExecutorCgroups(root);
  expect(await cgroups.usage([100, 200, 300])).toEqual(
    new Map([
      [100, { cpuMs: 2, memoryBytes: 4_096 }],
      [200, { cpuMs: 2_001, memoryBytes: undefined }],
    ]),
  );
});

it('finds an executor that has started since, and forgets one that has ended, even where its account has another', async () => {
  const { root, unit } = slice();
  const alice = unit('kpx-executor@alice.service', [100], 5_000);
  const cgroups = new ExecutorCgroups(root);
  expect(await cgroups.usage([100])).toEqual(new Map([[100, { cpuMs: 5, memoryBytes: undefined }]]));
  rmSync(alice, { recursive: true });
  expect(await cgroups.usage([100])).toEqual(new Map());
  unit('kpx-executor@alice.service', [150], 1_000);
  expect(await cgroups.usage([100, 150])).toEqual(new Map([[150, { cpuMs: 1, memoryBytes: undefined }]]));
});

it('knows nothing, without an error, where there is no such hierarchy', async () => {
  expect(await new ExecutorCgroups('/nonexistent').usage([1])).toEqual(new Map());
});
