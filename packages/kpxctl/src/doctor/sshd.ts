import { runCommand } from '@kpx/privhelper/system/command';
import { lookUpGroups } from '@kpx/privhelper/system/name-service';

/** `/usr/sbin/sshd -T -C user=NAME,host=localhost,addr=127.0.0.1`: why sshd lets this account not in from this machine; undefined: it may. */
export async function refusedBySshd(sshd: `/${string}`, user: string, signal: AbortSignal): Promise<string | undefined> {
  const { exitCode, stdout } = await runCommand(sshd, ['-T', '-C', `user=${user},host=localhost,addr=127.0.0.1`], signal);
  return exitCode === 0
    ? refusal(
        stdout,
        user,
        (await lookUpGroups(user, signal)).map(({ name }) => name),
      )
    : undefined;
}

/**
 * In the order of sshd_config(5), DenyUsers: the first of four lists that speaks against the account. A pattern with a host (`USER@HOST`) is taken
 * to admit, and not to refuse: whether localhost is meant is sshd's to say.
 */
export function refusal(settings: string, user: string, groups: readonly string[]): string | undefined {
  const listed = (key: string) =>
    [...settings.matchAll(new RegExp(`^${key} (.+)$`, 'gm'))].flatMap(([, patterns = '']) => patterns.split(' '));
  const [denyUsers, allowUsers, denyGroups, allowGroups] = ['denyusers', 'allowusers', 'denygroups', 'allowgroups'].map(listed) as [
    string[],
    string[],
    string[],
    string[],
  ];
  if (denyUsers.some((pattern) => matches(pattern, user))) return 'DenyUsers';
  if (allowUsers.length > 0 && !allowUsers.some((pattern) => matches(pattern.replace(/@[^@]*$/, ''), user))) return 'AllowUsers';
  if (denyGroups.some((pattern) => groups.some((group) => matches(pattern, group)))) return 'DenyGroups';
  if (allowGroups.length > 0 && !allowGroups.some((pattern) => groups.some((group) => matches(pattern, group)))) return 'AllowGroups';
  return undefined;
}

/** By ssh_config(5), PATTERNS: `*` and `?`. */
const matches = (pattern: string, text: string) =>
  new RegExp(
    `^${pattern
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replaceAll('*', '.*')
      .replaceAll('?', '.')}$`,
  ).test(text);
