import { closeSync, openSync, readSync } from 'node:fs';
import type { Kpx } from '../fixtures/kpx.js';

const READ_BYTES = 256 * 1024;

/** The record of one executor, as far as it was read. */
interface Done {
  readonly path: string;
  /** In bytes. */
  at: number;
  jobs: number;
  /** Lines: the last one that is whole, and the beginning of the next. */
  last: string;
  rest: string;
}

/** The jobs that stand-in executors have done, counted as their records grow: reading a record from its beginning at each look would take most of the time. */
export class DoneJobs {
  readonly #files: Done[];
  readonly #bytes = Buffer.alloc(READ_BYTES);

  constructor(kpx: Kpx, users: readonly string[]) {
    this.#files = users.map((user) => ({ path: `${kpx.workspaces}/${user}/jobs-done.jsonl`, at: 0, jobs: 0, last: '', rest: '' }));
  }

  /** Of all users, since the beginning. */
  get count(): number {
    let jobs = 0;
    for (const file of this.#files) {
      this.#read(file);
      jobs += file.jobs;
    }
    return jobs;
  }

  /** When the last one was done, in milliseconds since the epoch, as of the last look. */
  get lastAt(): number {
    return Math.max(...this.#files.map(({ last }) => (last === '' ? 0 : JSON.parse(last).at)));
  }

  #read(file: Done): void {
    const descriptor = openSync(file.path, 'r');
    try {
      for (let bytes = -1; bytes !== 0; file.at += bytes) {
        bytes = readSync(descriptor, this.#bytes, 0, READ_BYTES, file.at);
        const lines = (file.rest + this.#bytes.toString('latin1', 0, bytes)).split('\n');
        file.rest = lines.pop() ?? '';
        file.jobs += lines.length;
        file.last = lines.at(-1) ?? file.last;
      }
    } finally {
      closeSync(descriptor);
    }
  }
}
