import * as z from 'zod';
import type { Texts } from './json-schema.js';

export interface Key {
  readonly name: string;
  /** The values it takes, in words; literals in backticks. */
  readonly takes: string;
  /** As TOML; undefined: none. */
  readonly fallback: string | undefined;
  readonly required: boolean;
  readonly text: string;
}

export interface Table {
  /** As TOML writes it: `[amqp]`, `[[policy.rule]]`. */
  readonly heading: string;
  readonly text: string;
  readonly effect: string;
  /** Where names are free, as in `[accounts.map]`, what names and values have to be; else undefined. */
  readonly free: string | undefined;
  readonly keys: readonly Key[];
}

/** The tables of a configuration, in the order of its schema. Throws when a text is missing, or belongs to no key. */
export function tablesOf(schema: z.ZodType, texts: Texts): Table[] {
  const used = new Set<string>();
  const tables = tablesBelow(schema, '', (path) => {
    used.add(path);
    const text = texts[path];
    if (text === undefined) throw new Error(`"${path}" has no text`);
    return text;
  });
  const unused = Object.keys(texts).filter((path) => !used.has(path));
  if (unused.length > 0) throw new Error(`there is no key for the text of ${unused.join(', ')}`);
  return tables;
}

type TextOf = (path: string) => Texts[string];

function tablesBelow(schema: unknown, path: string, textOf: TextOf): Table[] {
  const { shape } = expect(z.ZodObject, withoutDefault(schema), path);
  const members = Object.entries(shape).map(([name, member]) => ({ name, member, at: path === '' ? name : `${path}.${name}` }));
  const keys = members.filter(({ member }) => !isTable(member)).map(({ name, member, at }) => keyOf(name, member, textOf(at)));
  const own = path === '' ? [] : [{ heading: `[${path}]`, ...aboutTable(path, textOf), free: undefined, keys }];
  const inner = members.filter(({ member }) => isTable(member));
  return [...own, ...inner.flatMap(({ member, at }) => innerTables(withoutDefault(member), at, textOf))];
}

function innerTables(member: unknown, path: string, textOf: TextOf): Table[] {
  if (member instanceof z.ZodRecord) {
    const free = `Name: ${takes(member.keyType)}. Value: ${takes(member.valueType)}.`;
    return [{ heading: `[${path}]`, ...aboutTable(path, textOf), free, keys: [] }];
  }
  if (member instanceof z.ZodArray) return tablesBelow(member.element, path, textOf).map((table) => ({ ...table, heading: `[[${path}]]` }));
  return tablesBelow(member, path, textOf);
}

function isTable(schema: unknown): boolean {
  const inner = withoutDefault(schema);
  return (
    inner instanceof z.ZodObject || inner instanceof z.ZodRecord || (inner instanceof z.ZodArray && inner.element instanceof z.ZodObject)
  );
}

function aboutTable(path: string, textOf: TextOf): { text: string; effect: string } {
  const text = textOf(path);
  if (typeof text === 'string') throw new Error(`"${path}" is a table: when does a change of it take effect?`);
  return text;
}

function keyOf(name: string, schema: z.core.$ZodType, text: Texts[string]): Key {
  if (typeof text !== 'string') throw new Error(`"${name}" is no table`);
  const { default: fallback } = jsonSchemaOf(schema);
  const required = !(schema instanceof z.ZodOptional) && fallback === undefined;
  return { name, takes: takes(schema), fallback: fallback === undefined ? undefined : tomlOf(fallback), required, text };
}

/** The schema's own words for a value: those of its error messages. */
function takes(schema: unknown): string {
  const inner = withoutDefault(schema);
  if (inner instanceof z.ZodPipe) return takes(inner.in);
  if (inner instanceof z.ZodUnion) return inner.options.map(takes).sort().join(', or ');
  if (inner instanceof z.ZodLiteral || inner instanceof z.ZodEnum) return anyOf('options' in inner ? inner.options : [...inner.values]);
  if (inner instanceof z.ZodBoolean) return anyOf([true, false]);
  if (inner instanceof z.ZodArray) {
    const { minItems, maxItems } = jsonSchemaOf(inner);
    return `list, ${minItems === undefined ? 'at most' : `${minItems} to`} ${maxItems}: ${takes(inner.element)}`;
  }
  if (inner instanceof z.ZodNumber) {
    const { type, minimum, maximum } = jsonSchemaOf(inner);
    return `${type}, ${minimum} to ${maximum}`;
  }
  return textual(expect(z.ZodString, inner, 'value'));
}

const anyOf = (values: readonly unknown[]) => values.map((value) => `\`${JSON.stringify(value)}\``).join(', ');

/** A text that no rule for texts takes. */
const NO_TEXT = '\u0001';

function textual(schema: z.ZodString): string {
  const messages = schema.safeParse(NO_TEXT).error?.issues.map(({ message }) => message) ?? [];
  const rule = messages
    .at(-1)
    ?.replace(/^expected /, '')
    .replace('Invalid string: must', 'text that must');
  // Quotes are code, as they are for literals.
  return rule?.replace(/"[^"]*"/g, '`$&`') ?? (jsonSchemaOf(schema).minLength === undefined ? 'text' : 'text, not empty');
}

const jsonSchemaOf = (schema: z.core.$ZodType) => z.toJSONSchema(schema, { io: 'input' });

/** Strings, numbers, booleans and lists of them are written in TOML as in JSON. */
function tomlOf(value: unknown): string {
  return Array.isArray(value) ? `[${value.map(tomlOf).join(', ')}]` : JSON.stringify(value);
}

function withoutDefault(schema: unknown): unknown {
  const wrapped = schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional;
  return wrapped ? withoutDefault(schema.unwrap()) : schema;
}

function expect<Type>(type: new (...args: never[]) => Type, schema: unknown, path: string): Type {
  if (schema instanceof type) return schema;
  throw new Error(`${path}: a kind of schema that the reference has no words for`);
}
