import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Usage } from '../executors/events.js';

/** Where systemd has the cgroups of all executors: kpx-executors.slice, of the unified hierarchy. Source: systemd.slice(5), cgroups(7). */
const EXECUTORS = '/sys/fs/cgroup/kpx.slice/kpx-executors.slice';
/** Slices in one another that are looked into: an administrator may give a profile one of its own. */
const DEPTH_MAX = 3;
/** Directories that one search looks into; the helper starts no more than 5,000 executors. */
const DIRECTORIES_MAX = 6_000;

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
    for (const pid of pids) {
      const cgroup = this.#found.get(pid);
      const cpuMs = cgroup === undefined ? undefined : await cpuMsOf(cgroup);
      if (cgroup === undefined || cpuMs === undefined) this.#found.delete(pid);
      else usage.set(pid, { cpuMs, memoryBytes: await memoryBytesOf(cgroup) });
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
async function cpuMsOf(cgroup: string): Promise<number | undefined> {
  const text = await readFile(join(cgroup, 'cpu.stat'), 'latin1').catch(unlessGone);
  const [, microseconds] = /^usage_usec (\d+)$/m.exec(text) ?? [];
  return microseconds === undefined ? undefined : Math.ceil(Number(microseconds) / 1_000);
}

/** Undefined where it is gone, or the memory controller is off. Source: cgroup-v2 of the kernel's documentation, memory.current. */
async function memoryBytesOf(cgroup: string): Promise<number | undefined> {
  const text = await readFile(join(cgroup, 'memory.current'), 'latin1').catch(unlessGone);
  return text === '' ? undefined : Number(text);
}
