import * as z from 'zod';
import { keysOf, type Place, placeIn } from './config-hints.js';
import { nearestName } from './nearest.js';
import { printable } from './printable.js';
import { definitionsIn, lineOf } from './toml-lines.js';

/*
 * One sentence for each problem of a configuration: the line, the key, the value that was found, what is expected, what to write. Values that may
 * hold a secret are not repeated, and neither are those of unknown keys.
 */

/** Problems that are listed at once. */
const PROBLEMS_MAX = 20;
/** Longest value that is repeated in a message, in characters. */
const VALUE_CHARS_MAX = 60;
/** An address, or a name with a password. */
const MAY_HOLD_A_SECRET = /:\/\/|:.*@/s;

export interface Judged {
  readonly text: string;
  readonly raw: unknown;
  readonly schema: z.core.$ZodType;
}

/** One line for each issue, at most {@link PROBLEMS_MAX}, in the order of the file. */
export function problemsOf(judged: Judged, issues: readonly z.core.$ZodIssue[]): string[] {
  const definitions = definitionsIn(judged.text);
  const found = issues.flatMap((issue) => (issue.code === 'unrecognized_keys' ? unknownKeys(judged, issue) : wrongValues(judged, issue)));
  const problems = found
    .map(({ path, problem }) => ({ problem, line: lineOf(definitions, path) ?? 0 }))
    .sort((one, other) => one.line - other.line)
    .map(({ problem, line }) => (line === 0 ? problem : `line ${line}, ${problem}`));
  const more = problems.length - PROBLEMS_MAX;
  return more > 0 ? [...problems.slice(0, PROBLEMS_MAX), `${more} more problems are not listed: correct these first`] : problems;
}

/** `policy.idle_stop`, `rule 1 "reports": users, entry 2`. */
function nameOf({ raw }: Judged, path: readonly PropertyKey[]): string {
  const [table = -1] = path.flatMap((part, index) =>
    typeof part === 'number' && isTable(valueAt(raw, path.slice(0, index + 1))) ? [index] : [],
  );
  const inner = path.slice(table + 1);
  const key = inner
    .map((part, index) => (typeof part === 'number' ? `, entry ${part + 1}` : `${index === 0 ? '' : '.'}${shownKey(String(part))}`))
    .join('');
  if (table < 0) return key || 'the file';
  const name = valueAt(raw, [...path.slice(0, table + 1), 'name']);
  const shown = typeof name === 'string' && name !== '' ? shownValue(name) : undefined;
  const label = [String(path[table - 1]), Number(path[table]) + 1, ...(shown === undefined ? [] : [shown])].join(' ');
  return key === '' ? label : `${label}: ${key}`;
}

interface Problem {
  readonly path: readonly PropertyKey[];
  readonly problem: string;
}

function unknownKeys(judged: Judged, { path, keys }: z.core.$ZodIssueUnrecognizedKeys): Problem[] {
  const known = keysOf(placeIn(judged.schema, path).schema);
  return keys.map((key) => ({
    path: [...path, key],
    problem: `${nameOf(judged, [...path, key])}: unknown key; ${hintFor(judged, key, known)}`,
  }));
}

function hintFor({ schema }: Judged, key: string, known: readonly string[]): string {
  const nearest = nearestName(key, known);
  if (nearest !== undefined) return `did you mean "${nearest}"?`;
  const tables = keysOf(schema).filter((table) => keysOf(placeIn(schema, [table]).schema).includes(key));
  if (tables.length > 0) return `move it below ${tables.map((table) => `[${table}]`).join(' or ')}`;
  return `known keys here: ${known.join(', ')}`;
}

function wrongValues(judged: Judged, issue: z.core.$ZodIssue): Problem[] {
  const { raw, schema } = judged;
  const value = valueAt(raw, issue.path);
  const place = placeIn(schema, issue.path);
  // A text in the place of a list is too long for the list as well: its type was named already.
  if (place.schema instanceof z.ZodArray && !Array.isArray(value) && issue.code === 'too_big') return [];
  if (value === undefined && issue.code === 'invalid_type') return missing(judged, issue.path, place);
  const key = String(issue.path.findLast((part) => typeof part === 'string') ?? '');
  const isKey = issue.code === 'invalid_key';
  const shown = place.isSecret || isKey ? undefined : shownValue(value);
  const isForList = place.schema instanceof z.ZodArray && typeof value === 'string' && shown !== undefined;
  const sentence = isForList ? `expected a list: ${key} = [${shown}]` : expectation(issue, place, value);
  const advice = isKey || sentence.includes(` ${key} = `) ? [] : adviceOf(issue, place, key);
  return [
    {
      path: issue.path,
      problem: `${nameOf(judged, issue.path)}${shown === undefined ? '' : ` = ${shown}`}: ${[sentence, ...advice].join('; ')}`,
    },
  ];
}

