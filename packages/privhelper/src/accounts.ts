import type { ExecutorInfo, KnimeUser, OsUser } from '@kpx/protocol';
import { ExecutorState, hasName, KpxError, knimeUsersOf, osUserOf } from '@kpx/protocol';
import type { AccountsConfig } from './config.js';
import { type Group, lookUpAccount, lookUpGroups, lookUpIds, type PasswdEntry } from './system/name-service.js';

/**
 * An OS account that has been judged and may have an executor. Made by {@link judgeAccount} and nowhere else. Home and shell are plain absolute paths;
 * whether the home lies below a configured parent is for directories.ts to say.
 */
export interface Account extends Omit<PasswdEntry, 'name'> {
  readonly osUser: OsUser;
  /** Every KNIME name that resolves to this account; the executor's reservation is made from them. */
  readonly knimeUsers: readonly KnimeUser[];
}

/**
 * KNIME name -> case folding -> map -> name service -> judged account. The map is the helper's own, so that nobody outside can pair one user's
 * account with another user's jobs. Throws ACCOUNT_UNKNOWN, ACCOUNT_DENIED or ACCOUNT_LOOKUP_FAILED.
 */
export async function judgeAccount(knimeUser: KnimeUser, config: AccountsConfig, signal: AbortSignal): Promise<Account> {
  const osUser = osUserOf(knimeUser, config);
  const entry = await lookUpAccount(osUser, signal);
  if (!entry) throw new KpxError('ACCOUNT_UNKNOWN', `there is no account "${osUser}" on this machine`);
  // Aliases of a directory (short name, other case, name@domain) end here: one account, one name.
  if (entry.name !== osUser) throw denied(osUser, `the name service calls it "${entry.name}"`);
  judgeEntry(osUser, entry, config);
  const { uid, gid, home, shell } = entry;
  // Files, processes and the look-up of groups go by uid: two accounts with one uid are one to the kernel.
  const owner = await lookUpAccount(uid, signal);
  if (owner?.name !== osUser) throw denied(osUser, `its uid ${uid} belongs to "${owner?.name ?? 'nobody'}"`);
  const deniedUids = [...(await lookUpIds('passwd', config.denied_users, signal)).values()];
  if (deniedUids.includes(uid)) throw denied(osUser, `its uid ${uid} is that of an account in denied_users`);
  await judgeGroups(osUser, config, signal);
  return { osUser, uid, gid, home, shell, knimeUsers: knimeUsersOf(osUser, config) };
}

/** Why the account of an executor that runs would be refused one now; undefined where it would not, or where the name service cannot say. */
export async function refusalOf({ knimeUsers: [user], uid, state }: ExecutorInfo, config: AccountsConfig, signal: AbortSignal) {
  if (user === undefined || state === ExecutorState.exited) return undefined;
  const judged = judgeAccount(user, config, signal).then((account) => (account.uid === uid ? undefined : `its uid is ${account.uid} now`));
  return await judged.catch(({ code, message }: KpxError) => (/^ACCOUNT_(UNKNOWN|DENIED)$/.test(code) ? message : undefined));
}

function judgeEntry(osUser: OsUser, entry: PasswdEntry, config: AccountsConfig): void {
  if (entry.uid === 0 || entry.gid === 0) throw denied(osUser, 'it has the uid or gid of root');
  if (entry.uid < config.min_uid) throw denied(osUser, `its uid ${entry.uid} is below min_uid ${config.min_uid}`);
  if (hasName(config.denied_users, osUser, config.case)) throw denied(osUser, 'it is in denied_users');
  if (config.denied_shells.includes(entry.shell)) throw denied(osUser, `its shell ${entry.shell} is in denied_shells`);
  for (const field of ['home', 'shell'] as const)
    if (!PLAIN_PATH.test(entry[field])) throw denied(osUser, `its ${field} is not a plain absolute path`);
}

/**
 * Absolute, printable, no empty, `.` or `..` component. The name service may be somebody else's: its values are judged like any input. U+FFFD is
 * what is left of bytes that are not UTF-8: the path would be another one.
 */
const PLAIN_PATH = /^(\/(?!\.{1,2}(\/|$))[^/\p{Cc}\p{Noncharacter_Code_Point}\ufffd]{1,255}){1,64}$/u;

async function judgeGroups(osUser: OsUser, config: AccountsConfig, signal: AbortSignal): Promise<void> {
  if (config.denied_groups.length === 0 && config.allowed_groups.length === 0) return;
  const idsOf = async (list: readonly string[]) => new Set((await lookUpIds('group', list, signal)).values());
  const asked = [lookUpGroups(osUser, signal), idsOf(config.denied_groups), idsOf(config.allowed_groups)] as const;
  const [groups, deniedGids, allowedGids] = await Promise.all(asked);
  // Name or id denies: directories tell groups in one case and show them in another, and a group may have two names. To be allowed takes both.
  const bad = groups.find(({ gid, name }) => deniedGids.has(gid) || hasName(config.denied_groups, name, config.case));
  if (bad) throw denied(osUser, `its group "${bad.name}" is in denied_groups, by its name or its gid ${bad.gid}`);
  const isAllowed = ({ gid, name }: Group) => allowedGids.has(gid) && config.allowed_groups.includes(name);
  if (config.allowed_groups.length > 0 && !groups.some(isAllowed)) throw denied(osUser, 'none of its groups is in allowed_groups');
}

export const denied = (who: OsUser, why: string) => new KpxError('ACCOUNT_DENIED', `the account "${who}" may not have an executor: ${why}`);
