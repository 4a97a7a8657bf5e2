import { readFileSync } from 'node:fs';

/**
 * Commands have sessions of their own, so that Ctrl-C reaches kpxctl alone. From now on a signal that ends it ends them first. Each leads a process
 * group. Source: proc(5), /proc/PID/task/TID/children.
 */
export function endCommandsWithThis(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      for (const leader of children()) end(Number(leader));
      process.kill(process.pid, signal); // which nothing holds back any more
    });
  }
}

/** None where the kernel was built without that file. */
function children(): string[] {
  try {
    return readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').split(' ');
  } catch {
    return [];
  }
}

function end(leader: number): void {
  if (leader <= 1) return;
  try {
    process.kill(-leader, 'SIGKILL');
  } catch {
    // It has ended since.
  }
}
