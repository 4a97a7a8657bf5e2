import { type ChildProcess, spawn } from 'node:child_process';

/** Longest output kept of one stream of a command, in bytes; a command that says more is ended. */
const OUTPUT_BYTES_MAX = 64 * 1024;

/** The whole environment of a command: messages in English, nothing of our own environment. */
const ENVIRONMENT: Readonly<Record<string, string>> = { PATH: '/usr/bin:/usr/sbin:/bin:/sbin', LC_ALL: 'C' };

/** `stderr` is whole; `exitCode` is -1 where a signal ended the command, also for want of time. */
type CommandResult = Readonly<{ exitCode: number; stdout: string; stderr: string }>;

const optionsOf = (environment: Readonly<Record<string, string>>) => ({
  env: { ...ENVIRONMENT, ...environment },
  cwd: '/',
  detached: true,
});

/**
 * Starts an external command: absolute path, argument vector, no shell, no input, and a session of its own, so that it has no terminal. The only
 * place of the broker and of kpxctl that does; kpxctl's looks that go by the helper's judgement use the helper's own. `environment` is added.
 */
export const startCommand = (binary: `/${string}`, args: readonly string[], environment: Readonly<Record<string, string>> = {}) =>
  spawn(binary, args, { ...optionsOf(environment), stdio: ['ignore', 'pipe', 'pipe'] });

/** A process without its streams is one for which no descriptor was free: its 'error' comes later. */
export type Started = ChildProcess;

/** The same, for one that is told something. */
export const startCommandWithInput = (binary: `/${string}`, args: readonly string[], environment: Readonly<Record<string, string>>) =>
  spawn(binary, args, { ...optionsOf(environment), stdio: ['pipe', 'pipe', 'pipe'] });

/** How long a command that was ended by force may take to be gone, in milliseconds: one that waits for a network drive may take for ever. */
const GONE_MS_MAX = 1_000;

/** Runs a command to its end, `timeoutMs` at most. Rejects when it cannot be started, and when it stays although it was ended by force. */
export async function runCommand(binary: `/${string}`, args: readonly string[], timeoutMs: number): Promise<CommandResult> {
  const child: Started = startCommand(binary, args);
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  let giveUp: NodeJS.Timeout | undefined;
  const [stdout, stderr] = [collected(child, 'stdout'), collected(child, 'stderr')];
  try {
    return await new Promise((resolve, reject) => {
      giveUp = setTimeout(
        () => reject(new Error(`${binary} did not end within ${timeoutMs} ms, and cannot be ended`)),
        timeoutMs + GONE_MS_MAX,
      );
      child.once('error', reject);
      child.once('close', (exitCode) => resolve({ exitCode: exitCode ?? -1, stdout: stdout(), stderr: stderr() }));
    });
  } finally {
    clearTimeout(timer);
    clearTimeout(giveUp);
    for (const stream of [child.stdout, child.stderr]) stream?.destroy();
    child.unref();
  }
}

function collected(child: Started, stream: 'stdout' | 'stderr'): () => string {
  let text = '';
  child[stream]?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    if (text.length > OUTPUT_BYTES_MAX) child.kill('SIGKILL');
  });
  return () => text;
}
