import { CommandError, EXIT } from '@kpx/broker/output/exit';
import type { Link, Unreadable } from './link.js';

/** Kept of each kind of finding; the others are counted. */
const KEPT_MAX = 1_000;
/** More breaks than this, and the files are no audit log. */
const SEGMENTS_MAX = 100_000;
const TOO_MANY = `More than ${SEGMENTS_MAX} lines do not follow the one before: these files are no audit log of one host.`;
/** Among these a line looks for the one that it follows. */
const RECENT_SEGMENTS = 8;
/** Clocks are adjusted by less than this, in milliseconds. */
const CLOCK_STEP_MS = 1_000;

/** Lines in the order in which they were written, as far as the file has them so. */
interface Segment {
  readonly first: Link;
  last: Link;
  beforeLast: Link | undefined;
}

export type Kind =
  | 'missing' // numbers from..to are not there, between `after` and `before`
  | 'changed' // `after` is not the line that was written: the next one has another hash of it
  | 'out of order' // from..to stand in another order
  | 'added' // `before` follows no line
  | 'unreadable'
  | 'cut by kill' // the process of `after` ended without a word
  | 'beyond the head' // from..to are more than the helper has written
  | 'not the head' // the line of a head is not there: `from` is its number
  | 'part' // a file that cannot be read: `why`
  | 'two at once' // the process of `before` went on beside another one
  | 'new chain'
  | 'older'
  | 'not judged' // heads that may be older than the log: `why` says how many
  | 'partial' // a part of a line
  | 'clock';

export interface Finding {
  readonly kind: Kind;
  readonly from?: number;
  readonly to?: number;
  readonly after?: Link | undefined;
  readonly before?: Link | undefined;
  readonly line?: Unreadable;
  readonly why?: string;
}

/** Follows the lines of the log, in the order of its parts. Pure: it knows of no file and of no head. */
export class Chain {
  readonly findings: Finding[] = [];
  /** Of each kind, all that there were. */
  readonly counts = new Map<Kind, number>();
  readonly #segments: Segment[] = [];
  #ended = true;
  #lines = 0;
  #unnumbered = 0;

  get first(): Link | undefined {
    return this.#segments[0]?.first;
  }

  /** There were lines before the first one. */
  get beginsLate(): boolean {
    return this.first !== undefined && !isBeginning(this.first);
  }

  get last(): Link | undefined {
    return this.#segments.at(-1)?.last;
  }

  get lines(): number {
    return this.#lines;
  }

  /** Lines before the first one with a number. */
  get unnumbered(): number {
    return this.#unnumbered;
  }

  take(line: Link | Unreadable): void {
    this.#lines++;
    if (!('unreadable' in line)) this.#follow(line);
    else if (line.unreadable === 'cut short') this.#find({ kind: 'partial', line });
    else if (this.last !== undefined) this.#find({ kind: 'unreadable', after: this.last, line });
    else this.#unnumbered++;
  }

  #follow(line: Link): void {
    const last = this.last;
    const segment = this.#segments.at(-1);
    const follows = line.seq === (last?.seq ?? 0) + 1 && line.prev === (last?.hash ?? '');
    if (line.glued) this.#find({ kind: 'partial', before: line });
    if (last && (follows || line.prev === '') && Date.parse(line.time) < Date.parse(last.time) - CLOCK_STEP_MS)
      this.#find({ kind: 'clock', after: last, before: line });
    if (last && line.starts && !this.#ended && follows) this.#find({ kind: 'cut by kill', after: last });
    this.#ended = line.ends || (this.#ended && !line.starts && line.pid === last?.pid);
    const continues = segment && line.seq === segment.last.seq + 1;
    // Of two processes that write at the same time each follows its own lines.
    if (continues && (follows || !this.#segments.slice(-RECENT_SEGMENTS).some((other) => other.last.hash === line.prev))) {
      if (!follows) this.#find({ kind: 'changed', from: segment.last.seq, after: segment.last, before: line });
      segment.beforeLast = segment.last;
      segment.last = line;
    } else {
      if (this.#segments.length >= SEGMENTS_MAX) throw new CommandError(EXIT.dataError, TOO_MANY);
      this.#segments.push({ first: line, last: line, beforeLast: undefined });
    }
  }

  /** All lines were taken: says how the runs of lines belong together. */
  end(): void {
    const byLast = new Map(this.#segments.map(({ last }, index) => [last.hash, index]));
    /** Last lines that a process wrote when it was killed, before it could write the head: the next line does not follow them. */
    const cut = new Set<number>();
    let displaced: Segment[] = [];
    let isBack = false;
    const orderIsBack = () => {
      if (isBack && displaced.length > 1) displaced.pop(); // it follows what stands before it, only not right before
      const [from, to] = [Math.min(...displaced.map(({ first }) => first.seq)), Math.max(...displaced.map(({ last }) => last.seq))];
      if (displaced.length > 0) this.#find({ kind: 'out of order', from, to, before: displaced[0]?.first });
      displaced = [];
    };
    for (const [index, segment] of this.#segments.entries()) {
      const { first } = segment;
      const before = this.#segments[index - 1];
      const found = byLast.get(first.prev);
      const follows = found !== undefined && this.#segments[found]?.last.seq === first.seq - 1 ? found : undefined;
      if (before && wasCut(before, first)) {
        cut.add(index - 1);
        this.#find({ kind: 'cut by kill', after: before.last });
      } else if (follows !== undefined && cut.has(follows)) {
        this.#find({ kind: 'two at once', after: this.#segments[follows]?.last, before: first });
      } else if (follows !== undefined) {
        displaced.push(segment);
        isBack = follows < index;
        continue;
      } else {
        this.#unlinked(first, before?.last);
      }
      orderIsBack();
    }
    orderIsBack();
  }

  #unlinked(first: Link, last: Link | undefined): void {
    const begins = isBeginning(first);
    if (last === undefined && !begins) this.#find({ kind: 'older', before: first });
    if (last === undefined) return;
    const around = { after: last, before: first };
    if (begins) this.#find({ kind: 'new chain', ...around });
    else if (first.seq <= last.seq) this.#find({ kind: 'added', from: first.seq, ...around });
    else this.#find({ kind: 'missing', from: last.seq + 1, to: first.seq - 1, ...around });
  }

  #find(finding: Finding): void {
    const count = (this.counts.get(finding.kind) ?? 0) + 1;
    this.counts.set(finding.kind, count);
    if (count <= KEPT_MAX) this.findings.push(finding);
  }
}

const isBeginning = ({ seq, prev }: Link) => seq === 1 && prev === '';

/** Two lines have one number, and both follow the same line: the second is the first line of another process, which found the head from before. */
const wasCut = ({ last, beforeLast }: Segment, next: Link) =>
  next.starts &&
  next.seq === last.seq &&
  next.prev === last.prev &&
  next.hash !== last.hash &&
  (last.starts || beforeLast === undefined || beforeLast.pid === last.pid);