/** Says which keys a table needs that is not there. */
function missing(judged: Judged, path: readonly PropertyKey[], { schema, hint }: Place): Problem[] {
  if (schema instanceof z.ZodObject) {
    const needed = Object.entries(schema.shape).filter(([, child]) => !z.safeParse(child, undefined).success);
    return needed.flatMap(([key]) => missing(judged, [...path, key], placeIn(judged.schema, [...path, key])));
  }
  const example = hint.example === undefined ? '' : `; for example ${String(path.at(-1))} = ${asToml(hint.example)}`;
  return [{ path, problem: `${nameOf(judged, path)} is missing, and has no default${example}` }];
}

function expectation(issue: z.core.$ZodIssue, { schema, hint }: Place, value: unknown): string {
  if (issue.code === 'custom' || issue.code === 'invalid_format' || issue.code === 'invalid_key') return issue.message;
  if (hint.expected !== undefined) return hint.expected;
  if (schema instanceof z.ZodNumber) {
    const { minValue, maxValue, isInt } = schema;
    return `expected ${isInt ? 'a whole number' : 'a number'} from ${minValue} to ${maxValue}${typeof value === 'number' ? '' : ', without quotes'}`;
  }
  if (schema instanceof z.ZodBoolean) return 'expected true or false, without quotes';
  if (schema instanceof z.ZodEnum) {
    const options = Object.values(schema.def.entries).map(String);
    const nearest = typeof value === 'string' ? nearestName(value, options) : undefined;
    const listed = options.map((option) => `"${option}"`);
    return `expected ${listed.slice(0, -1).join(', ')} or ${listed.at(-1)}${nearest === undefined ? '' : `; did you mean "${nearest}"?`}`;
  }
  if (schema instanceof z.ZodArray) return 'code' in issue && issue.code === 'invalid_type' ? 'expected a list' : sizeOf(issue, 'entries');
  if (schema instanceof z.ZodObject || schema instanceof z.ZodRecord) return 'expected a table, with a heading in brackets or in braces';
  return issue.code === 'invalid_type' || issue.code === 'invalid_union' ? 'expected text in quotes' : sizeOf(issue, 'characters');
}

function sizeOf(issue: z.core.$ZodIssue, what: string): string {
  if (issue.code === 'too_small')
    return Number(issue.minimum) === 1 ? `expected at least one of its ${what}` : `expected at least ${issue.minimum} ${what}`;
  return issue.code === 'too_big' ? `expected at most ${issue.maximum} ${what}` : issue.message;
}

/** Advice on what to write: an example, and something else where the purpose can be guessed. */
function adviceOf(issue: z.core.$ZodIssue, { schema, hint, fallback }: Place, key: string): string[] {
  const speaksForItself = schema instanceof z.ZodEnum || schema instanceof z.ZodBoolean;
  const example = hint.example ?? (isEmpty(fallback) ? undefined : fallback);
  return [
    ...(example === undefined || speaksForItself ? [] : [`for example ${key} = ${asToml(example)}`]),
    ...(issue.code === 'too_small' && hint.tooSmall !== undefined ? [hint.tooSmall] : []),
  ];
}

const isTable = (value: unknown): value is Record<PropertyKey, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isEmpty = (value: unknown) => value === undefined || value === '' || typeof value === 'object';
const asToml = (value: unknown) => JSON.stringify(value).replaceAll('","', '", "');

function valueAt(raw: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce((at, key) => (Object(at) as Record<PropertyKey, unknown>)[key], raw);
}

const shownKey = (key: string) => printable(key.length > VALUE_CHARS_MAX ? `${key.slice(0, VALUE_CHARS_MAX)}…` : key);

/** As it stands in the file; undefined for what is not repeated. */
export function shownValue(value: unknown): string | undefined {
  const isPlain = (each: unknown) => ['string', 'number', 'boolean'].includes(typeof each);
  if (!isPlain(value) && !(Array.isArray(value) && value.every(isPlain))) return undefined;
  const text = printable(asToml(value));
  return text.length > VALUE_CHARS_MAX || MAY_HOLD_A_SECRET.test(text) ? undefined : text;
}
