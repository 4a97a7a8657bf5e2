import { CommandError, EXIT } from '@kpx/broker/output/exit';
import type { Chain } from './chain.js';
import { type Link, linkOf } from './link.js';
import { linesOf } from './parts.js';

/** Kept in memory, some 200 bytes each. */
const HEADS_MAX = 1_000_000;

/** The number and the hash that the log had reached at one time. `time`: of a head that came as a line of the log. */
export interface Head {
  readonly seq: number;
  readonly hash: string;
  readonly time?: string;
  seen?: Link;
}

/** Heads, oldest first. */
export class Heads {
  readonly #byHash = new Map<string, Head>();

  constructor(heads: readonly Head[]) {
    for (const head of heads) this.#byHash.set(head.hash, head);
  }

  get newest(): Head | undefined {
    return [...this.#byHash.values()].at(-1);
  }

  take(line: Link): void {
    const head = this.#byHash.get(line.hash);
    if (head?.seq === line.seq) head.seen = line;
  }

  /** Those whose lines were not among those that were taken, but for heads that are older than the log's first line. */
  notSeen({ first }: Chain): Head[] {
    const heads = [...this.#byHash.values()];
    const firstSeen = heads.findIndex(({ seen }) => seen !== undefined);
    const isOlder = ({ seq, time }: Head, index: number) =>
      first !== undefined && index < firstSeen && (time === undefined ? seq < first.seq : Date.parse(time) < Date.parse(first.time));
    return heads.filter((head, index) => head.seen === undefined && !isOlder(head, index));
  }
}

/** A number and a hash, as the helper writes its head. */
export function headIn(text: string): Head | undefined {
  const [, seq, hash = ''] = /^([1-9]\d{0,14}) ([0-9a-f]{64})$/.exec(text) ?? [];
  return seq === undefined ? undefined : { seq: Number(seq), hash };
}

/**
 * Reads heads: each line is a number and a hash, as the helper's own head has them, or a whole line of the audit log, as a journal has it.
 * Throws a CommandError where a line is neither.
 */
export async function readHeads(file: string): Promise<Heads> {
  const heads: Head[] = [];
  let at = 0;
  for await (const { text } of linesOf(file)) {
    at++;
    const head = headIn(text.toString('latin1'));
    const line = head === undefined ? linkOf(text, { part: file, line: at }) : undefined;
    if (head !== undefined) heads.push(head);
    else if (line && !('unreadable' in line)) heads.push({ seq: line.seq, hash: line.hash, time: line.time });
    else if (line?.unreadable !== 'without number') throw new CommandError(EXIT.noInput, `${file}, line ${at}: ${NEITHER}`);
    if (heads.length > HEADS_MAX) throw new CommandError(EXIT.noInput, `${file} has more than ${HEADS_MAX} heads: leave the oldest out.`);
  }
  return new Heads(heads);
}

const NEITHER = 'neither a number and a hash nor a line of the audit log (journalctl --output=cat prints those).';
