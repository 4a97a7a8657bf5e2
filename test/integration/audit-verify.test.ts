import { hash, randomInt } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { HelperConnection } from '../fixtures/helper-connection.js';
import { HelperInstallation, idsOf } from '../fixtures/helper-installation.js';
import { runKpxctl } from './installed-kpx.js';

/*
 * kpxctl audit verify, of what real helpers have written: where the unit has them write it, as root, killed in the middle of many requests.
 */

const DIRECTORY = '/var/log/kpx';
const LOG = `${DIRECTORY}/audit.jsonl`;
const HEADS = '/run/kpx/audit';
const HEAD = `${HEADS}/head`;
const KILLS = 12;
/** Helpers that are killed between a line and the head: strace(1) does it when that write begins. */
const KILLS_BEFORE_HEAD = 3;
const REQUESTS_AT_ONCE = 60;
const STORY_TIMEOUT_MS = 240_000;

const ENVIRONMENT = ['/usr/bin/env', `LOGS_DIRECTORY=${DIRECTORY}`, `RUNTIME_DIRECTORY=/run/kpx/executors:${HEADS}:/run/kpx/node`];
const KILLED_AT_THE_HEAD = [
  ...['/usr/bin/strace', '--follow-forks', '--output=/dev/null', `--trace-path=${HEAD}`],
  '--inject=pwrite64:signal=SIGKILL:when=25',
];

let installation: HelperInstallation;

interface Finding {
  readonly kind: string;
  readonly problem: boolean;
  readonly text: string;
  readonly from?: number;
  readonly to?: number;
  readonly after?: { readonly seq: number; readonly pid: number };
}

async function verify(...args: string[]) {
  const { code, stdout, stderr } = await runKpxctl(['audit', 'verify', '--json', ...args]);
  expect(stderr).toBe('');
  const said = JSON.parse(stdout) as { ok: boolean; lines: number; first: { seq: number }; last: { seq: number }; findings: Finding[] };
  return { code, ...said, problems: said.findings.filter(({ problem }) => problem) };
}

const linesOf = (file = LOG) => readFileSync(file, 'utf8').trimEnd().split('\n');

/** Many requests on some connections, answered or not. */
async function ask(): Promise<void> {
  const connections = await Promise.all([1, 2, 3].map(() => HelperConnection.greeted(installation.socket)));
  const asked = connections.flatMap((connection) =>
    Array.from({ length: REQUESTS_AT_ONCE }, (_, index) => (index % 10 === 0 ? connection.prepare('root') : connection.list())),
  );
  await Promise.allSettled(asked);
  for (const connection of connections) connection.close();
}

async function helperThatEnds(wrap: string[], end: () => Promise<unknown>): Promise<void> {
  await installation.startHelper({ wrap: [...wrap, ...ENVIRONMENT] });
  const gone = new Promise((resolve) => installation.helper?.once('close', resolve));
  await Promise.all([ask().catch(() => {}), end()]);
  await gone;
}

const killed = () =>
  helperThatEnds([], async () => {
    await delay(randomInt(1, 250));
    installation.helper?.kill('SIGKILL');
  });

/** The same log for all tests, each of which works on a copy of it. */
beforeAll(async () => {
  installation = new HelperInstallation();
  for (const directory of [DIRECTORY, HEADS]) {
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }
  for (let kill = 0; kill < KILLS; kill++) {
    await killed();
    if (kill < KILLS_BEFORE_HEAD) await helperThatEnds(KILLED_AT_THE_HEAD, async () => {});
  }
  await helperThatEnds([], async () => {
    await ask();
    await installation.endHelper();
  });
}, STORY_TIMEOUT_MS);

afterAll(async () => {
  await installation.endHelper();
  installation.removeDirectories();
  for (const directory of [DIRECTORY, HEADS]) rmSync(directory, { recursive: true, force: true });
});

/** A copy of log and head, as what is done to it leaves them. */
function copied(tamper: (lines: string[]) => readonly string[]): string[] {
  const directory = mkdtempSync('/var/log/kpx-copy-');
  onTestFinished(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, 'audit.jsonl'), `${tamper(linesOf()).join('\n')}\n`);
  cpSync(HEAD, join(directory, 'head'));
  return ['--directory', directory, '--head', join(directory, 'head')];
}

/** Somewhere in the log where no process begins or ends, and no line is one too many. */
function inTheMiddle(lines: readonly string[]): number {
  const seqs = lines.map((line) => JSON.parse(line));
  const fits = (index: number) =>
    [-2, -1, 0, 1, 2].every((by) => {
      const [one, next] = [seqs[index + by], seqs[index + by + 1]];
      return one?.event === 'request' && next?.event === 'request' && one.pid === next.pid && one.seq + 1 === next.seq;
    });
  return seqs.findIndex((_, index) => index > lines.length / 3 && fits(index));
}

