import { readFile } from 'node:fs/promises';

/** Memory that could be used without swapping, in bytes. Source: proc_meminfo(5), MemAvailable. */
export async function availableMemory(): Promise<number> {
  const kib = /^MemAvailable:\s+(\d+) kB$/m.exec(await readFile('/proc/meminfo', 'latin1'))?.[1];
  if (kib === undefined) throw new Error('/proc/meminfo has no MemAvailable');
  return Number(kib) * 1024;
}
