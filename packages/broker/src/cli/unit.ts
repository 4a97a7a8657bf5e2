import { readFile } from 'node:fs/promises';

/**
 * The systemd unit that a process belongs to: the last service in the path of its control group. Undefined: none, or it cannot be seen. Source:
 * cgroups(7), /proc/PID/cgroup; systemd names the control group of a service as the unit.
 */
export async function unitOf(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
  const path = /^(?:0:|\d+:name=systemd):(.*)$/m.exec(text)?.[1] ?? '';
  return path.split('/').findLast((name) => name.endsWith('.service'));
}
