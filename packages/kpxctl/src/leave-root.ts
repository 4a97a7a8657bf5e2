import { type EventEmitter, once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { startCommandWithInput } from '@kpx/broker/host/command';
import { CommandError, EXIT } from '@kpx/broker/output/exit';

const CHROOT = '/usr/sbin/chroot';
const SETPRIV = '/usr/bin/setpriv';
/** Exit codes of chroot(1) and setpriv(1): something was not given up, or what comes next cannot be run. */
const NOT_GIVEN_UP = new Set([125, 126, 127]);
/** User and group "nobody" of every Linux. */
const NOBODY = 65_534;

/** In the environment of the process that goes on. */
const VARIABLE = 'KPXCTL_GOES_ON';
/** Longest that is handed over, in characters: a configuration, a password, certificates. */
const HANDED_OVER_CHARS_MAX = 16 * 1024 * 1024;
/** Longest that {@link textOf} takes, in characters. */
const SAID_CHARS_MAX = 1024 * 1024;

interface Successor {
  readonly uid: number;
  readonly gid: number;
  /** Its groups. */
  readonly groups: readonly number[];
}

/** A process without root, with pipes. */
export interface GoingOn {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves with its exit code. Rejects with a {@link CommandError} where root cannot be given up. */
  readonly ended: Promise<number>;
}

export const isRoot = (): boolean => process.getuid?.() === 0;

/**
 * Starts kpxctl once more, with the same arguments, as somebody else for good: what it does there reads what the network has sent. No privilege can be
 * regained, there is no terminal, and it ends with this process. `handedOver` is what root alone could read: {@link takenOver} answers it there.
 * Not by Node itself: Debian's build of Node 20 refuses to change its own user and groups. And not by setpriv alone: it asks the name service for a
 * number as well, which waits for minutes where SSSD hangs. chroot asks for no number that has a plus sign. To `/` it changes nothing else.
 */
export function goOnAs(handedOver: unknown, { uid, gid, groups }: Successor = { uid: NOBODY, gid: NOBODY, groups: [] }): GoingOn {
  const ids = [`--userspec=+${uid}:+${gid}`, `--groups=${groups.map((group) => `+${group}`).join(',')}`, '/'];
  const nothingLeft = [SETPRIV, '--no-new-privs', '--inh-caps=-all', '--pdeathsig', 'KILL', '--'];
  const kpxctl = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = startCommandWithInput(CHROOT, [...ids, ...nothingLeft, ...kpxctl], { [VARIABLE]: '1' });
  child.stdin.on('error', () => {}); // it has ended, and its exit code says how
  child.stdin.write(`${JSON.stringify(handedOver)}\n`);
  return { stdin: child.stdin, stdout: child.stdout, stderr: child.stderr, ended: endOf(child) };
}

async function endOf(child: EventEmitter): Promise<number> {
  const problem = (why: string) =>
    new CommandError(EXIT.noPermission, `Root cannot be given up (${why}). Run this as the broker's account, with --password-file.`);
  const [code, signal] = await once(child, 'close').catch((error: Error) => {
    throw problem(error.message);
  });
  if (NOT_GIVEN_UP.has(code)) throw problem(`${CHROOT} or ${SETPRIV} has failed`);
  if (signal !== null) throw new CommandError(EXIT.unavailable, `kpxctl's process without root was ended by ${signal}: try again.`);
  return code;
}

/** Is this the process that goes on without root? */
export const goesOn = (): boolean => process.env[VARIABLE] !== undefined;

/** In the process that goes on: what was handed over to it. Undefined in any other. It leaves on standard input all that follows. */
export async function takenOver(): Promise<unknown> {
  if (!goesOn()) return undefined;
  const notOurs = new CommandError(EXIT.usage, `${VARIABLE} is kpxctl's own: it must not be in the environment.`);
  if (isRoot()) throw notOurs;
  if (canBeRoot()) throw new CommandError(EXIT.noPermission, 'Root was given up and could be had again: not going on.');
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    text += chunk;
    const end = text.indexOf('\n');
    if (end === -1 && text.length < HANDED_OVER_CHARS_MAX) continue;
    if (end < text.length - 1) process.stdin.unshift(text.slice(end + 1));
    try {
      return JSON.parse(text.slice(0, end));
    } catch {
      break;
    }
  }
  throw notOurs;
}

function canBeRoot(): boolean {
  try {
    process.setuid?.(0);
    return true;
  } catch {
    return false;
  }
}

/** All that the process without root says there. */
export async function textOf(stream: Readable): Promise<string> {
  let text = '';
  for await (const chunk of stream.setEncoding('utf8')) {
    text += chunk;
    if (text.length > SAID_CHARS_MAX) throw new Error(`more than ${SAID_CHARS_MAX} characters`);
  }
  return text;
}
