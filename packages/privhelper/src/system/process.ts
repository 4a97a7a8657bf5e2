import { constants, readFileSync, readlinkSync } from 'node:fs';
import { access } from 'node:fs/promises';

/** `/proc/PID/status` or `/proc/PID/stat` of a child, see proc(5); empty when it has ended. Synchronous: the kernel's own files never hang. */
export function readProcess(pid: number | undefined, file: 'status' | 'stat'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return '';
  }
}

/** What one of our own descriptors is, such as `socket:[4711]` or a path; `closed` when it is not open. */
export function targetOfDescriptor(descriptor: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`);
  } catch {
    return 'closed';
  }
}

/** Resolves when there is a program at `path`, which is from the configuration or one of ours; rejects with what access(2) says. */
export async function checkProgram(path: string): Promise<void> {
  await access(path, constants.X_OK);
}
