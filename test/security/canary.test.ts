import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, chmodSync, rmSync, writeFileSync } from 'node:fs';
import { beforeAll, expect, it } from 'vitest';
import { end } from '../fixtures/helper-installation.js';
import { Target } from './target.js';

/*
 * The look that follows each attack sees what an attack could have done.
 */

const SETTLE_TIMEOUT_MS = 200;

/** As RabbitMQ does: nobody's child here, and always with a child of its own. */
const OTHER_SERVER = 'echo $$; while :; do /usr/bin/sleep 0.01; done';

let target: Target;
beforeAll(async () => {
  const { stdout } = spawn('/usr/bin/setsid', ['--fork', '/bin/sh', '-c', OTHER_SERVER], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [pid] = await once(stdout, 'data');
  target = await Target.start();
  return async () => {
    process.kill(Number(pid), 'SIGKILL');
    await target.end();
  };
});

let left: ChildProcess;
let orphan: number;

it.each<[what: string, harm: () => unknown, undo: () => unknown]>([
  ['a new file of root’s', () => writeFileSync('/etc/evil', ''), () => rmSync('/etc/evil')],
  ['a new program', () => writeFileSync('/srv/evil', ''), () => rmSync('/srv/evil')],
  ['a file that has changed', () => appendFileSync(target.installation.configFile, '\n'), () => {}],
  [
    'another mode of a directory',
    () => chmodSync(target.installation.workspaces, 0o777),
    () => chmodSync(target.installation.workspaces, 0o755),
  ],
  [
    'a process that was left',
    () => {
      left = spawn('/usr/bin/sleep', ['infinity'], { stdio: 'ignore' });
    },
    () => end(left, 'SIGKILL'),
  ],
  [
    'an orphan that was left',
    async () => {
      const script = 'echo $$; exec /usr/bin/sleep infinity';
      const { stdout } = spawn('/usr/bin/setsid', ['--fork', '/bin/sh', '-c', script], { stdio: ['ignore', 'pipe', 'ignore'] });
      orphan = Number((await once(stdout, 'data'))[0]);
    },
    () => process.kill(orphan, 'SIGKILL'),
  ],
  [
    'an executor that was left',
    async () => {
      await (await target.greeted()).spawned('bob');
    },
    async () => await target.stopped(await target.greeted(), 'bob'),
  ],
])('sees %s, and is content without', async (_what, harm, undo) => {
  await target.canary();
  await harm();
  await expect(target.canary(SETTLE_TIMEOUT_MS)).rejects.toThrow(/expected/);
  await undo();
  await target.canary(SETTLE_TIMEOUT_MS).catch(() => {}); // it sees the undoing, too
  await target.canary();
});

it('is content while another server’s processes come and go', async () => {
  for (let round = 0; round < 5; round++) await target.canary(0);
});

it('sees that the helper has died', async () => {
  await target.installation.endHelper('SIGKILL');
  await expect(target.canary(SETTLE_TIMEOUT_MS)).rejects.toThrow();
});
