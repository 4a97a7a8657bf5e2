import { describe, expect, it } from 'vitest';
import { bodyLines } from './body.js';

describe('bodyLines', () => {
  it('stays within bounds for the deepest JSON that fits', () => {
    const half = 32 * 1024;
    expect(bodyLines(Buffer.from('['.repeat(half) + ']'.repeat(half)), false).join('\n').length).toBeLessThan(4 * 1024 * 1024);
  });

  it('shows what is no text in base64', () => {
    expect(bodyLines(Buffer.from([0xff, 0xfe]), true)).toEqual(['//4=', '(not UTF-8: in base64)']);
    expect(bodyLines(Buffer.alloc(70_000, 0xff), false).at(-1)).toBe(
      '(cut: the first 65536 of 70000 bytes in base64; --json has all of it)',
    );
  });

  it('keeps the lines of a text', () => expect(bodyLines(Buffer.from('one\ntwo\u0007'), false)).toEqual(['one', 'two\\u0007']));

  it('indents JSON, unless nothing is known of the format', () => {
    expect(bodyLines(Buffer.from('{"a":1}'), false)).toEqual(['{\n  "a": 1\n}']);
    expect(bodyLines(Buffer.from('{"a":1}'), true)).toEqual(['{"a":1}']);
  });
});
