import { randomUUID } from 'node:crypto';
import { expect, it, onTestFinished } from 'vitest';
import { unitOf } from '../fixtures/booted/kpx.js';
import { jobOf } from '../fixtures/jobs.js';
import { startKpx } from './installed-kpx.js';
import { bootedMachine } from './shared-machine.js';

/* What the end of an executor does to others on the machine: nothing. */

const machine = bootedMachine();
/** Nobody else's. */
const GROUP = { name: 'kpx-ipc-team', gid: '24110' };
const PEOPLE = { 'ipc-worker': '24111', 'ipc-neighbour': '24112' };

async function addPeople(): Promise<void> {
  await machine.run(['/usr/sbin/groupadd', '--gid', GROUP.gid, GROUP.name]);
  onTestFinished(async () => void (await machine.run(['/usr/sbin/groupdel', GROUP.name], { allowFailure: true })));
  for (const [name, uid] of Object.entries(PEOPLE)) {
    await machine.run(['/usr/sbin/useradd', '--uid', uid, '--gid', GROUP.gid, name]);
    onTestFinished(async () => void (await machine.run(['/usr/sbin/userdel', '--remove', name], { allowFailure: true })));
  }
}

/** One of each kind that an account has in memory, outside of any executor. */
async function leaveObjects(user: string): Promise<void> {
  const file = `/dev/shm/of-${user}`;
  await machine.run(['/usr/bin/truncate', '--size=4096', file], { user });
  onTestFinished(() => machine.remove(file));
  for (const kind of ['--shmem=4096', '--queue', '--semaphore=1']) await machine.run(['/usr/bin/ipcmk', kind], { user });
  const remove = ['/usr/bin/ipcrm', '--all'];
  onTestFinished(async () => void (await machine.run(remove, { user, allowFailure: true })));
}

/** By kind and number, of these people: sysvipc in proc(5). */
async function objects(): Promise<string[]> {
  const kinds = await Promise.all(
    ['shm', 'msg', 'sem'].map(async (kind) => {
      const [head = '', ...lines] = (await machine.readFile(`/proc/sysvipc/${kind}`)).trimEnd().split('\n');
      const column = head.trim().split(/\s+/).indexOf('uid');
      const rows = lines.map((line) => line.trim().split(/\s+/)).filter((row) => Object.values(PEOPLE).includes(row[column] ?? ''));
      return rows.map(([, id]) => `${kind} ${id}`);
    }),
  );
  const { stdout } = await machine.run(['/usr/bin/find', '/dev/shm', '-name', 'of-ipc-*']);
  return [...kinds.flat(), ...stdout.trimEnd().split('\n').sort()];
}

it('when an executor ends, shared memory, queues and semaphores outside of it stay: its account’s, and those of others in its group', async () => {
  await addPeople();
  const kpx = await startKpx();
  const job = randomUUID();
  await kpx.publish(jobOf('ipc-worker', job));
  await kpx.jobDone('ipc-worker', job);
  for (const user of Object.keys(PEOPLE)) await leaveObjects(user);
  const before = await objects();
  expect(before).toHaveLength(8);
  await machine.systemctl('stop', unitOf('ipc-worker'));
  expect(await machine.show(unitOf('ipc-worker'), 'ActiveState')).toEqual({ ActiveState: 'inactive' });
  expect(await objects()).toEqual(before);
});
