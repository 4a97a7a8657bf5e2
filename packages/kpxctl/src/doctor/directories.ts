import { constants } from 'node:fs';
import { mkdtemp, open, rmdir } from 'node:fs/promises';
import { replaceAcl } from '@kpx/privhelper/system/acl';
import { runCommand } from '@kpx/privhelper/system/command';
import { judgeSkeleton } from '@kpx/privhelper/system/directory';
import { ASK_AS_ROOT, type Check, fail, ok, Skipped, type Verdict, warn } from './check.js';
import { chain, spaceAt, trustIn } from './file-system.js';
import { hidden } from './hidden.js';
import type { HelperConfig, Scene } from './scene.js';
import { showUnit } from './systemd.js';

/** Below this an executor hardly gets up, and below this it is time to look, in bytes. */
const FREE_BYTES_MIN = 64 * 1024 ** 2;
const FREE_BYTES_SCARCE = 1024 ** 3;
/** The same in files and directories. */
const FREE_FILES_MIN = 1_000;
const FREE_FILES_SCARCE = 20_000;
/** Unfinished directories that are named. */
const UNFINISHED_NAMED_MAX = 5;
/** No account is called like this, and so no directory of a user: names do not start with a dot. */
const SCRATCH = '.kpx-doctor-';
const PRIVATE = ['user::rwx', 'group::---', 'other::---'];
const ELSEWHERE =
  'systemctl edit kpx-privhelper@.service with ReadWritePaths= and NoExecPaths= lines that name it, in [Service] (install.md, "When something is elsewhere").';

/** Where users' directories are: whose, on which file system, with how much room, and how they age. */
export function directoryChecks(scene: Scene): Check[] {
  return [
    parents(scene, 'workspace parent', ({ workspace_parent }) => [workspace_parent]),
    parents(scene, 'temp parent', ({ temp_parent }) => [temp_parent]),
    parents(scene, 'home parents', ({ home_parents }) => home_parents),
    skeletonOfHomes(scene),
    unfinished(scene),
    hidden(scene),
    acls(scene, 'workspace ACLs', ({ workspace_parent }) => workspace_parent),
    acls(scene, 'temp ACLs', ({ temp_parent }) => temp_parent),
    space(scene, 'workspace space', ({ workspace_parent }) => [workspace_parent]),
    space(scene, 'temp space', ({ temp_parent }) => [temp_parent]),
    space(scene, 'home space', ({ home_parents, create_home }) => (create_home ? home_parents : [])),
    helperMayWrite(scene),
    ageing(scene),
  ];
}

type Directories = HelperConfig['directories'];

/** Throws an Error for a directory that is missing, or that others than root can change. */
async function judgeParent(path: string, signal: AbortSignal): Promise<void> {
  const steps = await chain(path, signal);
  const missing = steps.find(({ found }) => found === undefined);
  if (missing) throw new Error(`${missing.path} does not exist`);
  const other = steps.find(({ found }) => found?.type !== 'directory');
  if (other) throw new Error(`${other.path} is a symbolic link or not a directory`);
  const untrusted = trustIn(steps);
  if (untrusted !== undefined) throw new Error(untrusted);
}

const parents = ({ helper }: Scene, name: string, pathsOf: (directories: Directories) => readonly string[]): Check => ({
  name,
  fix: "Make it root's, and writable by nobody else, all the way up: install -d -m 0755 DIRECTORY, or chown root:root and chmod go-w. If it hangs, see whether a file server does not answer.",
  look: async (signal) => {
    const paths = pathsOf((await helper()).directories);
    await Promise.all(paths.map((path) => judgeParent(path, signal)));
    return ok(paths.length === 0 ? 'not used' : `${paths.join(', ')}: only root may change them`);
  },
});

/** A skeleton that cannot be copied keeps everybody without a home out. */
const skeletonOfHomes = ({ helper }: Scene): Check => ({
  name: 'skeleton',
  fix: "It must be root's, writable by nobody else, and all in it readable for everybody: chmod -R o+rX DIRECTORY, or take out what is not for users.",
  look: async (signal) => {
    const { create_home, skeleton } = (await helper()).directories;
    if (!create_home) return ok('not used');
    await judgeParent(skeleton, signal);
    await judgeSkeleton(skeleton, signal);
    return ok(`${skeleton}: only root may change it, and everybody may read it`);
  },
});

/** `/usr/bin/find PARENT… -maxdepth 1 -name .kpx-new-?????? -mmin +1`: a request ends sooner. */
const unfinished = ({ helper }: Scene): Check => ({
  name: 'unfinished directories',
  fix: 'Try find by hand, in the parents of workspaces, temp directories and homes.',
  look: async (signal) => {
    const { workspace_parent, temp_parent, home_parents } = (await helper()).directories;
    const named = ['-maxdepth', '1', '-name', '.kpx-new-??????', '-mmin', '+1'];
    const { stdout } = await runCommand('/usr/bin/find', [workspace_parent, temp_parent, ...home_parents, ...named], signal);
    const left = stdout.trimEnd().split('\n').filter(Boolean);
    if (left.length === 0) return ok('none');
    const some = left.slice(0, UNFINISHED_NAMED_MAX).join(', ');
    return warn(`${left.length} that kpx was interrupted at: ${some}`, 'They are never used: kpxctl orphans prints what removes each.');
  },
});

