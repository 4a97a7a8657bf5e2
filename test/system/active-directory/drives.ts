import { randomUUID } from 'node:crypto';
import { expect, it, onTestFinished } from 'vitest';
import { SERVER, SHARE } from '../../fixtures/booted/domain-controller.js';
import { installFuse, suite } from '../../fixtures/booted/fuse.js';
import { type DoneJob, unitOf } from '../../fixtures/booted/kpx.js';
import { smbDrivePackage } from '../../fixtures/booted/services.mjs';
import { jobOf } from '../../fixtures/jobs.js';
import { blocksOf, commandsOf } from '../../fixtures/page.js';
import { atWork, runBlocks } from '../page-commands.js';
import type { DomainScene } from './scene.js';

const PAGE = 'docs/kerberos.md';
const HEADING = 'A drive that each executor brings';
/** Where the page has a server's files, what it has in place of its words, where the share is below the drive, and how it says that it may not. */
const BY = {
  smbnetfs: { filesBelow: HEADING, values: {}, share: `${SERVER}/${SHARE}`, denied: /ermission denied/ },
  rclone: {
    filesBelow: 'rclone',
    values: { smbnetfs: 'rclone', [`${SERVER}/${SHARE}/`]: '' },
    share: '.',
    denied: /peration not permitted/,
  },
};
const DROP_INS = '/etc/systemd/system/kpx-drive@.service.d';

/** A share as a directory, by the ticket of the user: as the page has an administrator make it. */
export function drives(scene: DomainScene): void {
  const { machine } = scene;
  const [user, other] = ['ad-alice', 'ad-bob'];

  async function runInDirectory(command: string, directory: string): Promise<DoneJob['ran']> {
    const job = randomUUID();
    const run = ['/bin/sh', '-c', `cd "$KPX_DRIVE/${directory}" && ${command}`];
    await scene.kpx.publish(jobOf(user, job, { run }));
    return (await scene.kpx.jobDone(user, job)).ran;
  }

  it(`${PAGE}: ${HEADING}, as it is written; and the server refuses what is another's`, async () => {
    await installFuse(machine);
    const by = BY[smbDrivePackage(await suite(machine))];
    const inShare = (command: string) => runInDirectory(command, by.share);
    await machine.systemctl('stop', unitOf(user));
    onTestFinished(async () => {
      await machine.run(['/usr/bin/kpxctl', 'drives', 'setup', '--remove', '--apply']);
      await machine.systemctl('stop', unitOf(user));
      for (const path of ['/etc/kpx/drives', DROP_INS]) await machine.remove(path);
      await machine.systemctl('daemon-reload');
    });
    for (const { heading, text } of blocksOf(PAGE)) {
      const [, path] = /^# (\/etc\/\S+)\n/.exec(text) ?? [];
      if (heading === by.filesBelow && path !== undefined) await machine.writeFile(path, text);
    }
    const blocks = commandsOf(PAGE, { ...by.values, alice: user }).filter(({ heading }) => heading === HEADING);
    await runBlocks(blocks, [
      { at: 'kpxctl drives setup', says: /to do .*30-kpx-drive\.conf.*--apply does it.*done .*30-kpx-drive\.conf.*ok +user drive /s },
      { at: 'status kpx-drive@', before: () => atWork(scene.kpx, user), says: /the drive answers.*\n *ad-alice\.txt$/ms },
    ]);

    expect(await inShare(`cat ${user}/${user}.txt`)).toEqual({ exitCode: 0, output: `of ${user}\n` });
    expect(await inShare(`echo by the drive >${user}/drive.txt`)).toMatchObject({ exitCode: 0 });
    expect(scene.controller.readShared(`${user}/drive.txt`)).toBe('by the drive\n');
    expect(await inShare(`cat ${other}/${other}.txt`)).toEqual({ exitCode: 1, output: expect.stringMatching(by.denied) });
    expect(await inShare(`echo no >${other}/drive.txt`)).toEqual({ exitCode: 2, output: expect.stringMatching(by.denied) });
  });
}
