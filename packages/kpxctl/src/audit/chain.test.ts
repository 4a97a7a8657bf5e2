import { hash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Chain, type Kind } from './chain.js';
import { Heads } from './heads.js';
import { type Link, linkOf } from './link.js';
import { AfterHead } from './local-head.js';

/** Writes lines as the helper does, process by process. */
class Log {
  lines: string[] = [];
  seq = 0;
  prev = '';

  line(pid: number, fields: object, at = this.lines.length): string {
    const begin = JSON.stringify({
      level: 30,
      time: new Date(1_700_000_000_000 + at * 1_000).toISOString(),
      program: 'kpx-privhelper',
      pid,
      ...fields,
    });
    return `${begin.slice(0, -1)},"seq":${this.seq + 1},"prev":"${this.prev}"}`;
  }

  write(pid: number, fields: object): this {
    const line = this.line(pid, fields);
    this.lines.push(line);
    this.seq++;
    this.prev = hash('sha256', line);
    return this;
  }

  process(pid: number, requests: number, end: 'orderly' | 'killed' | 'killed before the head'): this {
    this.write(pid, { msg: 'serving one connection' });
    for (let id = 1; id <= requests; id++)
      this.write(pid, { event: 'request', id, verb: 'prepareUser', knime_user: 'alice', peer: { via: 'fd 3' }, msg: 'audit' });
    if (end === 'orderly') this.write(pid, { msg: 'the peer closed the connection: ending' });
    if (end === 'killed before the head') this.lines.push(this.line(pid, { event: 'received', msg: 'audit' }));
    return this;
  }

  get head() {
    return { seq: this.seq, hash: this.prev };
  }
}

const linkIn = (line: string, index: number) => linkOf(Buffer.from(line), { part: 'audit.jsonl', line: index + 1 });

/** Each kind once, with the numbers of what is missing. */
function found(lines: readonly string[], head?: { seq: number; hash: string }) {
  const chain = new Chain();
  const heads = new Heads(head ? [head] : []);
  for (const line of lines.map(linkIn)) {
    chain.take(line);
    if (!('unreadable' in line)) heads.take(line);
  }
  chain.end();
  const findings = chain.findings.map(({ kind, from, to }) => (kind === 'missing' ? `${kind} ${from}-${to}` : kind));
  return [...new Set([...findings, ...(heads.notSeen(chain).length > 0 ? ['head'] : [])])];
}

const ordinary = () => new Log().process(11, 5, 'orderly').process(12, 3, 'orderly');

