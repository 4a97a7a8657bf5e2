import { printable } from '@kpx/protocol';

/** Widest cell of a table but the last one, in columns of the screen: a UUID. */
const CELL_CHARS_MAX = 36;
const GAP = '  ';
const INDENT = '  ';
/** JSON may be nested as deeply as it is long: deeper levels are not indented further. */
const INDENTED_LEVELS_MAX = 20;

/** The same of a text of several lines. */
export const printableLines = (text: string) => text.split('\n').map(printable).join('\n');

/** A text as a shell takes it for one word, for commands that people paste. */
export const shellWord = (text: string) => (/^[\w/.@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** A value as one line of JSON. */
export const jsonLine = (value: unknown) => printable(JSON.stringify(value, plain));

/** For JSON.stringify(): AMQP has values in headers that JSON has not. */
export function plain(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  return isJsonOfBuffer(value) ? Buffer.from(value.data).toString('base64') : value;
}

const isJsonOfBuffer = (value: unknown): value is { data: number[] } =>
  typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer' && 'data' in value && Array.isArray(value.data);

/** Rows below a heading, in columns. The last column has what is left of `width` columns of the screen. */
export function table(heading: readonly string[], rows: readonly (readonly string[])[], width: number): string[] {
  const last = heading.length - 1;
  const cells = [heading, ...rows].map((row) => row.map((text, at) => cut(printable(text) || '-', at === last ? width : CELL_CHARS_MAX)));
  const widths = heading.map((_, at) => Math.max(...cells.map((row) => widthOf(row[at] ?? ''))));
  return cells.map((row) => {
    const start = row.slice(0, last).map((cell, at) => cell + ' '.repeat((widths[at] ?? 0) - widthOf(cell)) + GAP);
    return cut(start.join('') + row[last], width);
  });
}

/** Cuts between what a reader takes for one character. */
export function cut(text: string, columnsMax: number): string {
  if (text.length <= columnsMax && NARROW.test(text)) return text;
  if (widthOf(text) <= columnsMax) return text;
  let kept = '';
  let columns = 1; // of the "…"
  for (const { segment } of CHARACTERS.segment(text)) {
    columns += widthOf(segment);
    if (columns > columnsMax) break;
    kept += segment;
  }
  return `${kept}…`;
}

const CHARACTERS = new Intl.Segmenter();
const NARROW = /^[\x20-\x7e…]*$/;
/** Terminals draw these two columns wide. Source: Unicode Standard Annex 11, East Asian Width. */
const WIDE =
  /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u3001-\u303e\uff01-\uff60\uffe0-\uffe6]/u;

/** Columns of the screen that a text takes: an accent takes none of its own. */
function widthOf(text: string): number {
  if (NARROW.test(text)) return text.length;
  return [...CHARACTERS.segment(text)].reduce((columns, { segment }) => columns + (WIDE.test(segment) ? 2 : 1), 0);
}

/** JSON on lines of its own, each value as it was written: parsing would change large numbers and drop keys that are there twice. */
export function indentJson(json: string): string {
  let level = 0;
  const line = () => `\n${INDENT.repeat(Math.min(level, INDENTED_LEVELS_MAX))}`;
  const pieces = json.match(/"(?:[^"\\]|\\.)*"|[[{]\s*[\]}]|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  return pieces
    .map((piece) => {
      if (piece === '{' || piece === '[') {
        level += 1;
        return piece + line();
      }
      if (piece === '}' || piece === ']') {
        level -= 1;
        return line() + piece;
      }
      if (piece === ',') return piece + line();
      return piece === ':' ? ': ' : printable(piece);
    })
    .join('');
}

/** A number in the largest unit of which it is a whole number; `units` from the smallest on. */
export function inWhole(value: number, units: Readonly<Record<string, number>>): string {
  const [unit = '', size = 1] = Object.entries(units).findLast(([, size]) => value % size === 0) ?? [];
  return `${value / size}${unit}`;
}

/** A time as people on this host write it: `2026-11-30 18:00`. In milliseconds since the epoch. */
export function localTime(ms: number): string {
  const time = new Date(ms);
  const two = (number: number) => String(number).padStart(2, '0');
  const date = [time.getFullYear(), two(time.getMonth() + 1), two(time.getDate())].join('-');
  return `${date} ${two(time.getHours())}:${two(time.getMinutes())}`;
}
