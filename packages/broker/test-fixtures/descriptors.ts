import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readdirSync } from 'node:fs';

/** How many descriptors this process may have more than it has, in the test. */
const FREE = 32;

const limit = (descriptors: string) => execFileSync('/usr/bin/prlimit', ['--pid', `${process.pid}`, `--nofile=${descriptors}:`]);

/** Does this while no descriptor of this process is free. */
export async function withoutDescriptors<T>(work: () => Promise<T>): Promise<T> {
  const own = execFileSync('/usr/bin/prlimit', ['--pid', `${process.pid}`, '--nofile', '--raw', '--noheadings', '--output', 'SOFT'], {
    encoding: 'utf8',
  });
  limit(`${Math.max(...readdirSync('/proc/self/fd').map(Number)) + FREE}`);
  const opened: number[] = [];
  try {
    for (;;) opened.push(openSync('/dev/null', 'r'));
  } catch {
    return await work();
  } finally {
    for (const descriptor of opened) closeSync(descriptor);
    limit(own.trim());
  }
}
