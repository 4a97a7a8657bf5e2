/** How long one check may take before it counts as failed, in milliseconds: others do not wait for it. */
const CHECK_TIMEOUT_MS = 30_000;
/** After that, until it has said what it was waiting for, in milliseconds. */
const REASON_TIMEOUT_MS = 1_000;

/** The result of a check: what it saw, and the fix where something is to be done. */
export type Verdict =
  | { readonly result: 'ok' | 'skipped'; readonly seen: string }
  | { readonly result: 'warn' | 'fail'; readonly seen: string; readonly fix: string };

/** One thing that is looked at, apart from all others. */
export interface Check {
  /** Always the same for the same thing: programs go by it. */
  readonly name: string;
  /** The fix when {@link look} throws an Error, or hangs. */
  readonly fix: string;
  /** Throws {@link Skipped}, or any other Error for what is wrong. `signal` aborts when nobody waits any more. */
  look(signal: AbortSignal): Promise<Verdict>;
}

export type Finding = { readonly name: string } & Verdict;

export const ok = (seen: string): Verdict => ({ result: 'ok', seen });
export const warn = (seen: string, fix: string): Verdict => ({ result: 'warn', seen, fix });
export const fail = (seen: string, fix: string): Verdict => ({ result: 'fail', seen, fix });

/** It cannot be looked at, and why that is no fault of its own. */
export class Skipped extends Error {
  override name = 'Skipped';
}

export const ASK_AS_ROOT = 'ask as root';

/** All at once, in their order. Never rejects, and takes little longer than {@link CHECK_TIMEOUT_MS}. */
export async function examine(checks: readonly Check[]): Promise<Finding[]> {
  return await Promise.all(checks.map(async (check) => ({ name: check.name, ...(await bounded(check)) })));
}

async function bounded({ look, fix }: Check): Promise<Verdict> {
  const hung = new AbortController();
  const silent = `no answer within ${CHECK_TIMEOUT_MS / 1_000} s`;
  const timers: NodeJS.Timeout[] = [];
  const late = new Promise<Verdict>((resolve) => {
    timers.push(setTimeout(() => hung.abort(), CHECK_TIMEOUT_MS));
    timers.push(setTimeout(() => resolve(fail(silent, fix)), CHECK_TIMEOUT_MS + REASON_TIMEOUT_MS));
  });
  try {
    const verdict = await Promise.race([look(hung.signal), late]);
    // It was given up: that is no answer, even if the check makes one of it.
    return hung.signal.aborted && verdict.result !== 'fail' ? fail(silent, fix) : verdict;
  } catch (error) {
    const { message } = error as Error;
    if (hung.signal.aborted) return fail(`${silent}: ${message}`, fix);
    return error instanceof Skipped ? { result: 'skipped', seen: message } : fail(message, fix);
  } finally {
    for (const timer of timers) clearTimeout(timer);
  }
}

/** Asked for several times, done once. */
export function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
