import * as z from 'zod';
import { NAME_CHARS_MAX } from './limits.js';

/**
 * The one syntax for names of people. ASCII only, so that no two names look alike; no leading `-` (options of external commands), no
 * leading `.` (hidden files, `..`), no `/`; not all digits, which `getent` and `setpriv` would take for a uid.
 */
const PERSON = new RegExp(`^(?![-.])(?!\\d+$)[A-Za-z0-9._@\\\\-]{1,${NAME_CHARS_MAX}}$`);

const NAME_RULE = `a name of 1 to ${NAME_CHARS_MAX} characters out of A-Z a-z 0-9 . _ @ \\ -, not starting with - or ., not all digits`;

/** A user as KNIME Server names them: the wire's only way to speak of a person. Syntax checked, nothing else. */
export const knimeUserSchema = z.string().regex(PERSON, `expected ${NAME_RULE}`).brand('KnimeUser');
export type KnimeUser = z.output<typeof knimeUserSchema>;

/** The name of an OS account. Syntax checked; only the helper's accounts.ts turns one into an account. */
export const osUserSchema = z.string().regex(PERSON, `expected ${NAME_RULE}`).brand('OsUser');
export type OsUser = z.output<typeof osUserSchema>;

/** The name of an executor profile, a key of `[executor.profiles]` in the helper's configuration. */
export const profileNameSchema = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,31}$/, 'expected a profile name: 1 to 32 characters out of a-z 0-9 -, starting with a letter')
  .brand('ProfileName');
export type ProfileName = z.output<typeof profileNameSchema>;
