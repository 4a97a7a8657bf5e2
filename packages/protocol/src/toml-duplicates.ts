/*
 * What to say where a configuration has something twice. By line, and for a message only: TOML's strings of several lines are not looked for. No
 * value is repeated, as it may be a password in the wrong place.
 */

interface Definition {
  /** `policy.rule`: of a key, or of a table. */
  readonly name: string;
  /** `rule = []`. */
  readonly isEmptyList: boolean;
}

const unquoted = (name: string) => name.replaceAll(/["'\s]/g, '');

function definitionsIn(text: string): (Definition | undefined)[] {
  let table = '';
  return text.split('\n').map((line) => {
    const [, heading] = /^\s*\[{1,2}([^\]]+)\]/.exec(line) ?? [];
    if (heading !== undefined) {
      table = unquoted(heading);
      return { name: table, isEmptyList: false };
    }
    const [, key, value = ''] = /^\s*([^#=[]+)=\s*(.*)/.exec(line) ?? [];
    if (key === undefined) return undefined;
    return { name: `${table === '' ? '' : `${table}.`}${unquoted(key)}`, isEmptyList: /^\[\s*\]\s*(#|$)/.test(value) };
  });
}

/** For the line, counted from 1, at which a parser has found something that was there before. */
export function duplicateAt(text: string, line: number): string {
  const definitions = definitionsIn(text);
  const found = definitions[line - 1];
  // The nearest one above it: of several [[policy.rule]], each has keys of the same names.
  const other = definitions.slice(0, line - 1).findLastIndex((definition) => definition?.name === found?.name) + 1;
  if (found === undefined || other === 0) return `"${found?.name ?? ''}" is there already; give all of its keys in one place`;
  const empty = [other, line].find((each) => definitions[each - 1]?.isEmptyList);
  const which = empty === undefined ? `line ${other} or line ${line}` : `line ${empty}, "${found.name.split('.').at(-1)} = []"`;
  return `"${found.name}" is there twice: take out ${which}`;
}
