import { runCommand } from '@kpx/privhelper/system/command';
import { judgeTrusted } from '@kpx/privhelper/system/directory';

/*
 * Looks at paths that an administrator has named, and that may be on a network file system whose server is gone: by commands, which can be
 * killed. A call of Node's own could not be, and would keep the others, and the end of the program, waiting.
 */

export interface Status {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  /** In words, as stat(1) says. */
  readonly type: string;
}

/** A path or one of the directories above it; `found` undefined: it is not there. */
export interface Step {
  readonly path: string;
  readonly found: Status | undefined;
}

/** A path, an absolute one, and every directory above it, from `/` down. */
export function stepsTo(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  return ['/', ...parts.map((_, index) => `/${parts.slice(0, index + 1).join('/')}`)];
}

/** `path` and what is above it. Symbolic links are not followed. */
export async function chain(path: string, signal: AbortSignal): Promise<Step[]> {
  const paths = stepsTo(path);
  const found = await statusOf(paths, signal);
  return paths.map((each) => ({ path: each, found: found.get(each) }));
}

/** `/usr/bin/stat --format=… -- PATH…`: of those that exist. Symbolic links are not followed. */
export async function statusOf(paths: readonly string[], signal: AbortSignal): Promise<Map<string, Status>> {
  const { stdout, stderr } = await runCommand('/usr/bin/stat', ['--format=%u %g %a %F/%n', '--', ...paths], signal);
  const found = new Map<string, Status>();
  for (const line of stdout.split('\n')) {
    const [, uid, gid, mode = '', type = '', name = ''] = /^(\d+) (\d+) ([0-7]+) ([^/]+)\/(.+)$/.exec(line) ?? [];
    if (name !== '') found.set(name, { uid: Number(uid), gid: Number(gid), mode: Number.parseInt(mode, 8), type });
  }
  const other = stderr.split('\n').find((line) => line !== '' && !/No such file or directory$|Not a directory$/.test(line));
  if (other !== undefined) throw new Error(other);
  return found;
}

/** Why others than root can change what is at the end of these steps; undefined: they cannot. */
export function trustIn(steps: readonly Step[]): string | undefined {
  for (const { path, found } of steps) {
    if (found === undefined || found.type === 'symbolic link') continue;
    try {
      judgeTrusted(found, path);
    } catch (error) {
      return (error as Error).message;
    }
  }
  return undefined;
}

interface Space {
  /** Of the file system in all; 0: it has no bound of its own. */
  readonly bytes: number;
  readonly freeBytes: number;
  readonly freeFiles: number;
  /** 0: the file system makes them as they are needed. */
  readonly files: number;
}

/** `/usr/bin/stat --file-system --format=… -- PATH`: what users other than root may still use. */
export async function spaceAt(path: string, signal: AbortSignal): Promise<Space> {
  const { exitCode, stdout, stderr } = await runCommand('/usr/bin/stat', ['--file-system', '--format=%b %a %S %d %c', '--', path], signal);
  if (exitCode !== 0) throw new Error(stderr);
  const [blocks = 0, freeBlocks = 0, blockBytes = 0, freeFiles = 0, files = 0] = stdout.trim().split(' ').map(Number);
  return { bytes: blocks * blockBytes, freeBytes: freeBlocks * blockBytes, freeFiles, files };
}
