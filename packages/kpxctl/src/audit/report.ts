import { bold, failure, success } from '@kpx/broker/output/terminal';
import { printable } from '@kpx/protocol';
import type { Chain, Finding, Kind } from './chain.js';
import type { Head } from './heads.js';
import type { Link } from './link.js';
import type { LocalHead } from './local-head.js';

export interface Verified {
  readonly directory: string;
  readonly parts: readonly string[];
  readonly chain: Chain;
  readonly findings: readonly Finding[];
  /** The newest one. */
  readonly head: Head | undefined;
  /** Lines of the file of heads that are none. */
  readonly skipped: number;
  readonly local: LocalHead | undefined;
}

/** Shown of each kind; JSON has more. */
const SHOWN_MAX = 20;

/** These are no sign that somebody has changed the log. */
const NOTES: readonly Kind[] = ['cut by kill', 'new chain', 'older', 'not judged', 'partial', 'clock'];

export const isProblem = ({ kind }: Finding) => !NOTES.includes(kind);

const at = ({ place: { part, line } }: Pick<Link, 'place'>) => `${part}:${line}`;
const named = (line: Link | undefined) =>
  line ? `line ${line.seq} (${at(line)}: ${line.about}, process ${line.pid}, ${line.time})` : 'the beginning';
const numbers = ({ from = 0, to = from }: Finding) => (from === to ? `line ${from}` : `lines ${from} to ${to} (${to - from + 1})`);

/** The text of a finding, behind its kind. */
const TEXTS: Readonly<Record<Kind, (finding: Finding) => string>> = {
  missing: (finding) => {
    const { after, before } = finding;
    return `${numbers(finding)}, ${before ? `between ${named(after)} and ${named(before)}` : `after ${named(after)}`}`;
  },
  changed: ({ after, before }) => `${named(after)}: the next line has another hash of it, ${named(before)}`,
  'out of order': (finding) => `${numbers(finding)}, from ${named(finding.before)} on`,
  added: ({ after, before }) => `${named(before)} stands after ${named(after)}, and does not follow it`,
  unreadable: ({ line, after }) => `${line && at(line)} is no line of the log (${line?.unreadable}), after ${named(after)}`,
  'beyond the head': (finding) => `${numbers(finding)}: more than a helper has written, from ${named(finding.before)} on`,
  'not the head': ({ from, why, before }) =>
    `line ${from} is not the one of the head${why === undefined ? '' : ` of ${why}`}: the log was written anew, up to there at least` +
    (before === undefined ? '' : `, or no head is as new as the log, which begins with ${named(before)}`),
  part: ({ why }) => String(why),
  'two at once': ({ before }) => `${named(before)}: another process wrote at the same time`,
  'cut by kill': ({ after }) => `process ${after?.pid}, after ${named(after)}`,
  'new chain': ({ before, after }) =>
    `${named(before)}: there was no head, as after a boot. Lines that stood right after ${named(after)} would not be missed`,
  older: ({ before }) => `the log begins with ${named(before)}: lines before it were rotated away, or removed`,
  'not judged': ({ why }) => `${why}: older than the log, or lost. They have no times, and numbers begin anew with each boot`,
  partial: ({ before, line = before }) =>
    `${line && at(line)} has a part of a line: the file system was full, or the machine lost its power`,
  clock: ({ before, after }) => `the clock went back from ${after?.time} to ${before?.time}, at ${named(before)}`,
};

const textOf = (finding: Finding) => TEXTS[finding.kind](finding);

export function forPeople({ directory, parts, chain, findings, head, skipped, local }: Verified): string {
  const { first, last, lines, unnumbered } = chain;
  const range = first && last ? `, ${first.seq} (${first.time}) to ${last.seq} (${last.time})` : '';
  const problems = findings.filter(isProblem);
  const notes = findings.filter((finding) => !isProblem(finding));
  const all = [
    `${directory}: ${parts.length} ${parts.length === 1 ? 'part' : 'parts'}, ${lines} lines${range}`,
    ...shown(problems, chain).map((line) => failure(line)),
    ...shown(notes, chain),
    ...(unnumbered === 0 ? [] : [`before numbers: ${unnumbered} lines have none, of a version before; nothing proves them`]),
    ...(skipped === 0 ? [] : [`no heads: ${skipped} ${skipped === 1 ? 'line' : 'lines'} of the file that --head names; left out`]),
    ...(head === undefined ? [`no head: ${local === 'no helper' ? NO_HELPER : NO_HEAD}`] : []),
    bold(problems.length === 0 ? success(soundWith(head, last)) : `The audit log is not as it was written. ${ADVICE}`),
  ];
  return `${all.join('\n')}\n`;
}

const NO_HELPER = 'no helper was started since this machine has booted; lines that were cut off at the end would not be missed';
const NO_HEAD = 'without --head, lines that were cut off at the end would not be missed';
const ADVICE = 'Keep a copy of the files and of the journal, and see docs/audit.md, "The chain of the audit log".';

function soundWith(head: Head | undefined, last: Link | undefined): string {
  if (head === undefined) return 'Each line follows the one before.';
  const after = Math.max((last?.seq ?? 0) - head.seq, 0);
  return `Each line follows the one before, and the head, number ${head.seq}, is there.${after === 0 ? '' : ` It does not prove the ${after} after it.`}`;
}

function shown(findings: readonly Finding[], { counts }: Chain): string[] {
  return [...new Set(findings.map(({ kind }) => kind))].flatMap((kind) => {
    const ofKind = findings.filter((finding) => finding.kind === kind);
    const more = Math.max(counts.get(kind) ?? 0, ofKind.length) - SHOWN_MAX;
    return [
      ...ofKind.slice(0, SHOWN_MAX).map((finding) => printable(`${kind}: ${textOf(finding)}`)),
      ...(more > 0 ? [`${kind}: ${more} more`] : []),
    ];
  });
}

export function forPrograms({ directory, parts, chain, findings, head, skipped }: Verified): string {
  const { first, last, lines, unnumbered, counts } = chain;
  const bare = (line: Link | undefined) =>
    line && { seq: line.seq, part: line.place.part, line: line.place.line, pid: line.pid, time: line.time, about: line.about };
  const told = findings.map((finding) => {
    const { kind, from, to, after, before } = finding;
    return { kind, problem: isProblem(finding), from, to, after: bare(after), before: bare(before), text: textOf(finding) };
  });
  const ends = { first: bare(first), last: bare(last), head: head && { seq: head.seq, hash: head.hash } };
  const result = { ok: !findings.some(isProblem), directory, parts, lines, unnumbered, heads_left_out: skipped, ...ends };
  return `${JSON.stringify({ ...result, counts: Object.fromEntries(counts), findings: told })}\n`;
}
