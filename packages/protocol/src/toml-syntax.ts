import type { TomlError } from 'smol-toml';
import * as z from 'zod';
import { placeIn } from './config-hints.js';
import { shownValue } from './config-problems.js';
import { type Definition, definitionsIn } from './toml-lines.js';

/** The problem of a text that is not TOML: the line, the column, the key, and what to write. A value that may be a secret is not repeated. */
export function syntaxProblem(text: string, error: TomlError, schema: z.core.$ZodType): string {
  const definitions = definitionsIn(text);
  const said = error.message.replace(/^Invalid TOML document: /, '').replace(/\n.*/s, '');
  const at = `line ${error.line}, column ${error.column}`;
  if (/^trying to redefine /.test(said)) return `${at}: ${duplicateAt(definitions, error.line)}`;
  const definition = definitions[error.line - 1];
  if (definition?.value === undefined) return `${at}: ${said}; expected KEY = VALUE, [TABLE], or [[TABLE]], each on a line of its own`;
  return `${at}, ${definition.name}: ${adviceFor(said, definition, schema)}`;
}

function adviceFor(said: string, { path, value = '' }: Definition, schema: z.core.$ZodType): string {
  const key = String(path.at(-1));
  const word = value.replace(/["'[{#].*$/s, '').trim();
  if (value.trim() === '') return `there is no value after "="; nothing is written ${key} = ""`;
  if (/^(yes|on|true)$/i.test(word)) return `${said}; expected ${key} = true`;
  if (/^(no|off|false)$/i.test(word)) return `${said}; expected ${key} = false`;
  if (/^unfinished string/.test(said)) return 'the text has no quote at its end';
  if (word === '' || word.startsWith('=')) return `${said}; expected ${key} = VALUE`;
  const place = placeIn(schema, path);
  const shown = place.schema === undefined || place.isSecret ? undefined : shownValue(word);
  if (place.schema instanceof z.ZodNumber) return `${key} = ${word}: ${said}; expected a number in digits`;
  return `${shown === undefined ? said : `${key} = ${word}`}: text needs quotes: ${key} = ${shown ?? '"…"'}`;
}

const isEmptyList = (definition: Definition | undefined) => /^\[\s*\]\s*(#|$)/.test(definition?.value ?? '');

/** For the line, counted from 1, at which the parser has found something that is there before. */
function duplicateAt(definitions: readonly (Definition | undefined)[], line: number): string {
  const found = definitions[line - 1];
  // The nearest one above it: of several [[policy.rule]], each has keys of the same names.
  const other = definitions.slice(0, line - 1).findLastIndex((definition) => definition?.name === found?.name) + 1;
  if (found === undefined || other === 0)
    return `${found ? `"${found.name}"` : 'a key'} is there already; give all of its keys in one place`;
  const empty = [other, line].find((each) => isEmptyList(definitions[each - 1]));
  const which = empty === undefined ? `line ${other} or line ${line}` : `line ${empty}, "${found.name.split('.').at(-1)} = []"`;
  return `"${found.name}" is there twice: take out ${which}`;
}
