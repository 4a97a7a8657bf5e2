/** Widest cell of a table but the last one, in characters: a UUID. */
const CELL_CHARS_MAX = 36;
const GAP = '  ';
const INDENT = '  ';
/** JSON may be nested as deeply as it is long: deeper levels are not indented further. */
const INDENTED_LEVELS_MAX = 20;

/**
 * For a terminal: what came from outside must not move the cursor, change the direction of writing or hide. Control, format and invisible
 * characters become `\uXXXX`, which in JSON means the same.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu, (character) =>
    Array.from({ length: character.length }, (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`).join(''),
  );
}

/** The same of a text of several lines. */
export const printableLines = (text: string) => text.split('\n').map(printable).join('\n');

/** A value as one line of JSON. */
export const jsonLine = (value: unknown) => printable(JSON.stringify(value, plain));

/** For JSON.stringify(): AMQP has values in headers that JSON has not. */
export function plain(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  return isJsonOfBuffer(value) ? Buffer.from(value.data).toString('base64') : value;
}

const isJsonOfBuffer = (value: unknown): value is { data: number[] } =>
  typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer' && 'data' in value && Array.isArray(value.data);

/** Rows below a heading, in columns. The last column has what is left of `width` characters. */
export function table(heading: readonly string[], rows: readonly (readonly string[])[], width: number): string[] {
  const last = heading.length - 1;
  const cells = [heading, ...rows].map((row) => row.map((text, at) => cut(printable(text) || '-', at === last ? width : CELL_CHARS_MAX)));
  const widths = heading.map((_, at) => Math.max(...cells.map((row) => row[at]?.length ?? 0)));
  return cells.map((row) => {
    const start = row.slice(0, last).map((cell, at) => cell.padEnd(widths[at] ?? 0) + GAP);
    return cut(start.join('') + row[last], width);
  });
}

export function cut(text: string, charsMax: number): string {
  return text.length <= charsMax ? text : `${text.slice(0, Math.max(0, charsMax - 1))}…`;
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