/** Tried, in a directory that is gone afterwards: nothing else says for sure. */
const acls = ({ helper, isRoot }: Scene, name: string, pathOf: (directories: Directories) => string): Check => ({
  name,
  fix: 'Users\' directories need a local file system with POSIX ACLs that can be written: ext4, XFS, Btrfs or tmpfs, mounted without "noacl" and "ro".',
  look: async (signal) => {
    if (!isRoot) throw new Skipped(ASK_AS_ROOT);
    const parent = pathOf((await helper()).directories);
    await judgeParent(parent, signal).catch(() => {
      throw new Skipped(`${parent} cannot be used`);
    });
    const scratch = await mkdtemp(`${parent}/${SCRATCH}`).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOSPC') throw new Skipped(`${parent} is full`);
      throw error;
    });
    try {
      await using directory = await open(scratch, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
      await replaceAcl([directory.fd], PRIVATE, signal);
    } finally {
      await rmdir(scratch);
    }
    return ok(`${parent}: a directory was made, got its ACL, and was removed`);
  },
});

const space = ({ helper }: Scene, name: string, pathsOf: (directories: Directories) => readonly string[]): Check => ({
  name,
  fix: 'See why its file system does not answer: findmnt, df.',
  look: async (signal) => {
    const verdicts: Verdict[] = [];
    for (const path of pathsOf((await helper()).directories)) {
      const missing = (await chain(path, signal)).some(({ found }) => found === undefined);
      if (missing) throw new Skipped(`${path} does not exist`);
      verdicts.push(await judgeSpace(path, signal));
    }
    return (
      verdicts.find(({ result }) => result === 'fail') ?? verdicts.find(({ result }) => result === 'warn') ?? verdicts[0] ?? ok('not used')
    );
  },
});

async function judgeSpace(path: string, signal: AbortSignal): Promise<Verdict> {
  const { bytes, freeBytes, freeFiles, files } = await spaceAt(path, signal);
  if (bytes === 0) return ok(`${path}: its file system has no bound of its own`);
  const seen = `${path}: ${(freeBytes / 1024 ** 3).toFixed(1)} GiB${files === 0 ? '' : ` and ${freeFiles} files`} free`;
  const room =
    'Make room, or give it a file system of its own: df, df -i, and kpxctl orphans for the directories of accounts that are gone.';
  if (freeBytes < FREE_BYTES_MIN || (files > 0 && freeFiles < FREE_FILES_MIN)) return fail(seen, room);
  if (freeBytes < FREE_BYTES_SCARCE || (files > 0 && freeFiles < FREE_FILES_SCARCE)) return warn(seen, room);
  return ok(seen);
}

/** To the helper everything is read-only but what its unit says; its own --check runs outside of the unit and cannot see that. */
const helperMayWrite = ({ helper, underSystemd }: Scene): Check => ({
  name: 'helper may write',
  fix: ELSEWHERE,
  look: async (signal) => {
    await underSystemd();
    const { workspace_parent, temp_parent, home_parents, create_home } = (await helper()).directories;
    const { LoadState, ReadWritePaths } = await showUnit('kpx-privhelper@0-0-0.service', signal);
    if (LoadState !== 'loaded') throw new Skipped('the unit cannot be loaded');
    const writable = ReadWritePaths.split(' ').map((path) => path.replace(/^[-+]+/, ''));
    const isWritable = (path: string) => writable.some((above) => above === '/' || path === above || path.startsWith(`${above}/`));
    const closed = [workspace_parent, temp_parent, ...(create_home ? home_parents : [])].filter((path) => !isWritable(path));
    if (closed.length > 0) throw new Error(`${closed.join(', ')}: read-only to the helper, whose unit allows ${ReadWritePaths}`);
    return ok(`its unit allows ${ReadWritePaths}`);
  },
});

/** tmpfiles.d: is there a line that ages what is in users' temp directories, and a timer that goes by it? */
const ageing = ({ helper }: Scene): Check => ({
  name: 'temp ageing',
  fix: 'Try systemd-tmpfiles --cat-config by hand.',
  look: async (signal) => {
    const { temp_parent } = (await helper()).directories;
    const { stdout } = await runCommand('/usr/bin/systemd-tmpfiles', ['--cat-config', 'kpx.conf', 'kpx-temp.conf'], signal);
    const ages = stdout.split('\n').flatMap((line) => {
      const [type = '', path = '', , , , age = ''] = line.trim().split(/\s+/);
      return /^[ed]/.test(type) && path === `${temp_parent}/*` && /^~?\d/.test(age) ? [age] : [];
    });
    if (ages.length === 0)
      return warn(
        `nothing removes old files below ${temp_parent}`,
        `Have a line "e ${temp_parent}/* - - - 30d" in /etc/tmpfiles.d/kpx-temp.conf, unless that is what you want (operate.md, "Temp directories").`,
      );
    const { ActiveState } = await showUnit('systemd-tmpfiles-clean.timer', signal);
    if (ActiveState !== 'active') return warn('systemd-tmpfiles-clean.timer does not run', 'systemctl start systemd-tmpfiles-clean.timer');
    return ok(`files below ${temp_parent} go when nobody has used them for ${ages.at(-1)}`);
  },
});
