import { readFileSync } from 'node:fs';

/** `/proc/PID/status` or `/proc/PID/stat` of a child, see proc(5); empty when it has ended. Synchronous: the kernel's own files never hang. */
export function readProcess(pid: number | undefined, file: 'status' | 'stat'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return '';
  }
}