describe('kpxctl audit verify', () => {
  it('says cut by kill, and nothing else, after helpers were killed at any time', async () => {
    const numbers = linesOf().map((line) => JSON.parse(line).seq);
    const twice = numbers.filter((seq, index) => seq === numbers[index + 1]);
    expect(twice.length).toBeGreaterThanOrEqual(KILLS_BEFORE_HEAD);
    const { code, problems, findings, lines, first, last } = await verify();
    expect({ code, problems, lines, first: first.seq, last: last.seq }).toEqual({
      ...{ code: 0, problems: [], lines: numbers.length, first: 1 },
      last: numbers.length - twice.length,
    });
    expect(new Set(findings.map(({ kind }) => kind))).toEqual(new Set(['cut by kill']));
    expect(findings).toHaveLength(KILLS + KILLS_BEFORE_HEAD);
    const { stdout } = await runKpxctl(['audit', 'verify']);
    expect(stdout).toMatch(
      /^\/var\/log\/kpx: 1 part, \d+ lines, 1 \(.*\ncut by kill: process \d+, after line \d+ \(audit\.jsonl:\d+: .*\n/,
    );
    expect(stdout).toMatch(/\nEach line follows the one before, and the head, number \d+, is there\.\n$/);
  });

  const forged = (lines: readonly string[]) => {
    let prev = '';
    return lines.map((line, index) => {
      const made = { ...JSON.parse(line.replaceAll('"root"', '"alice"')), seq: index + 1, prev };
      prev = hash('sha256', JSON.stringify(made));
      return JSON.stringify(made);
    });
  };
  it.each<[string, (lines: string[], at: number) => readonly string[], (at: number, last: number) => Partial<Finding>]>([
    ['a line removed', (lines, at) => lines.toSpliced(at, 1), (seq) => ({ kind: 'missing', from: seq, to: seq })],
    [
      'one changed',
      (lines, at) => lines.with(at, String(lines[at]).replace('"request"', '"received"')),
      (from) => ({ kind: 'changed', from }),
    ],
    [
      'two swapped',
      (lines, at) => lines.with(at, String(lines[at + 1])).with(at + 1, String(lines[at])),
      (seq) => ({ kind: 'out of order', from: seq, to: seq + 1 }),
    ],
    ['the end cut', (lines) => lines.slice(0, -7), (_, last) => ({ kind: 'missing', from: last - 6, to: last })],
    ['a chain forged by somebody who cannot write the head', forged, (_, last) => ({ kind: 'not the head', from: last })],
    [
      'a line that no helper has written',
      (lines, at) => lines.toSpliced(at, 0, '{"level":30,"msg":"audit"}'),
      () => ({ kind: 'unreadable' }),
    ],
  ])('finds %s', async (_, tamper, finding) => {
    const at = inTheMiddle(linesOf());
    const { seq, pid } = JSON.parse(linesOf()[at] ?? '');
    const last = JSON.parse(linesOf().at(-1) ?? '').seq;
    const args = copied((lines) => tamper(lines, at));
    const { code, problems } = await verify(...args);
    expect([code, problems.length > 0]).toEqual([65, true]);
    const wanted = finding(seq, last);
    expect(problems).toContainEqual(expect.objectContaining(wanted));
    if (wanted.kind === 'missing' && wanted.to === seq) {
      const around = [seq - 1, seq + 1].map(
        (number) => `line ${number} \\(audit\\.jsonl:\\d+: request \\d+, \\w+[^,]*, its outcome, process ${pid}, [^)]*\\)`,
      );
      expect(problems).toHaveLength(1);
      expect(problems[0]?.text).toMatch(new RegExp(`^line ${seq}, between ${around.join(' and ')}$`));
    }
    const { code: alsoForPeople, stdout } = await runKpxctl(['audit', 'verify', ...args]);
    expect([alsoForPeople, stdout.includes('The audit log is not as it was written.')]).toEqual([65, true]);
  });

  it('reads rotated parts, packed ones too, and misses one that is not there', async () => {
    const lines = linesOf();
    const third = inTheMiddle(lines);
    const args = copied(() => lines.slice(third + 40));
    const directory = String(args[1]);
    writeFileSync(join(directory, 'audit.jsonl.2.gz'), gzipSync(`${lines.slice(0, third).join('\n')}\n`));
    writeFileSync(join(directory, 'audit.jsonl.1'), `${lines.slice(third, third + 40).join('\n')}\n`);
    expect(await verify(...args)).toMatchObject({ code: 0, lines: lines.length, problems: [] });
    rmSync(join(directory, 'audit.jsonl.1'));
    expect(await verify(...args)).toMatchObject({ code: 65, problems: [{ kind: 'missing', from: JSON.parse(lines[third] ?? '').seq }] });
    writeFileSync(join(directory, 'audit.jsonl.1.gz'), gzipSync(`${lines.slice(third, third + 40).join('\n')}\n`).subarray(0, 200));
    expect((await verify(...args)).problems.map(({ kind }) => kind)).toEqual(['part', 'missing']);
    for (const part of ['audit.jsonl.1.gz', 'audit.jsonl.2.gz']) rmSync(join(directory, part));
    expect(await verify(...args)).toMatchObject({
      code: 0,
      findings: expect.arrayContaining([expect.objectContaining({ kind: 'older' })]),
    });
  });

  it('takes a last line that is cut short for what it is', async () => {
    const args = copied((lines) => lines);
    const file = join(String(args[1]), 'audit.jsonl');
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, `${text}{"level":30,"time":"20`);
    expect(await verify(...args)).toMatchObject({
      code: 0,
      findings: expect.arrayContaining([expect.objectContaining({ kind: 'partial' })]),
    });
    writeFileSync(file, text.slice(0, -10));
    expect((await verify(...args)).problems).toEqual([expect.objectContaining({ kind: 'missing' })]);
  });

  it('compares with lines that another host has kept: also what root has written anew, head included, shows', async () => {
    const kept = linesOf();
    const args = copied(() => kept);
    const elsewhere = join(String(args[1]), 'lines');
    writeFileSync(elsewhere, `the audit log cannot be written: ENOSPC\n${kept.slice(20, -5).join('\n')}\n`);
    expect(await verify('--directory', String(args[1]), '--head', elsewhere)).toMatchObject({ code: 0, problems: [], heads_left_out: 1 });
    const { stdout } = await runKpxctl(['audit', 'verify', '--directory', String(args[1]), '--head', elsewhere]);
    expect(stdout).toContain('\nno heads: 1 line of the file that --head names; left out\n');
    writeFileSync(join(String(args[1]), 'audit.jsonl'), `${forged(kept).join('\n')}\n`);
    const { code, problems } = await verify('--directory', String(args[1]), '--head', elsewhere);
    expect([code, new Set(problems.map(({ kind }) => kind))]).toEqual([65, new Set(['not the head'])]);
  });

  it('leaves heads out that may be of a boot before what is left of the log, but not the newest one', async () => {
    const whole = linesOf();
    const args = copied((lines) => lines.slice(20));
    const head = readFileSync(HEAD, 'utf8');
    const former = `${whole.length + 100} ${'0'.repeat(64)}`;
    writeFileSync(String(args[3]), `${former}\n${head}`);
    expect(await verify(...args)).toMatchObject({
      ...{ code: 0, problems: [] },
      findings: expect.arrayContaining([
        expect.objectContaining({ kind: 'not judged', text: expect.stringMatching(/^1 head: older than/) }),
      ]),
    });
    writeFileSync(String(args[3]), `${head.trimEnd()}\n${former}\n`);
    expect(await verify(...args)).toMatchObject({ code: 65, problems: [{ kind: 'missing' }] });
    writeFileSync(String(args[3]), `40 ${'0'.repeat(64)}\n`);
    expect(await verify(...args)).toMatchObject({
      ...{ code: 65, problems: [{ kind: 'not the head', text: expect.stringContaining('or no head is as new as the log') }] },
    });
  });

  it('holds while a helper writes and logrotate is at work', async () => {
    await installation.startHelper({ wrap: ENVIRONMENT });
    let isWriting = true;
    const writing = (async () => {
      while (isWriting) await ask();
    })();
    for (let round = 1; round <= 4; round++) {
      const answers = await Promise.all([verify(), round % 2 === 0 && delay(50).then(() => renameSync(LOG, `${LOG}.${9 - round}`))]);
      expect(answers[0]).toMatchObject({ code: 0, problems: [] });
    }
    isWriting = false;
    await writing;
    await installation.endHelper();
    expect(await verify()).toMatchObject({ code: 0, problems: [] });
    const whole = [`${LOG}.7`, `${LOG}.5`, LOG].filter(existsSync).flatMap(linesOf);
    rmSync(`${LOG}.7`);
    rmSync(`${LOG}.5`);
    writeFileSync(LOG, `${whole.join('\n')}\n`);
  });

  it('needs root, and a head that is one', async () => {
    expect(await runKpxctl(['audit', 'verify'], idsOf('bob'))).toMatchObject({
      code: 77,
      stderr: expect.stringContaining('run this as root'),
    });
    const other = await runKpxctl(['audit', 'verify', '--head', '/etc/hostname']);
    expect(other).toMatchObject({ code: 66, stderr: expect.stringContaining('/etc/hostname, line 1: neither a number and a hash') });
    const [, directory = '', , head = ''] = copied((lines) => lines);
    rmSync(join(directory, 'audit.jsonl'));
    expect(await runKpxctl(['audit', 'verify', '--directory', directory, '--head', head])).toMatchObject({
      ...{ code: 66, stderr: `There is no audit.jsonl in ${directory}.\n` },
    });
  });

  it('says that a head was removed, and that there is none before the first helper', async () => {
    renameSync(HEADS, `${HEADS}-away`);
    onTestFinished(() => {
      rmSync(HEADS, { recursive: true, force: true });
      renameSync(`${HEADS}-away`, HEADS);
    });
    expect(await runKpxctl(['audit', 'verify'])).toMatchObject({ code: 0, stdout: expect.stringContaining('no helper was started since') });
    mkdirSync(HEADS, { mode: 0o700 });
    expect(await verify()).toMatchObject({ code: 65, problems: [{ kind: 'part', text: `${HEAD} is not there, or is none` }] });
  });
});
