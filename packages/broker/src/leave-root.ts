import { CommandError, EXIT } from './exit.js';

/** User and group "nobody" of every Linux. */
const NOBODY = 65_534;

export interface Successor {
  readonly uid: number;
  readonly gid: number;
  /** Its groups. */
  readonly groups: readonly number[];
}

/** For good: what follows reads what the network has sent. No effect unless root. Throws {@link CommandError} when it does not work. */
export function leaveRoot({ uid, gid, groups }: Successor = { uid: NOBODY, gid: NOBODY, groups: [] }): void {
  if (process.getuid?.() !== 0) return;
  // Terminals are opened anew by Node, which others may not.
  void [process.stdin.isTTY, process.stdout.isTTY, process.stderr.isTTY];
  try {
    process.setgroups?.([...groups]);
    process.setgid?.(gid);
    process.setuid?.(uid);
  } catch (error) {
    const why = (error as Error).message;
    throw new CommandError(EXIT.noPermission, `Root cannot be given up (${why}). Run this as the broker's account, with --password-file.`);
  }
  if (canBeRoot()) throw new CommandError(EXIT.noPermission, 'Root was given up and could be had again: not going on.');
}

function canBeRoot(): boolean {
  try {
    process.setuid?.(0);
    return true;
  } catch {
    return false;
  }
}