describe('the chain of the audit log', () => {
  it('holds over processes that end, are killed, and are killed before they have written the head', () => {
    expect(found(ordinary().lines, ordinary().head)).toEqual([]);
    const log = ordinary().process(13, 2, 'killed').process(14, 2, 'killed before the head').process(15, 2, 'orderly');
    expect(found(log.lines, log.head)).toEqual(['cut by kill']);
    const twice = ordinary().process(13, 2, 'killed before the head');
    twice.lines.push(twice.line(14, { msg: 'serving one connection' }));
    twice.process(15, 1, 'killed before the head');
    expect(found(twice.lines, twice.head)).toEqual(['cut by kill']);
  });

  it('takes a connection that is refused for the end of its process where that has no other', () => {
    const refused = (via: string) => ({ event: 'refused connection', peer: { via, connection: 17 }, msg: 'audit' });
    const inherited = ordinary().write(13, refused('fd 3')).process(14, 1, 'orderly');
    expect(found(inherited.lines, inherited.head)).toEqual([]);
    const listens = ordinary().write(13, { msg: 'listening' }).write(13, refused('/run/kpx/privhelper.sock'));
    expect(found(listens.lines, listens.head)).toEqual([]);
    listens.write(13, { event: 'request', id: 1, verb: 'hello', msg: 'audit' }).process(14, 1, 'orderly');
    expect(found(listens.lines, listens.head)).toEqual(['cut by kill']);
  });

  it('holds where rotation has removed the beginning, which it says', () => {
    const { lines, head } = ordinary();
    expect(found(lines.slice(4), head)).toEqual(['older']);
  });

  it('begins anew after a boot, which it says, and holds to the end of the new chain', () => {
    const before = ordinary();
    const after = new Log();
    for (const line of ordinary().lines)
      after.write(7, { ...JSON.parse(line), time: '2026-11-29T12:00:00.000Z', seq: undefined, prev: undefined });
    expect(found([...before.lines, ...after.lines], after.head)).toEqual(['new chain']);
    expect(found([...before.lines, ...after.lines.slice(0, -1)], after.head)).toEqual(['new chain', 'head']);
    expect(found([...before.lines, ...ordinary().lines], ordinary().head)).toEqual(['clock', 'new chain']);
  });

  const changed = (line = '') => line.replace('alice', 'mallory');
  it.each<[string, (lines: string[]) => string[], string[]]>([
    ['a line removed', (lines) => lines.toSpliced(3, 1), ['missing 4-4']],
    ['some lines removed', (lines) => lines.toSpliced(2, 3), ['missing 3-5']],
    ['a whole process removed', (lines) => lines.toSpliced(7, 5), ['head']],
    ['one changed', (lines) => lines.with(3, changed(lines[3])), ['changed']],
    ['the last one changed', (lines) => lines.with(-1, (lines.at(-1) ?? '').replace('closed', 'opened')), ['head']],
    ['two swapped', (lines) => lines.with(3, lines[4] ?? '').with(4, lines[3] ?? ''), ['out of order']],
    ['the first two swapped', ([first = '', second = '', ...lines]) => [second, first, ...lines], ['out of order', 'new chain']],
    [
      'the chain of somebody else in the middle',
      (lines) => lines.toSpliced(5, 0, ...new Log().process(9, 2, 'orderly').lines),
      ['new chain', 'out of order', 'clock'],
    ],
    [
      'a run of lines moved',
      (lines) => [...lines.slice(0, 2), ...lines.slice(6, 9), ...lines.slice(2, 6), ...lines.slice(9)],
      ['out of order'],
    ],
    ['the end cut', (lines) => lines.slice(0, -3), ['head']],
    ['a line there twice', (lines) => lines.toSpliced(4, 0, lines[3] ?? ''), ['added']],
    ['a line that was never written', (lines) => lines.toSpliced(4, 0, '{"level":30,"msg":"audit"}'), ['unreadable']],
    ['a line that is no JSON', (lines) => lines.toSpliced(4, 0, 'nothing'), ['unreadable']],
    ['a line that is empty', (lines) => lines.toSpliced(4, 0, ''), ['unreadable']],
  ])('shows %s', (_, tampered, kinds) => {
    const { lines, head } = ordinary();
    expect(found(tampered([...lines]), head)).toEqual(expect.arrayContaining(kinds));
    expect(found(tampered([...lines]), head)).toHaveLength(kinds.length);
  });

  it('that somebody else has written anew, with all hashes, is not that of the head', () => {
    const forged = new Log().process(11, 5, 'orderly').process(12, 3, 'orderly');
    const other = new Log();
    for (const line of forged.lines) other.write(666, { ...JSON.parse(changed(line)), seq: undefined, prev: undefined });
    expect(found(other.lines)).toEqual([]);
    expect(found(other.lines, ordinary().head)).toEqual(['head']);
  });

  it('takes no line in the middle of a process for one that a kill has left', () => {
    const { lines, head } = ordinary();
    const log = ordinary();
    Object.assign(log, { seq: 4, prev: hash('sha256', lines[3] ?? '') });
    expect(found(lines.toSpliced(4, 0, log.line(11, { msg: 'forged' }, 4)), head)).toEqual(['added']);
  });

  it('takes no line of another process for one that a kill has left', () => {
    const log = new Log().process(11, 2, 'killed');
    const forged = log.line(99, { event: 'received', msg: 'audit' });
    log.process(12, 2, 'orderly');
    expect(found(log.lines.toSpliced(3, 0, forged), log.head)).toEqual(['added']);
  });

  it('tells two processes that write at the same time', () => {
    const log = ordinary();
    const other = ordinary();
    other.write(21, { msg: 'serving one connection' });
    log.write(22, { msg: 'serving one connection' });
    const lines = [...other.lines, log.lines.at(-1) ?? ''];
    lines.push(other.write(21, { msg: 'a' }).lines.at(-1) ?? '', log.write(22, { msg: 'b' }).lines.at(-1) ?? '');
    expect(found(lines)).toContain('two at once');
    expect(found(lines)).not.toContain('changed');
  });

  it('goes on after a part of a line, which a full file system leaves', () => {
    const log = ordinary();
    log.write(13, { msg: 'serving one connection' });
    expect(found(log.lines.with(-1, `${log.lines[2]?.slice(0, 90)}${log.lines.at(-1)}`), log.head)).toEqual(['partial']);
  });

  it('tells where the clock went back, and is not misled by it', () => {
    const log = ordinary();
    const line = log.line(13, { msg: 'serving one connection' }, -5_000);
    expect(found([...log.lines, line])).toEqual(['clock']);
  });

  it('counts lines from before there were numbers', () => {
    const chain = new Chain();
    for (const [index, line] of ['{"level":30,"msg":"audit"}', ...ordinary().lines].entries()) chain.take(linkIn(line, index));
    chain.end();
    expect([chain.unnumbered, chain.findings]).toEqual([1, []]);
  });

  const problem = (kind: string): boolean =>
    !(['cut by kill', 'new chain', 'older', 'partial', 'clock'] satisfies Kind[] as string[]).includes(kind);

  it('shows whatever single line is taken away, changed or moved, but for the last one of a process that was killed before the head', () => {
    const log = new Log().process(1, 3, 'killed').process(2, 2, 'killed before the head').process(3, 4, 'orderly').process(4, 6, 'killed');
    const beyond = log.lines.findIndex((line, index) => JSON.parse(line).seq === JSON.parse(log.lines[index + 1] ?? '{}').seq);
    const places = fc.nat({ max: log.lines.length - 1 }).filter((index) => index !== beyond);
    fc.assert(
      fc.property(places, places, fc.constantFrom('remove', 'change', 'move'), (index, to, how) => {
        fc.pre(how !== 'move' || index !== to);
        fc.pre(how !== 'remove' || index > 0); // as rotation would
        const line = log.lines[index] ?? '';
        const without = log.lines.toSpliced(index, 1);
        const lines =
          how === 'remove'
            ? without
            : how === 'change'
              ? log.lines.with(index, `${line.slice(0, -1)},"x":1}`)
              : without.toSpliced(to, 0, line);
        expect(found(lines, log.head).some(problem)).toBe(true);
      }),
    );
    expect(found(log.lines, log.head).some(problem)).toBe(false);
  });
});

