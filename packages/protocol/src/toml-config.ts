import { parse as parseTomlText, TomlError } from 'smol-toml';
import * as z from 'zod';
import { duplicateAt } from './toml-duplicates.js';

/** Largest configuration file that is read, in bytes. */
export const CONFIG_BYTES_MAX = 1024 * 1024;

/** Longest text in a configuration, in characters: a path, an argument, a value. */
const TEXT_CHARS_MAX = 4_096;

/** Noncharacters are valid UTF-8, and systemd refuses a whole EnvironmentFile= for one of them. */
export const configText = z
  .string()
  .max(TEXT_CHARS_MAX)
  .regex(/^[^\p{Cc}\p{Noncharacter_Code_Point}]*$/u, 'expected text without control characters and noncharacters');

/** A table with keys of the administrator's choice, `max` at most, empty by default. `what` they are is for the message. */
export function configTable<Key extends z.core.$ZodRecordKey, Value extends z.ZodType>(key: Key, value: Value, max: number, what: string) {
  return z
    .record(key, value, {
      // Of a key, zod alone says only that something is wrong with it.
      error: (issue) => (issue.code === 'invalid_key' ? issue.issues[0]?.message : undefined),
    })
    .refine((table) => Object.keys(table).length <= max, `expected at most ${max} ${what}`);
}

/** A configuration that cannot be used. `message` has one line per problem: file, key or line, what is wrong, what is expected. */
export class ConfigError extends Error {
  override name = 'ConfigError';

  constructor(file: string, problems: readonly string[], options?: ErrorOptions) {
    super(problems.map((problem) => `${file}: ${problem}`).join('\n'), options);
  }
}

/** Parses TOML and checks it against a schema of strict objects. `file` is only used in messages. Throws {@link ConfigError}. */
export function parseConfig<Schema extends z.ZodType>(file: string, text: string, schema: Schema): z.output<Schema> {
  let raw: unknown;
  try {
    raw = parseTomlText(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const said = error.message.replace(/^Invalid TOML document: /, '').replace(/\n.*/s, '');
    const what = /^trying to redefine /.test(said) ? duplicateAt(text, error.line) : said;
    throw new ConfigError(file, [`line ${error.line}, column ${error.column}: ${what}`], { cause: error });
  }
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  throw new ConfigError(
    file,
    result.error.issues.flatMap((issue) => describe(issue, schema)),
  );
}

function describe(issue: z.core.$ZodIssue, schema: z.ZodType): string[] {
  if (issue.code !== 'unrecognized_keys') return [`${issue.path.join('.') || 'the file'}: ${issue.message}`];
  const known = keysAt(schema, issue.path);
  return issue.keys.map((key) => {
    const nearest = nearestKey(key, known);
    const hint = nearest ? `did you mean "${nearest}"?` : `known keys here: ${known.join(', ')}`;
    return `${[...issue.path, key].join('.')}: unknown key; ${hint}`;
  });
}

/** The keys that the strict object at `path` knows. */
function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let at: unknown = unwrap(schema);
  for (const key of path) {
    if (at instanceof z.ZodObject) at = unwrap(at.shape[String(key)]);
    else if (at instanceof z.ZodArray) at = unwrap(at.element);
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

function unwrap(schema: unknown): unknown {
  let at = schema;
  while (at instanceof z.ZodDefault || at instanceof z.ZodPrefault || at instanceof z.ZodOptional) at = at.unwrap();
  return at;
}

/** Keys further away than this many edits are no help. */
const SUGGESTION_EDITS_MAX = 3;

function nearestKey(key: string, known: readonly string[]): string | undefined {
  const ranked = known.map((name) => ({ name, edits: editDistance(key, name) })).sort((a, b) => a.edits - b.edits);
  return ranked[0] !== undefined && ranked[0].edits <= SUGGESTION_EDITS_MAX ? ranked[0].name : undefined;
}

/** Levenshtein's distance: written out because the helper would otherwise carry one more dependency for these lines. */
function editDistance(a: string, b: string): number {
  let distance = b.length;
  let row = Array.from({ length: b.length }, (_, index) => index + 1);
  for (let i = 0; i < a.length; i++) {
    let diagonal = i;
    distance = i + 1;
    row = row.map((above, j) => {
      distance = Math.min(diagonal + (a[i] === b[j] ? 0 : 1), above + 1, distance + 1);
      diagonal = above;
      return distance;
    });
  }
  return distance;
}
