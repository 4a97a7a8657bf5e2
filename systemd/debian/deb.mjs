// Makes the .deb. Needs nothing of Debian but dpkg, and no privilege: dpkg-deb writes root as the owner of everything by itself.

import { run } from '../package/command.mjs';
import { withStage } from '../package/stage.mjs';
import { controlFiles } from './control.mjs';

/** Node's name of an architecture → Debian's, for those that node-unix-socket has a native part for. */
export const DEBIAN_ARCHITECTURES = new Map([
  ['x64', 'amd64'],
  ['arm64', 'arm64'],
  ['arm', 'armhf'],
]);

/**
 * @param {{ version: string, epoch: number, architecture: string, entries: import('../package/contents.mjs').Entry[] }} what `epoch`: seconds, the
 * time of all files
 * @param {string} file replaced when it is there
 */
export function makeDeb({ version, epoch, architecture, entries }, file) {
  withStage([...entries, ...controlFiles(version, architecture, entries)], epoch, (stage) => {
    // One thread: how xz cuts its blocks must not depend on the machine.
    const options = ['--root-owner-group', '-Zxz', '--threads-max=1'];
    process.stderr.write(run('dpkg-deb', [...options, '--build', stage, file], { SOURCE_DATE_EPOCH: String(epoch) }));
  });
}
