import { parse as parseTomlText, TomlError } from 'smol-toml';
import * as z from 'zod';
import { problemsOf } from './config-problems.js';
import { syntaxProblem } from './toml-syntax.js';

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

/** A configuration that cannot be used. `message` has one line per problem: file, line, key, value, what is expected, what to write. */
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
    throw new ConfigError(file, [syntaxProblem(text, error, schema)], { cause: error });
  }
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  throw new ConfigError(file, problemsOf({ text, raw, schema }, result.error.issues));
}
