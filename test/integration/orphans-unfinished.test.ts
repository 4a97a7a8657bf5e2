import { chownSync, existsSync, mkdirSync, rmSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { idsOf } from '../fixtures/helper-installation.js';
import { installKpx, runKpxctl } from './installed-kpx.js';

const HOUR_MS = 3_600_000;

it('kpxctl orphans lists what was being made for a user when kpx was interrupted, with the command that removes it', async () => {
  const kpx = await installKpx();
  const homes = join(kpx.srv, 'homes'); // in /home other tests may leave some
  mkdirSync(homes);
  kpx.writeHelperConfig({ directories: { home_parents: [homes] } });
  const { uid, gid } = idsOf('alice');
  const place = (parent: string, name: string, agoMs: number) => {
    const path = join(parent, name);
    mkdirSync(path, { mode: 0o700 });
    onTestFinished(() => rmSync(path, { recursive: true }));
    chownSync(path, uid, gid);
    utimesSync(path, new Date(), new Date(Date.now() - agoMs));
    return path;
  };
  const left = [place(kpx.workspaces, '.kpx-new-aaaaaa', HOUR_MS), place(homes, '.kpx-new-bbbbbb', HOUR_MS)];
  place(kpx.workspaces, '.kpx-new-cccccc', 0); // may still be made
  place(kpx.workspaces, '.snapshot', HOUR_MS); // not kpx's
  const { stdout } = await runKpxctl(['orphans', '--json', '--helper-config', kpx.configFile]);
  const { directories } = JSON.parse(stdout);
  expect(directories).toEqual(
    left.map((path) => ({
      ...{ path, uid, state: 'unfinished', bytes: null, command: `rm -r --one-file-system -- '${path}'` },
      why: expect.stringContaining('interrupted'),
    })),
  );
  expect(left.every((path) => existsSync(path))).toBe(true);
  const doctor = await runKpxctl(['doctor', '--json', '--helper-config', kpx.configFile, '--config', kpx.brokerConfigFile]);
  const { checks } = JSON.parse(doctor.stdout);
  const named = { name: 'unfinished directories', result: 'warn', seen: `2 that kpx was interrupted at: ${left.join(', ')}` };
  expect(checks).toContainEqual(expect.objectContaining(named));
  expect((await runKpxctl(['orphans', '--helper-config', kpx.configFile])).stdout).toContain(`unfinished  ${left[0]}  (uid ${uid})`);
});
