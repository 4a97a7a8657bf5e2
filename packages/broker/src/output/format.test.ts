import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { indentJson, jsonLine, shellWord, table } from './format.js';

it.each([
  ['alice', 'alice'],
  ['a.b_c-1@corp.example', 'a.b_c-1@corp.example'],
  ['corp\\alice', "'corp\\alice'"],
  ['Anna Müller (extern)', "'Anna Müller (extern)'"],
  ['Müller', "'Müller'"],
  ['$(id)', "'$(id)'"],
  ["it's", "'it'\\''s'"],
])('%s is one word for a shell as %s', (text, word) => {
  expect(shellWord(text)).toBe(word);
  expect(execFileSync('/bin/sh', ['-c', `printf %s ${word}`], { encoding: 'utf8' })).toBe(text);
});

describe('jsonLine', () => {
  it('is one line that means the same', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string({ unit: 'binary' }), (value, text) => {
        const line = jsonLine({ value, text });
        expect(line).not.toContain('\n');
        expect(JSON.parse(line)).toEqual(JSON.parse(JSON.stringify({ value, text })));
      }),
    );
  });

  it('has bytes in base64 and large integers as text: headers of AMQP may hold them', () => {
    expect(jsonLine({ bytes: Buffer.from('kpx'), large: 2n ** 63n })).toBe('{"bytes":"a3B4","large":"9223372036854775808"}');
  });
});

describe('indentJson', () => {
  it('means the same', () => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        expect(JSON.parse(indentJson(json))).toEqual(JSON.parse(json));
      }),
    );
  });

  it('keeps numbers and repeated keys as they were written', () => {
    expect(indentJson('{"a":1.0e5,"a":12345678901234567890,"b":{ }}')).toBe(
      '{\n  "a": 1.0e5,\n  "a": 12345678901234567890,\n  "b": { }\n}',
    );
  });
});

describe('table', () => {
  it('has columns as wide as they have to be, and the last one cut to the width of the screen', () => {
    const rows = [
      ['a', 'x'.repeat(50)],
      ['', 'short'],
    ];
    expect(table(['ONE', 'TWO'], rows, 20)).toEqual(['ONE  TWO', `a    ${'x'.repeat(14)}…`, '-    short']);
  });

  it('keeps its columns below names of any script, and cuts none of their characters in two', () => {
    const rows = [
      ['部長', 'x'],
      ['Mu\u0308ller', 'y'],
      ['😀'.repeat(40), 'z'],
    ];
    expect(table(['USER', 'WHY'], rows, 80)).toEqual([
      `USER${' '.repeat(31)}  WHY`,
      `部長${' '.repeat(31)}  x`,
      `Mu\u0308ller${' '.repeat(29)}  y`,
      `${'😀'.repeat(17)}…  z`,
    ]);
    expect(table(['A', 'B'], [['a', '😀'.repeat(9)]], 10)).toEqual(['A  B', 'a  😀😀😀…']);
  });
});
