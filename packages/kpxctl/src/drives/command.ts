import { constants } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import type { Command } from 'commander';
import { HELPER_CONFIG_FILE } from '../broker-options.js';
import { showUnit } from '../doctor/systemd.js';
import { type SetUpOptions, setUpDropIns } from '../executor-units/set-up.js';
import { isThere, type Step } from '../sealed/steps.js';
import { DROP_IN, DROP_IN_TEXT } from './drop-in.js';

const FUSERMOUNT = '/usr/bin/fusermount3';
const DEVICE = '/dev/fuse';
/** Everybody may read and write. */
const FOR_ALL = 0o666;
/** Any instance: which server the template names does not depend on the user. */
const UNIT = 'kpx-drive@kpx.service';
const SHOW_TIMEOUT_MS = 10_000;
const NEXT = 'kpxctl doctor --user of one user';

/** The verb that has executors start with a drive of their user. */
export function addDrives(program: Command): void {
  program
    .command('drives')
    .helpCommand(false)
    .summary('drives in user space for executors')
    .description('Has each executor start with a drive of its user that is mounted in user space (FUSE).')
    .command('setup')
    .summary('have executors start with a drive')
    .description(
      'Says what this machine lacks for executors to start with a drive of their user, mounted in user space, each thing with its reason. Changes nothing without --apply. Run it as root.',
    )
    .option('--apply', 'make the changes')
    .option('--remove', 'take the drop-ins away again')
    .option('--helper-config <FILE>', 'configuration of kpx-privhelper', HELPER_CONFIG_FILE)
    .addHelpText(
      'after',
      '\nExit codes: 0 all is as it has to be, or was said; 69 systemd gives no answer; 77 not permitted; 78 something has to be done first.',
    )
    .action(setUp);
}

const setUp = (options: SetUpOptions): Promise<void> =>
  setUpDropIns(options, {
    command: 'drives setup',
    what: 'Drives take',
    dropIn: {
      name: DROP_IN,
      text: DROP_IN_TEXT,
      why: 'an executor starts when kpx-drive@.service has mounted the drive of its user, finds it in KPX_DRIVE, and ends with it',
      without: 'executors start without a drive',
    },
    next: NEXT,
    before: async () => [await mounter(), await device(), await server()],
    after: async () => [],
  });

async function mounter(): Promise<Step> {
  const why = 'it mounts for who is not root, and is a set-uid program of root';
  const file = await lstat(FUSERMOUNT).catch(() => undefined);
  if (!file)
    return { name: FUSERMOUNT, state: 'fails', why: `${why}; it is not installed`, lines: ['apt install fuse3', 'dnf install fuse3'] };
  if (file.uid === 0 && (file.mode & constants.S_IFMT) === constants.S_IFREG && (file.mode & 0o4001) === 0o4001)
    return { name: FUSERMOUNT, state: 'ok', why };
  return { name: FUSERMOUNT, state: 'fails', why: `${why}; it is not`, lines: [`chmod 4755 ${FUSERMOUNT}`] };
}

async function device(): Promise<Step> {
  const why = 'servers of drives answer the kernel through it';
  const file = await lstat(DEVICE).catch(() => undefined);
  if (!file) return { name: DEVICE, state: 'fails', why: `${why}; the kernel has no FUSE`, lines: ['modprobe fuse'] };
  if ((file.mode & FOR_ALL) === FOR_ALL) return { name: DEVICE, state: 'ok', why };
  return { name: DEVICE, state: 'fails', why: `${why}; users may not open it`, lines: [`chmod 0666 ${DEVICE}`] };
}

async function server(): Promise<Step> {
  const { Environment } = await showUnit(UNIT, AbortSignal.timeout(SHOW_TIMEOUT_MS)).catch((error: Error) => {
    throw new CommandError(EXIT.unavailable, error.message);
  });
  const [, program] = /\bKPX_DRIVE_SERVER=(\/[^\s"]+)/.exec(Environment) ?? [];
  const why = 'the server of the drives, by KPX_DRIVE_SERVER= of kpx-drive@.service';
  if (program !== undefined && (await isThere(program, constants.X_OK))) return { name: program, state: 'ok', why };
  const lines = ['apt install smbnetfs', 'systemctl edit kpx-drive@.service, for another server: docs/kerberos.md names rclone'];
  return { name: program ?? 'KPX_DRIVE_SERVER', state: 'fails', why: `${why}; it is not there`, lines };
}
