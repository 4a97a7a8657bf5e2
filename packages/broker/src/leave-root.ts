import { type EventEmitter, once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { startCommandWithInput } from './command.js';
import { CommandError, EXIT } from './exit.js';

const SETPRIV = '/usr/bin/setpriv';
/** setpriv(1): it has not given up what it was told to. */
const SETPRIV_FAILED = 127;
/** User and group "nobody" of every Linux. */
const NOBODY = 65_534;

/** In the environment of the process that goes on. */
const VARIABLE = 'KPXCTL_GOES_ON';
/** Longest that is handed over, in characters: a configuration, a password, certificates. */
const HANDED_OVER_CHARS_MAX = 16 * 1024 * 1024;

export interface Successor {
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
 * By setpriv, because Debian's build of Node 20 refuses to change its own user and groups.
 */
export function goOnAs(handedOver: unknown, { uid, gid, groups }: Successor = { uid: NOBODY, gid: NOBODY, groups: [] }): GoingOn {
  const ids = ['--reuid', `${uid}`, '--regid', `${gid}`, ...(groups.length === 0 ? ['--clear-groups'] : ['--groups', groups.join(',')])];
  const nothingLeft = ['--no-new-privs', '--inh-caps=-all', '--pdeathsig', 'KILL'];
  const kpxctl = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = startCommandWithInput(SETPRIV, [...ids, ...nothingLeft, '--', ...kpxctl], { [VARIABLE]: '1' });
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
  if (code === SETPRIV_FAILED) throw problem(`${SETPRIV} has failed`);
  if (signal !== null) throw new CommandError(EXIT.unavailable, `kpxctl's process without root was ended by ${signal}: try again.`);
  return code;
}

/** Is this the process that goes on without root? */
export const goesOn = (): boolean => process.env[VARIABLE] !== undefined;

/** In the process that goes on: what was handed over to it. Undefined in any other. Whatever follows on standard input is left there. */
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
