import { closeSync, fstatSync, openSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { lineFor } from './log.js';

function descriptor(): { fd: number; stream: string } {
  const fd = openSync('/dev/null', 'w');
  onTestFinished(() => closeSync(fd));
  const { dev, ino } = fstatSync(fd);
  return { fd, stream: `${dev}:${ino}` };
}

describe('a line of a log', () => {
  it.each([
    [10, 7],
    [20, 7],
    [30, 6],
    [40, 4],
    [50, 3],
    [60, 2],
  ])('of level %d has the priority %d in the journal', (level, priority) => {
    const { fd, stream } = descriptor();
    const line = `{"level":${level},"msg":"x"}\n`;
    expect(lineFor(fd, { JOURNAL_STREAM: stream })(line)).toBe(`<${priority}>${line}`);
  });

  it.each([undefined, '', '8:1'])('stays as it is where JOURNAL_STREAM is %j: that is not where it goes', (stream) => {
    const line = '{"level":50,"msg":"x"}\n';
    expect(lineFor(descriptor().fd, { JOURNAL_STREAM: stream })(line)).toBe(line);
  });
});
