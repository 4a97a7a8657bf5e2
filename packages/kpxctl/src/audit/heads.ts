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
  /** Lines of their file that are no heads. */
  readonly skipped: number;
  readonly #byHash = new Map<string, Head>();

  constructor(heads: readonly Head[], skipped = 0) {
    for (const head of heads) this.#byHash.set(head.hash, head);
    this.skipped = skipped;
  }

  get newest(): Head | undefined {
    return [...this.#byHash.values()].at(-1);
  }

  get noneSeen(): boolean {
    return [...this.#byHash.values()].every(({ seen }) => seen === undefined);
  }

  take(line: Link): void {
    const head = this.#byHash.get(line.hash);
    if (head?.seq === line.seq) head.seen = line;
  }

  /** Those whose lines were not among those that were taken, but for heads that are older than the log's first line, or may be. */
  notSeen(chain: Chain): Head[] {
    return this.#notSeen(chain).flatMap(({ head, age }) => (age === 'not known' ? [head] : []));
  }

  /** How many may be older than the log's first line, or not. */
  notJudged(chain: Chain): number {
    return this.#notSeen(chain).filter(({ age }) => age === 'perhaps older').length;
  }

  #notSeen(chain: Chain) {
    const heads = [...this.#byHash.values()];
    const firstSeen = heads.findIndex(({ seen }) => seen !== undefined);
    // The newest one has to be there in any case.
    const before = firstSeen === -1 ? heads.length - 1 : firstSeen;
    return heads.flatMap((head, index) =>
      head.seen === undefined ? [{ head, age: index < before ? ageOf(head, chain) : ('not known' as const) }] : [],
    );
  }
}

/** Of a head before another one. Numbers begin anew with each boot: without a time, it may be one of a boot before the log's first line. */
function ageOf({ seq, time }: Head, { first, beginsLate }: Chain): 'older' | 'perhaps older' | 'not known' {
  if (first === undefined) return 'not known';
  if (time === undefined ? seq < first.seq : Date.parse(time) < Date.parse(first.time)) return 'older';
  return time === undefined && beginsLate ? 'perhaps older' : 'not known';
}

/** A number and a hash, as the helper writes its head. */
export function headIn(text: string): Head | undefined {
  const [, seq, hash = ''] = /^([1-9]\d{0,14}) ([0-9a-f]{64})$/.exec(text) ?? [];
  return seq === undefined ? undefined : { seq: Number(seq), hash };
}

/**
 * Reads heads: each line is a number and a hash, as the helper's own head has them, or a whole line of the audit log, as a journal has it. Others
 * are counted: what the helper has said in plain words is in the journal, too. Throws a CommandError where there is no head.
 */
export async function readHeads(file: string): Promise<Heads> {
  const heads: Head[] = [];
  let at = 0;
  let neither: number | undefined;
  for await (const { text } of linesOf(file)) {
    at++;
    const head = headIn(text.toString('latin1'));
    const line = head === undefined ? linkOf(text, { part: file, line: at }) : undefined;
    if (head !== undefined) heads.push(head);
    else if (line && !('unreadable' in line)) heads.push({ seq: line.seq, hash: line.hash, time: line.time });
    else if (line?.unreadable !== 'without number') neither ??= at;
    if (heads.length > HEADS_MAX) throw new CommandError(EXIT.noInput, `${file} has more than ${HEADS_MAX} heads: leave the oldest out.`);
  }
  if (heads.length > 0) return new Heads(heads, at - heads.length);
  throw new CommandError(EXIT.noInput, neither === undefined ? `${file} has no head.` : `${file}, line ${neither}: ${NEITHER}`);
}

const NEITHER = 'neither a number and a hash nor a line of the audit log (journalctl --output=cat prints those). The file has no head.';
