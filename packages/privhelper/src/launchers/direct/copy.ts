import { spawn } from 'node:child_process';
import { KpxError } from '@kpx/protocol';
import type { Account } from '../../accounts.js';
import { maskedStdio } from '../../system/descriptors.js';
import type { UserDirectory } from '../../system/directory.js';

/** How long the copy may take, and what is done after it when it has failed, in milliseconds: less than a request has. */
const COPY_MS_MAX = 5_000;
const REMOVAL_MS_MAX = 2_000;
/** Processes that the user may have while it runs, all that they have elsewhere included. */
const PROCESSES_MAX = 64;

/** Longest that is kept of what a command says, in characters. */
const SAID_CHARS_MAX = 2_000;

const ENVIRONMENT = { PATH: '/usr/bin:/bin', LC_ALL: 'C' };
/** The home, which is descriptor 3: whatever becomes of its name. */
const HOME = '/proc/self/fd/3/.';

/** Does the work of kpx-home@.service where there is no PID 1, see {@link Launcher.fill}. */
export async function copyAsUser(account: Account, skeleton: string, { handle }: UserDirectory, signal: AbortSignal): Promise<void> {
  // A signal that has aborted already tells nobody of it any more.
  if (signal.aborted) throw new KpxError('DEADLINE_EXCEEDED', `no time was left to fill the home ${account.home}`);
  const copy = ['/usr/bin/cp', '--recursive', '--no-dereference', '--preserve=mode', '--', `${skeleton}/.`, HOME];
  const why = await runAsUser(account, copy, handle.fd, [signal, AbortSignal.timeout(COPY_MS_MAX)]);
  if (why === undefined) return;
  await runAsUser(account, ['/usr/bin/find', HOME, '-mindepth', '1', '-delete'], handle.fd, [AbortSignal.timeout(REMOVAL_MS_MAX)]);
  throw new KpxError('DIRECTORY_FAILED', `the home could not be filled from ${skeleton}: ${why}`);
}

/**
 * `/usr/bin/prlimit … -- /usr/bin/setpriv … -- COMMAND`: the user's ids and no others, no way to more, few processes, a session of its own, which
 * is ended as a whole. Answers why it has failed; undefined: it has not.
 */
async function runAsUser(
  { uid, gid }: Account,
  command: readonly string[],
  home: number,
  signals: readonly AbortSignal[],
): Promise<string | undefined> {
  const drop = ['--reuid', `${uid}`, '--regid', `${gid}`, '--clear-groups', '--no-new-privs', '--bounding-set=-all', '--inh-caps=-all'];
  const argv = [`--nproc=${PROCESSES_MAX}`, '--', '/usr/bin/setpriv', ...drop, '--pdeathsig', 'KILL', '--', ...command];
  const stdio = maskedStdio(['ignore', 'ignore', 'pipe', home]);
  const child = spawn('/usr/bin/prlimit', argv, { env: ENVIRONMENT, cwd: '/', stdio, detached: true });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = `${said}${text}`.slice(0, SAID_CHARS_MAX);
  });
  return await new Promise<string | undefined>((resolve) => {
    let ended = false;
    const late = () => {
      // Its group is there until its end has been told; what it has left behind then keeps nobody waiting.
      if (child.pid !== undefined && !ended) process.kill(-child.pid, 'SIGKILL');
      resolve(`${command[0]} did not end in time`);
    };
    // Each by itself: of a timeout in AbortSignal.any(), which nobody else waits for, Node 20 forgets to tell after a garbage collection.
    for (const signal of signals) signal.addEventListener('abort', late, { once: true });
    child.once('error', ({ message }) => resolve(message));
    child.once('exit', (code) => {
      ended = true;
      if (code === 0) resolve(undefined);
    });
    child.once('close', (code, by) => resolve(said.trim() || `${command[0]} ended with ${by ?? `exit ${code}`}`));
  }).finally(() => child.stderr?.destroy());
}
