import { spawn } from 'node:child_process';
import { KpxError } from '@kpx/protocol';
import { maskedStdio } from './descriptors.js';

/** Longest output kept of one stream of an external command, in bytes; a command that says more is ended. */
const OUTPUT_BYTES_MAX = 1024 * 1024;

/** How each command is started: messages in English and nothing of our own environment; a session of its own, so that it has no terminal. */
const PROCESS = { env: { PATH: '/usr/bin:/usr/sbin:/bin:/sbin', LC_ALL: 'C' }, cwd: '/', detached: true, killSignal: 'SIGKILL' } as const;

/** An exit code of -1: a signal ended it. `stderr` is without white space at its ends. */
type CommandResult = Readonly<{ exitCode: number; stdout: string; stderr: string }>;

/**
 * Runs one external command to its end: absolute path, argument vector, no shell, an environment from scratch, no input, no other
 * descriptor of ours, a session of its own without a terminal, killed when `signal` aborts. `fds` are open directories that the command sees
 * as 3, 4, …: it works on what was judged, whatever becomes of the name. Output that matches `cut` is taken out as it comes, and does not count. The
 * only place that starts a process, beside the direct launcher.
 * Throws DEADLINE_EXCEEDED or INTERNAL; an exit code is the caller's to judge.
 */
export function runCommand(binary: `/${string}`, args: readonly string[], signal: AbortSignal, fds: readonly number[] = [], cut?: RegExp) {
  return new Promise<CommandResult>((resolve, reject) => {
    const child = spawn(binary, args, { ...PROCESS, stdio: maskedStdio(['ignore', 'pipe', 'pipe', ...fds]), signal });
    const output = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream]?.setEncoding('utf8').on('data', (text: string) => {
        output[stream] = (output[stream] + text).replace(cut ?? '', '');
        if (output[stream].length > OUTPUT_BYTES_MAX) child.kill('SIGKILL');
      });
    child.once('error', (error) => {
      if (signal.aborted) reject(new KpxError('DEADLINE_EXCEEDED', `${binary} did not finish in time`));
      else reject(new KpxError('INTERNAL', `${binary} could not be run: ${error.message}`));
    });
    child.once('close', (exitCode) => resolve({ exitCode: exitCode ?? -1, stdout: output.stdout, stderr: output.stderr.trim() }));
  });
}
