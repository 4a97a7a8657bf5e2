import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { reservation } from './executor-text.js';
import { accountNameOf, type KnimeUser, knimeUserSchema } from './names.js';

/*
 * A name must stay between the quotes that the clause has round it, however KNIME reads a reservation: its rules of quoting are not published.
 */

const CODE_POINTS = 0x11_0000;
const QUOTE = "'";
const CLAUSE = "user = '{user}'";

/** The rest of a text when everything in quotes is taken out; undefined where quotes are not in pairs. */
function outsideOfQuotes(text: string, { escapes }: { escapes: boolean }): string | undefined {
  let outside = '';
  let inside = false;
  for (let at = 0; at < text.length; at++) {
    if (escapes && inside && text[at] === '\\') at += 1;
    else if (text[at] === QUOTE) inside = !inside;
    else if (!inside) outside += text[at];
  }
  return inside ? undefined : outside;
}

/** As a program would see it that takes all that looks like a quote for one. */
const simplified = (text: string) => text.normalize('NFKC').replace(/[\p{Quotation_Mark}`´ʹʼʽˈ′‵]/gu, QUOTE);

const READERS: readonly ((text: string) => string | undefined)[] = [
  (text) => outsideOfQuotes(text, { escapes: false }),
  (text) => outsideOfQuotes(text, { escapes: true }),
  (text) => outsideOfQuotes(simplified(text), { escapes: false }),
  (text) => outsideOfQuotes(simplified(text), { escapes: true }),
];

function breaksOut(name: string): boolean {
  const text = reservation({ knimeUsers: [name, 'bob'] as KnimeUser[] }, CLAUSE);
  return READERS.some((outside) => outside(text) !== '(user =  OR user = )');
}

const isName = (text: string) => knimeUserSchema.safeParse(text).success;
const everyCharacter = Array.from({ length: CODE_POINTS }, (_, point) => String.fromCodePoint(point));
const inNames = everyCharacter.filter((character) => isName(`a${character}b`));

describe('a reservation cannot be broken out of', () => {
  it('by any character of Unicode, wherever it stands in a name', () => {
    expect(inNames.length).toBeGreaterThan(100_000);
    const escaped = inNames.filter((c) => [c, `a${c}`, `${c}b`, `a${c}b`, `a${c}${c}b`].some((text) => isName(text) && breaksOut(text)));
    expect(escaped).toEqual([]);
  });

  it('by characters that are dangerous together', () => {
    const piece = fc.constantFrom(
      ...[
        QUOTE,
        '"',
        '`',
        '’',
        'ʼ',
        '′',
        '\uff07',
        '\\',
        ' ',
        '(',
        ')',
        '=',
        ' OR ',
        'user',
        '{user}',
        '$&',
        "$'",
        '\u0301',
        '\u0000',
        '\n',
        'a',
        'ü',
      ],
    );
    const text = fc.array(piece, { minLength: 1, maxLength: 12 }).map((pieces) => pieces.join(''));
    fc.assert(
      fc.property(text, (name) => !isName(name) || !breaksOut(name)),
      { numRuns: 20_000 },
    );
  });

  it('and would be by a quote, or by a backslash at the end: the readers notice', () => {
    for (const name of ["a' OR user = 'root", 'a\\', 'a’ OR user = ’root'])
      expect([name, breaksOut(name), isName(name)]).toEqual([name, true, false]);
  });
});

describe('a character of a name', () => {
  it.each([
    ['a control, format, private or unassigned character, or half of one', /\p{C}/u],
    ['a mark of direction', /\p{Bidi_Control}/u],
    ['invisible', /\p{Default_Ignorable_Code_Point}/u],
    ['a quote', /\p{Quotation_Mark}/u],
    ['a blank or the end of a line, but U+0020', /(?! )[\p{Z}\s]/u],
    ['what a normal form makes of something else', /[\ufffd/*]/u],
  ])('is never %s', (_, forbidden) => {
    const found = inNames.filter((character) => forbidden.test(character) || character !== character.normalize('NFC'));
    expect(found).toEqual([]);
  });

  it('is any letter, digit and mark that stands for itself', () => {
    const letters = everyCharacter.filter(
      (character) => /^[\p{L}\p{M}\p{Nd}]$/u.test(character) && `a${character}b` === `a${character}b`.normalize('NFC'),
    );
    const known = new Set(inNames);
    const missing = letters.filter((character) => !known.has(character) && !/[\p{Lm}\p{Default_Ignorable_Code_Point}ŉꞋꞌ]/u.test(character));
    expect(missing).toEqual([]);
  });

  it('is one that accounts have, too, or makes a name that no account can have, in lower case as well', () => {
    const ofAccounts = everyCharacter.filter((character) => accountNameOf(`a${character}b`) !== undefined);
    expect(ofAccounts.join('')).toBe('-.0123456789@ABCDEFGHIJKLMNOPQRSTUVWXYZ\\_abcdefghijklmnopqrstuvwxyz');
    expect(ofAccounts.filter((character) => !inNames.includes(character))).toEqual([]);
    const known = new Set(ofAccounts);
    const turned = inNames.filter((character) => !known.has(character) && accountNameOf(`a${character}b`.toLowerCase()) !== undefined);
    expect(turned).toEqual([]);
  });
});
