import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import type { ErrorCode, KpxError } from '@kpx/protocol';

/*
 * To the helper, which asks getent, an account of a directory service that is down does not exist. Look here before "unknown" counts.
 */

const NSSWITCH = '/etc/nsswitch.conf';
/** By source of nsswitch.conf(5): where the process listens that the C library asks. The other sources have none, or are files. */
const SOCKETS: ReadonlyMap<string, string> = new Map([
  ['sss', '/var/lib/sss/pipes/nss'],
  ['winbind', '/run/samba/winbindd/pipe'],
  ['ldap', '/run/nslcd/socket'],
]);
const CONNECT_TIMEOUT_MS = 1_000;

/** Where accounts come from, by nsswitch.conf(5), without actions such as `[NOTFOUND=return]`. */
export function sourcesOf(nsswitch: string): string[] {
  const [, sources = 'files'] = /^\s*passwd:([^#\n]*)/m.exec(nsswitch) ?? [];
  return sources
    .replace(/\[[^\]]*\]/g, ' ')
    .split(/\s+/)
    .filter((source) => source !== '');
}

/** Why the name service cannot know every account at the moment: nobody listens for one of its sources. undefined: nothing is known to be wrong. */
export async function nameServiceIsDown(nsswitch: string = NSSWITCH, sockets = SOCKETS): Promise<string | undefined> {
  for (const source of sourcesOf(await readFile(nsswitch, 'utf8').catch(() => ''))) {
    const socket = sockets.get(source);
    const why = socket === undefined ? undefined : await refusal(socket);
    if (why !== undefined)
      return `the name service does not answer: ${nsswitch} names "${source}", and nobody listens at ${socket} (${why})`;
  }
  return undefined;
}

/** Why a connection to this socket is not made. */
async function refusal(path: string): Promise<string | undefined> {
  return await new Promise((resolve) => {
    const socket = connect(path);
    const settle = (why: string | undefined) => {
      socket.destroy();
      resolve(why);
    };
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => settle(`no connection within ${CONNECT_TIMEOUT_MS} ms`));
    socket.once('connect', () => settle(undefined)).on('error', ({ code, message }: NodeJS.ErrnoException) => settle(code ?? message));
  });
}

/** An account is unknown only where the name service is there to know it: otherwise it is the host that has failed. */
export async function reasonOf({ code, message }: KpxError): Promise<{ code: ErrorCode; detail: string }> {
  const down = code === 'ACCOUNT_UNKNOWN' ? await nameServiceIsDown() : undefined;
  return down === undefined ? { code, detail: message } : { code: 'ACCOUNT_LOOKUP_FAILED', detail: down };
}
