import { type Started, startCommandWithInput } from '../host/command.js';
import type { HookResult } from '../record/outcomes.js';

/** How long the program may take, in milliseconds; then its process group is killed. */
export const DEADLINE_MS = 10_000;
/** Output that is kept for the log, in characters: the last of it. */
export const OUTPUT_CHARS_KEPT = 2_048;
/** A program that writes more is killed, in characters. */
const OUTPUT_CHARS_MAX = 1_048_576;
/** How long output is awaited after its end, in milliseconds: a process that it has left may hold the pipe for ever. */
const OUTPUT_GRACE_MS = 100;
/** How long a killed program may take to be gone, in milliseconds: one that waits for a network drive may take for ever. */
const GONE_MS_MAX = 1_000;

export interface Outcome {
  readonly result: HookResult;
  /** For people: why it is not ok. */
  readonly why: string;
  /** The end of what it has written. */
  readonly output: string;
}

/** A program that runs: what becomes of it, and how to end it. */
export interface Call {
  readonly outcome: Promise<Outcome>;
  kill(): void;
}

/**
 * Runs a program with `input` on its standard input: no shell, an environment from scratch, a session and process group of its own. The group is killed
 * in any case when the call is over, so that nothing stays that has not made a session of its own. Never rejects.
 */
export function call([program = '', ...args]: readonly string[], input: string): Call {
  let child: Started;
  try {
    child = startCommandWithInput(program as `/${string}`, args, {});
  } catch (error) {
    return { outcome: Promise.resolve(notStarted(error as Error)), kill: () => {} };
  }
  child.stdin?.on('error', () => {}); // it need not read
  child.stdin?.end(input);
  const kill = () => killGroup(child);
  return { outcome: outcomeOf(child, kill), kill };
}

const notStarted = ({ message }: Error): Outcome => ({ result: 'not_started', why: message, output: '' });

async function outcomeOf(child: Started, kill: () => void): Promise<Outcome> {
  let ended: Outcome['why'] | undefined;
  let result: HookResult = 'failed';
  const output = collected(child, (why) => {
    ended = why;
    kill();
  });
  const timers: NodeJS.Timeout[] = [];
  try {
    return await new Promise((resolve) => {
      const done = (why: string) => resolve({ result: why === '' ? 'ok' : result, why, output: output() });
      timers.push(
        setTimeout(() => {
          result = 'timeout';
          ended = `it had not ended after ${DEADLINE_MS / 1_000} s, and was killed`;
          kill();
          timers.push(setTimeout(() => done(`${ended}; it cannot be killed`), GONE_MS_MAX));
        }, DEADLINE_MS),
      );
      child.once('error', (error) => resolve(notStarted(error)));
      child.once('exit', (code, signal) => {
        const why = ended ?? (code === 0 ? '' : signal === null ? `exit code ${code}` : `signal ${signal}`);
        child.once('close', () => done(why));
        timers.push(setTimeout(() => done(why), OUTPUT_GRACE_MS));
      });
    });
  } finally {
    for (const timer of timers) clearTimeout(timer);
    kill();
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy();
    child.unref();
  }
}

/** Of both streams, as it comes. */
function collected({ stdout, stderr }: Started, tooMuch: (why: string) => void): () => string {
  let [kept, count] = ['', 0];
  for (const stream of [stdout, stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      kept = (kept + chunk).slice(-OUTPUT_CHARS_KEPT);
      count += chunk.length;
      if (count <= OUTPUT_CHARS_MAX) return;
      stream.destroy();
      tooMuch(`it wrote more than ${OUTPUT_CHARS_MAX} characters, and was killed`);
    });
  }
  return () => kept;
}

/** As long as the group has a process, nobody else's has its number. */
function killGroup({ pid }: { readonly pid?: number | undefined }): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // nobody of it is there any more
  }
}
