import { readFile } from 'node:fs/promises';

/**
 * The systemd unit that a process belongs to: the last service in the path of its control group. Undefined: none, or it cannot be seen. Source:
 * cgroups(7), /proc/PID/cgroup; systemd names the control group of a service as the unit.
 */
export async function unitOf(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
  // In a container one of the two may be of the machine outside.
  const paths = [...text.matchAll(/^(?:0:|\d+:name=systemd):(.*)$/gm)].map(([, path = '']) => path);
  return paths.flatMap((path) => path.split('/')).findLast((name) => name.endsWith('.service'));
}
