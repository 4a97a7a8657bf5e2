import { randomBytes } from 'node:crypto';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it, onTestFinished } from 'vitest';
import { readHeads } from './heads.js';
import { closeParts, linesOf, openParts } from './parts.js';

const HASH = '0'.repeat(64);

function directoryWith(files: Record<string, string | Buffer>): string {
  const directory = mkdtempSync(join(tmpdir(), 'kpx-audit-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content);
  return directory;
}

async function read(directory: string) {
  const { parts, others } = await openParts(directory);
  const lines: string[] = [];
  for (const part of parts) for await (const { text, whole } of linesOf(part)) lines.push(`${part.name}: ${text}${whole ? '' : ' (cut)'}`);
  await closeParts(parts);
  return { lines, others };
}

describe('the parts of the audit log', () => {
  it('are read oldest first, packed ones too, whatever logrotate names them by', async () => {
    const numbered = {
      'audit.jsonl': '5\n',
      'audit.jsonl.1': '4\n',
      'audit.jsonl.2.gz': gzipSync('3\n'),
      'audit.jsonl.10.gz': gzipSync('1\n2\n'),
    };
    expect((await read(directoryWith(numbered))).lines).toEqual([
      'audit.jsonl.10.gz: 1',
      'audit.jsonl.10.gz: 2',
      'audit.jsonl.2.gz: 3',
      'audit.jsonl.1: 4',
      'audit.jsonl: 5',
    ]);
    const dated = { 'audit.jsonl': '3\n', 'audit.jsonl-20261122': '2\n', 'audit.jsonl-20261115.gz': gzipSync('1\n') };
    expect((await read(directoryWith(dated))).lines.map((line) => line.at(-1))).toEqual(['1', '2', '3']);
  });

  it('are read oldest first also where some have a number and some a date, since dateext was changed', async () => {
    const line = (day: number, seq: number) =>
      `{"level":30,"time":"2026-11-${day}T12:00:00.000Z","pid":1,"msg":"audit","seq":${seq},"prev":"${HASH}"}\n`;
    const long = `${line(20, 1)}${randomBytes(100_000).toString('hex')}\n`;
    const seqs = async (files: Record<string, string | Buffer>) =>
      (await read(directoryWith(files))).lines
        .map((text) => /"seq":(\d)/.exec(text)?.[1])
        .filter(Boolean)
        .join('');
    const dated = { 'audit.jsonl-20261122.gz': gzipSync(long), 'audit.jsonl-20261124': line(22, 2) };
    const numbered = { 'audit.jsonl.2.gz': gzipSync(line(24, 3)), 'audit.jsonl.1': line(26, 4) };
    expect(await seqs({ ...dated, ...numbered, 'audit.jsonl': line(28, 5) })).toBe('12345');
    const after = { 'audit.jsonl-20261130': line(28, 5), 'audit.jsonl': line(29, 6) };
    expect(await seqs({ ...numbered, ...after })).toBe('3456');
    expect(await seqs({ ...dated, ...numbered, ...after, 'audit.jsonl.3.gz': gzipSync('{}\n') })).toBe('123456');
  });

  it('are read once where logrotate has not finished packing one', async () => {
    const half = { 'audit.jsonl': '2\n', 'audit.jsonl.1': '1\n', 'audit.jsonl.1.gz': gzipSync('1\n').subarray(0, 12) };
    expect((await read(directoryWith(half))).lines.map((line) => line.at(-1))).toEqual(['1', '2']);
  });

  it('say which files are left out', async () => {
    expect((await read(directoryWith({ 'audit.jsonl': '', 'audit.jsonl.1.xz': '', 'other.log': '' }))).others).toEqual([
      'audit.jsonl.1.xz',
    ]);
  });

  it('have lines of any length, the last one without an end', async () => {
    const long = 'x'.repeat(200_000);
    expect((await read(directoryWith({ 'audit.jsonl': `a\n\n${long}\nb` }))).lines).toEqual(
      ['a', '', long, 'b (cut)'].map((line) => `audit.jsonl: ${line}`),
    );
  });

  it('that are damaged, or not there, are an error that says so', async () => {
    await expect(read(directoryWith({ 'audit.jsonl.1.gz': gzipSync('a\n').subarray(0, 15) }))).rejects.toThrow(
      'audit.jsonl.1.gz cannot be read: unexpected end of file.',
    );
    await expect(read(directoryWith({}))).rejects.toThrow(/^There is no audit.jsonl in /);
    await expect(read('/nonexistent')).rejects.toThrow('/nonexistent does not exist.');
  });

  it('stay those that were opened, though logrotate is at work', async () => {
    const directory = directoryWith({ 'audit.jsonl': '1\n' });
    const { parts } = await openParts(directory);
    renameSync(join(directory, 'audit.jsonl'), join(directory, 'audit.jsonl.1'));
    writeFileSync(join(directory, 'audit.jsonl'), '2\n');
    const lines: string[] = [];
    for (const part of parts) for await (const { text } of linesOf(part)) lines.push(String(text));
    await closeParts(parts);
    expect(lines).toEqual(['1']);
  });
});

describe('heads', () => {
  it('are numbers and hashes, or lines of the log', async () => {
    const line = `{"level":30,"time":"2026-11-29T12:00:00.000Z","pid":1,"msg":"audit","seq":7,"prev":"${HASH}"}`;
    const heads = await readHeads(join(directoryWith({ heads: `6 ${HASH}\n{"level":30,"msg":"from before"}\n${line}\n` }), 'heads'));
    expect(heads.newest).toMatchObject({ seq: 7, time: '2026-11-29T12:00:00.000Z' });
  });

  it('leave out, and count, the plain words of a helper that are in the journal between them', async () => {
    const said = `the audit log cannot be written: ENOSPC\n6 ${HASH}\n\n{"level":30,"msg":"from before"}\n`;
    const heads = await readHeads(join(directoryWith({ heads: said }), 'heads'));
    expect([heads.newest?.seq, heads.skipped]).toEqual([6, 3]);
    await expect(readHeads(join(directoryWith({ heads: '{"level":30,"msg":"from before"}\n' }), 'heads'))).rejects.toThrow('has no head.');
  });

  it.each(['', 'Nov 29 12:00:00 host kpx-privhelper: {}', '6 0000'])('that are neither, %j, are an error that says where', async (line) => {
    const file = join(directoryWith({ heads: `${line}\n` }), 'heads');
    await expect(readHeads(file)).rejects.toThrow(`${file}, line 1: neither a number and a hash nor a line of the audit log`);
  });
});
