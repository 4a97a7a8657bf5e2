import { parse } from 'smol-toml';

/*
 * Where each key of a TOML file stands: the parser does not tell. By line and for messages only, so that a line which is not understood costs an
 * operator the number of the line and nothing else.
 */

export interface Definition {
  /** `["policy", "rule", 0, "users"]`: of a key, or of a table. */
  readonly path: readonly PropertyKey[];
  /** `policy.rule.users`: the path without the numbers of tables. */
  readonly name: string;
  /** The text behind the "=" on the same line; undefined for the heading of a table. */
  readonly value?: string;
}

const PART = String.raw`(?:"(?:[^"\\]|\\.)*"|'[^']*'|[\w-]+)`;
const DOTTED = String.raw`${PART}(?:[ \t]*\.[ \t]*${PART})*`;
const HEADING = new RegExp(String.raw`^\s*(\[{1,2})[ \t]*(${DOTTED})[ \t]*\]`);
const KEY = new RegExp(String.raw`^\s*(${DOTTED})[ \t]*=[ \t]*(.*)$`);

/** Reads `a."b.c"` as TOML does. */
function partsOf(dotted: string): string[] {
  const parts: string[] = [];
  try {
    let at: unknown = parse(`${dotted} = 0`);
    while (typeof at === 'object' && at !== null) {
      const [[part, inner] = ['', 0]] = Object.entries(at);
      parts.push(part);
      at = inner;
    }
  } catch {
    return []; // an escape that TOML does not know
  }
  return parts;
}

/** The definition on each line of the text, in the order of the lines; undefined for a line that defines nothing. */
export function definitionsIn(text: string): (Definition | undefined)[] {
  let table: string[] = [];
  let isInsideText = false;
  const tables = new Map<string, number>();
  const define = (parts: readonly string[], value?: string): Definition => {
    const path = parts.flatMap((part, index) => {
      const count = tables.get(parts.slice(0, index + 1).join('.'));
      return count === undefined ? [part] : [part, count - 1];
    });
    return { path, name: parts.join('.'), ...(value !== undefined && { value }) };
  };
  return text.split('\n').map((line) => {
    const wasInsideText = isInsideText;
    if (line.split(/"""|'''/).length % 2 === 0) isInsideText = !isInsideText;
    if (wasInsideText) return undefined;
    const [, brackets, heading] = HEADING.exec(line) ?? [];
    if (heading !== undefined) {
      table = partsOf(heading);
      const name = table.join('.');
      if (brackets === '[[') tables.set(name, (tables.get(name) ?? 0) + 1);
      return define(table);
    }
    const [, key, value] = KEY.exec(line) ?? [];
    return key === undefined ? undefined : define([...table, ...partsOf(key)], value);
  });
}

const isSame = (one: readonly PropertyKey[], other: readonly PropertyKey[]) =>
  one.length === other.length && one.every((part, index) => part === other[index]);

/** The line, counted from 1, of the value at the path, or of the innermost table around it that stands on a line of its own. */
export function lineOf(definitions: readonly (Definition | undefined)[], path: readonly PropertyKey[]): number | undefined {
  for (let length = path.length; length > 0; length--) {
    const index = definitions.findIndex((definition) => definition && isSame(definition.path, path.slice(0, length)));
    if (index >= 0) return index + 1;
  }
  return undefined;
}
