import * as z from 'zod';
import { NAME_CHARS_MAX, PATTERN_CHARS_MAX } from './limits.js';

/**
 * The names that an OS account may have. ASCII only, so that no two look alike; no leading `-` (options of external commands), no leading `.`
 * (hidden files, `..`), no `/`; not all digits, which `getent` and `setpriv` would take for a uid; no `\` at the end, which could be read together
 * with the quote behind it.
 */
const ACCOUNT = new RegExp(`^(?![-.])(?!\\d+$)(?!.*\\\\$)[A-Za-z0-9._@\\\\-]{1,${NAME_CHARS_MAX}}$`);

const ACCOUNT_RULE = `a name of 1 to ${NAME_CHARS_MAX} characters out of A-Z a-z 0-9 . _ @ \\ -, not starting with - or ., not all digits, not ending in \\`;

/** Quotes, and what is drawn like one or like a backslash, or becomes one in another normal form. */
const QUOTES = String.raw`\p{Quotation_Mark}\x60\xb4\u0149\u02b9-\u02bf\u02c8\u02ca\u02cb\u02ee\u055a\u05f3\u05f4\u07f4\u07f5\u2032-\u2037\u2057\ua78b\ua78c\ufe68\uff3c\uff40`;

/**
 * Neither a blank nor what nobody can see: controls, marks of direction, unassigned and private characters; U+FFFD is what is left of bytes that
 * are not UTF-8, U+2800 is drawn as a blank. No `/`, which is for paths, and no `*`, which is for patterns.
 */
const VISIBLE = String.raw`[^\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\ufffd\u2800${QUOTES}/*]`;

/** In characters of Unicode. Every name of an account is one, too. A blank stands alone, between others. */
const KNIME = new RegExp(String.raw`^(?![-.])(?!\d+$)(?!.*\\$)(?=.{1,${NAME_CHARS_MAX}}$)${VISIBLE}(?: ?${VISIBLE})*$`, 'u');

const KNIME_RULE = `a name of 1 to ${NAME_CHARS_MAX} characters without quotes, control, invisible and bidirectional characters, / and *; blanks only one by one and inside; not starting with - or ., not all digits, not ending in \\`;

/** Whether a text is in normal form C. Another one that looks the same would never be equal to a name. */
export const isComposed = (name: string) => name === name.normalize('NFC');
export const NOT_COMPOSED = 'expected Unicode in normal form C (NFC): a letter and its accent as one character';

/** The name of an OS account. Syntax checked; only the helper's accounts.ts turns one into an account. */
export const osUserSchema = z.string().regex(ACCOUNT, `expected ${ACCOUNT_RULE}`).brand('OsUser');
export type OsUser = z.output<typeof osUserSchema>;

/**
 * A user as KNIME Server names them: the wire's only way to speak of a person. Syntax checked, nothing else. Names are compared exactly: one that is
 * not in normal form C is refused, and never taken for the one that it looks like.
 */
export const knimeUserSchema = z
  .string()
  .regex(KNIME, { error: `expected ${KNIME_RULE}`, abort: true })
  .refine(isComposed, NOT_COMPOSED)
  .brand('KnimeUser');
export type KnimeUser = z.output<typeof knimeUserSchema>;

/** KNIME names, or a pattern for them, in a rule. */
export const knimePatternSchema = z
  .string()
  .max(PATTERN_CHARS_MAX)
  .regex(new RegExp(`^(?:${VISIBLE}|[ *])+$`, 'u'), { error: 'expected a KNIME name or a pattern with "*"', abort: true })
  .refine(isComposed, NOT_COMPOSED);

/** The account's name that this is; undefined for a name that no account can have: only `[accounts.map]` can lead such a KNIME user to one. */
export const accountNameOf = (name: string): OsUser | undefined => osUserSchema.safeParse(name).data;

/** The name of an executor profile, a key of `[executor.profiles]` in the helper's configuration. */
export const profileNameSchema = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,31}$/, 'expected a profile name: 1 to 32 characters out of a-z 0-9 -, starting with a letter')
  .brand('ProfileName');
export type ProfileName = z.output<typeof profileNameSchema>;
