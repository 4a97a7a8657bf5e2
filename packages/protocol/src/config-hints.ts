import * as z from 'zod';

/** Hints about a key that a schema cannot give, for messages. */
interface Hint {
  /** The value may hold a secret: no message repeats it. */
  readonly secret?: true;
  /** The expected value, where the schema alone says it badly: "expected …". */
  readonly expected?: string;
  /** A good value; the default is taken where there is none. */
  readonly example?: unknown;
  /** Advice for the probable purpose of a number that is too small. */
  readonly tooSmall?: string;
}

export const hints = z.registry<Hint>();

export interface Place {
  /** Without defaults, transformations and the like; undefined where the schema knows no such key. */
  readonly schema: z.core.$ZodType | undefined;
  readonly hint: Hint;
  readonly fallback: unknown;
  /** The schema says of this value, or of a table around it, that it may hold a secret. */
  readonly isSecret: boolean;
}

/** Takes the layers of a schema off, and keeps what they say. */
function unwrap(given: z.core.$ZodType | undefined): Place {
  let schema = given;
  let hint: Hint = {};
  let fallback: unknown;
  while (schema !== undefined) {
    hint = { ...hints.get(schema), ...hint };
    if (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
      fallback = schema.def.defaultValue;
      schema = schema.def.innerType;
    } else if (schema instanceof z.ZodOptional) schema = schema.def.innerType;
    else if (schema instanceof z.ZodPipe) schema = schema.def.in;
    else break;
  }
  return { schema, hint, fallback, isSecret: hint.secret === true };
}

function childOf(schema: z.core.$ZodType | undefined, key: PropertyKey): z.core.$ZodType | undefined {
  if (schema instanceof z.ZodObject) return schema.shape[String(key)];
  if (schema instanceof z.ZodArray) return schema.element as z.core.$ZodType;
  return schema instanceof z.ZodRecord ? (schema.valueType as z.core.$ZodType) : undefined;
}

/** The schema of the value at `path`, and its hints. */
export function placeIn(schema: z.core.$ZodType, path: readonly PropertyKey[]): Place {
  return path.reduce<Place>((at, key) => {
    const place = unwrap(childOf(at.schema, key));
    return { ...place, isSecret: at.isSecret || place.isSecret };
  }, unwrap(schema));
}

/** The keys that a table knows; none for what is no table. */
export const keysOf = (schema: z.core.$ZodType | undefined): string[] => (schema instanceof z.ZodObject ? Object.keys(schema.shape) : []);
