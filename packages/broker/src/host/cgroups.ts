import { closeSync, openSync, readSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import type { Usage } from '../executors/events.js';

/** Where systemd has the cgroups of all executors: kpx-executors.slice, of the unified hierarchy. Source: systemd.slice(5), cgroups(7). */
const EXECUTORS = '/sys/fs/cgroup/kpx.slice/kpx-executors.slice';
/** Slices in one another that are looked into: an administrator may give a profile one of its own. */
const DEPTH_MAX = 3;
/** Directories that one search looks into; the helper starts no more than 5,000 executors. */
const DIRECTORIES_MAX = 6_000;
/** Executors that are measured before anything else of the broker has its turn: a millisecond. */
const MEASURED_AT_ONCE = 50;
/** Of cpu.stat and memory.current the kernel writes some hundred bytes. */
const STAT_BYTES_MAX = 4_096;

/**
 * Reads the processor time and memory of executors from the kernel, which costs neither the helper nor PID 1 anything. It takes no privilege: cgroupfs
 * can be read by every account.
 */
export class ExecutorCgroups {
  readonly #root: string;
  /** The cgroup of each main process that was found. */
  #found = new Map<number, string>();

  constructor(root = EXECUTORS) {
    this.#root = root;
  }

  /**
   * By main process. Processes are missing whose cgroup is not there: all of them where the unified hierarchy is not mounted, or
   * executors are no units of systemd.
   */
  async usage(pids: readonly number[]): Promise<ReadonlyMap<number, Usage>> {
    if (pids.some((pid) => !this.#found.has(pid))) await this.#search(new Set(pids));
    const usage = new Map<number, Usage>();
    for (const [index, pid] of pids.entries()) {
      if (index % MEASURED_AT_ONCE === MEASURED_AT_ONCE - 1) await turn();
      const cgroup = this.#found.get(pid);
      const cpuMs = cgroup === undefined ? undefined : cpuMsOf(cgroup);
      if (cgroup === undefined || cpuMs === undefined) this.#found.delete(pid);
      else usage.set(pid, { cpuMs, memoryBytes: memoryBytesOf(cgroup) });
    }
    return usage;
  }

  async #search(wanted: ReadonlySet<number>): Promise<void> {
    this.#found = new Map([...this.#found].filter(([pid]) => wanted.has(pid)));
    const known = new Set(this.#found.values());
    let slices = [this.#root];
    let left = DIRECTORIES_MAX;
    for (let depth = 0; depth < DEPTH_MAX && slices.length > 0; depth++) {
      const deeper: string[] = [];
      for (const slice of slices) {
        for (const name of await directoriesIn(slice)) {
          const path = join(slice, name);
          if (left-- <= 0) return;
          if (name.endsWith('.slice')) deeper.push(path);
          else if (name.endsWith('.service') && !known.has(path))
            for (const pid of await processesIn(path)) if (wanted.has(pid)) this.#found.set(pid, path);
        }
      }
      slices = deeper;
    }
  }
}

const unlessGone = (error: NodeJS.ErrnoException): string => {
  if (error.code === 'ENOENT' || error.code === 'ENODEV') return ''; // the executor has ended
  throw error;
};

async function directoriesIn(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    unlessGone(error);
    return [];
  });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

async function processesIn(cgroup: string): Promise<number[]> {
  const text = await readFile(join(cgroup, 'cgroup.procs'), 'latin1').catch(unlessGone);
  return text.split('\n').filter(Boolean).map(Number);
}

/** Undefined where it is gone. */
function cpuMsOf(cgroup: string): number | undefined {
  const [, microseconds] = /^usage_usec (\d+)$/m.exec(statOf(cgroup, 'cpu.stat')) ?? [];
  return microseconds === undefined ? undefined : Math.ceil(Number(microseconds) / 1_000);
}

/** Undefined where it is gone, or the memory controller is off. Source: cgroup-v2 of the kernel's documentation, memory.current. */
function memoryBytesOf(cgroup: string): number | undefined {
  const text = statOf(cgroup, 'memory.current');
  return text === '' ? undefined : Number(text);
}

const stat = Buffer.alloc(STAT_BYTES_MAX);

/** Read at once, since it comes from the kernel's memory: by a thread of Node's it takes ten times as long. Empty where it is gone. */
function statOf(cgroup: string, name: 'cpu.stat' | 'memory.current'): string {
  try {
    const file = openSync(join(cgroup, name), 'r');
    try {
      return stat.toString('latin1', 0, readSync(file, stat));
    } finally {
      closeSync(file);
    }
  } catch (error) {
    return unlessGone(error as NodeJS.ErrnoException);
  }
}
