import { readFile } from 'node:fs/promises';
import { basename, dirname, relative } from 'node:path';
import { runCommand } from '@kpx/privhelper/system/command';
import { ASK_AS_ROOT, type Check, ok, Skipped, warn } from './check.js';
import type { Scene } from './scene.js';

/** Where a file system is shown without what is mounted on it: in the /tmp of the one process that looks. */
const BELOW = '/tmp/below';
/** A path in which systemd reads no character as its own: blanks, colons and quotes have a meaning there. */
const PLAIN = /^[A-Za-z0-9/._@+-]+$/;
/** Names that are said. */
const NAMED_MAX = 5;
/** Longest time that the look may take, in seconds, as systemd keeps it. */
const LOOK_S_MAX = 10;

/** proc_pid_mountinfo(5): the fifth field, in which blanks and the like are octal. */
export const mountPointsIn = (mountinfo: string): string[] =>
  mountinfo
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith('/'))
    .map((path) => path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))));

/** The mount point that hides what is below this directory: itself, or the nearest one above; undefined: none but /. */
export const mountPointOf = (directory: string, mountPoints: readonly string[]): string | undefined =>
  mountPoints
    .filter((path) => path !== '/' && (directory === path || directory.startsWith(`${path}/`)))
    .sort((one, other) => other.length - one.length)[0];

/** Directories that were made in users' parents before their disk was mounted: nobody sees them now, and they take room. */
export const hidden = ({ helper, isRoot, underSystemd }: Scene): Check => ({
  name: 'hidden directories',
  fix: 'See by hand, with the file system unmounted, what its mount point holds.',
  look: async (signal) => {
    await underSystemd();
    const { workspace_parent, temp_parent, home_parents } = (await helper()).directories;
    const mountPoints = mountPointsIn(await readFile('/proc/self/mountinfo', 'utf8'));
    const parents = [...new Set([workspace_parent, temp_parent, ...home_parents])];
    const mounted = parents.flatMap((parent) => {
      const mountPoint = mountPointOf(parent, mountPoints);
      return mountPoint === undefined ? [] : [{ parent, mountPoint }];
    });
    if (mounted.length === 0) return ok('no parent is on a file system that is mounted');
    if (!isRoot) throw new Skipped(ASK_AS_ROOT);
    const seen: string[] = [];
    for (const { parent, mountPoint } of mounted) {
      const names = await namesBelow(parent, mountPoint, signal);
      const some = names.slice(0, NAMED_MAX).join(', ');
      if (names.length > 0) seen.push(`${names.length} in ${parent} below the mount on ${mountPoint}: ${some}`);
    }
    if (seen.length === 0) return ok(`nothing below ${[...new Set(mounted.map(({ mountPoint }) => mountPoint))].join(', ')}`);
    return warn(
      seen.join('; '),
      'They were made before it was mounted: end the executors, unmount it, and move or remove them. RequiresMountsFor= keeps it from happening again (install.md, "When something is elsewhere").',
    );
  },
});

/**
 * `/usr/bin/systemd-run … /usr/bin/find` in a mount namespace that PID 1 makes. It shows the file system below the mount point, without the one that
 * is mounted there (systemd.exec(5), "norbind"). The machine's own mounts stay as they are.
 */
async function namesBelow(parent: string, mountPoint: string, signal: AbortSignal): Promise<string[]> {
  if (!PLAIN.test(parent)) throw new Skipped(`${parent} has characters that systemd takes for something else`);
  const properties = [
    'PrivateTmp=yes',
    `BindReadOnlyPaths=${dirname(mountPoint)}:${BELOW}:norbind`,
    `RuntimeMaxSec=${LOOK_S_MAX}`,
    'CapabilityBoundingSet=CAP_DAC_READ_SEARCH',
    'NoNewPrivileges=yes',
    'PrivateNetwork=yes',
  ];
  const run = ['--quiet', '--wait', '--pipe', '--collect', ...properties.map((property) => `--property=${property}`), '--'];
  const directory = [BELOW, basename(mountPoint), relative(mountPoint, parent)].filter((part) => part !== '').join('/');
  const find = ['/usr/bin/find', directory, '-mindepth', '1', '-maxdepth', '1', '!', '-name', 'lost+found', '-printf', '%f\\0'];
  const { exitCode, stdout, stderr } = await runCommand('/usr/bin/systemd-run', [...run, ...find], signal);
  if (exitCode === 0) return stdout.split('\0').filter(Boolean).sort();
  if (/No such file or directory/.test(stderr)) return [];
  throw new Error(`what is below the mount on ${mountPoint} cannot be seen: ${stderr.trim() || `exit ${exitCode}`}`);
}
