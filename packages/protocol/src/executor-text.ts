import { KNIME_USERS_PER_ACCOUNT_MAX, NAME_CHARS_MAX } from './limits.js';
import type { KnimeUser } from './names.js';

/*
 * How names and values become text that other programs read: KNIME its reservation, systemd an environment file. Pure. The readers of these texts:
 * environment.ts of the helper.
 */

/** Variables by name. */
export type Environment = Readonly<Record<string, string>>;

/** `(user = 'alice')`, or `(user = 'alice' OR user = 'alice2')`. No name can break out: see names.ts, and account-map.ts for those that need quotes. */
export const reservation = ({ knimeUsers }: { readonly knimeUsers: readonly KnimeUser[] }, clause: string) =>
  `(${knimeUsers.map((name) => clause.replaceAll('{user}', () => name)).join(' OR ')})`;

/** The largest reservation with this clause, in bytes. */
export function reservationBytesMax(clause: string): number {
  const longest = '\u{10000}'.repeat(NAME_CHARS_MAX) as KnimeUser;
  return Buffer.byteLength(reservation({ knimeUsers: Array.from({ length: KNIME_USERS_PER_ACCOUNT_MAX }, () => longest) }, clause));
}

/** An EnvironmentFile= of systemd.exec(5): in double quotes, in which only these four characters need a backslash. */
export function environmentFile(environment: Environment): string {
  const lines = Object.entries(environment).map(([name, value]) => `${name}="${value.replace(/["\\$`]/g, '\\$&')}"\n`);
  return lines.join('');
}