describe('heads without times', () => {
  const headsIn = (log: Log, ...seqs: number[]) =>
    (log.lines.map(linkIn) as Link[]).filter(({ seq }) => seqs.includes(seq)).map(({ seq, hash }) => ({ seq, hash }));
  const judged = (lines: readonly string[], ...heads: { seq: number; hash: string }[]) => {
    const chain = new Chain();
    const all = new Heads(heads);
    for (const line of lines.map(linkIn) as Link[]) {
      chain.take(line);
      all.take(line);
    }
    chain.end();
    return { notSeen: all.notSeen(chain).map(({ seq }) => seq), notJudged: all.notJudged(chain) };
  };
  const before = ordinary();
  const log = new Log().process(21, 6, 'orderly').process(22, 2, 'orderly');

  it('may be those of a boot before a log without its beginning', () => {
    const heads = [...headsIn(before, 3, 9, 11), ...headsIn(log, 6, 10)];
    expect(judged(log.lines.slice(4), ...heads)).toEqual({ notSeen: [], notJudged: 2 });
    expect(judged(log.lines, ...heads).notSeen).toEqual([3, 9, 11]); // nothing says that there was more
  });

  it('have to be there from the first one on that is there', () => {
    const heads = [...headsIn(before, 9), ...headsIn(log, 6), ...headsIn(before, 10), log.head];
    expect(judged(log.lines.slice(4, -1), ...heads)).toEqual({ notSeen: [10, 12], notJudged: 1 });
  });

  it('are not all older: the newest one has to be there', () => {
    expect(judged(log.lines.slice(4, -1), log.head)).toEqual({ notSeen: [12], notJudged: 0 });
    expect(judged(log.lines.slice(4), ...headsIn(before, 9, 10, 11))).toEqual({ notSeen: [11], notJudged: 2 });
  });
});

describe('lines after the head', () => {
  const linksOf = (log: Log) => log.lines.map(linkIn) as Link[];
  const after = (log: Log, before: Log, now: Log) => {
    const lines = new AfterHead(before.head);
    for (const link of linksOf(log)) lines.take(link);
    return lines.findings(now.head).map(({ from, to }) => [from, to]);
  };

  it('are those of a helper that goes on meanwhile, or the one that a kill has left', () => {
    const longer = ordinary().process(13, 3, 'orderly');
    expect(after(longer, ordinary(), longer)).toEqual([]);
    expect(after(ordinary().process(13, 0, 'orderly'), ordinary(), ordinary().process(13, 3, 'orderly'))).toEqual([]);
    const killed = ordinary();
    killed.lines.push(killed.line(13, { msg: 'serving one connection' }));
    expect(after(killed, ordinary(), ordinary())).toEqual([]);
  });

  it('are more than a helper has written, where the head does not follow', () => {
    expect(after(ordinary().process(13, 1, 'orderly'), ordinary(), ordinary())).toEqual([[14, 15]]);
  });
});
