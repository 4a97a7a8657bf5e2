import { constants } from 'node:fs';
import { access, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { bold, failure, say, success, warning } from '@kpx/broker/output/terminal';
import { printable } from '@kpx/protocol';
import type { AccountsPorts } from '../accounts-rabbitmq.js';

export const ROOTS_MODE = 0o600;

/** One thing that has to be so. `by hand`: an operator's part, which the rest does not need. `fails`: it has to be done first. */
export interface Step {
  readonly name: string;
  readonly state: 'ok' | 'to do' | 'by hand' | 'fails';
  /** Why it has to be so, or what it is. */
  readonly why: string;
  /** Lines of commands, or of a file. */
  readonly lines?: readonly string[];
  readonly apply?: () => Promise<void>;
}

/** Where the accounts' RabbitMQ is to be. */
export interface Wanted {
  readonly user: string;
  readonly ports: AccountsPorts;
  readonly passwordFile: string;
  readonly isHere: boolean;
}

export const isThere = (path: string, mode = constants.F_OK) =>
  access(path, mode).then(
    () => true,
    () => false,
  );

interface Wish {
  readonly path: string;
  readonly content: string;
  readonly mode: number;
  readonly gid: number;
  readonly why: string;
  /** Whether a file that is there says the same. */
  readonly isSame?: (content: string) => boolean;
}

/** A file that has to be there. */
export async function fileStep({ path, content, mode, gid, why, isSame = (there) => there === content }: Wish): Promise<Step> {
  const there = await readFile(path, 'utf8').catch(() => undefined);
  const status = there === undefined ? undefined : await stat(path);
  const isRight = status?.uid === 0 && status.gid === gid && (status.mode & 0o7777) === mode;
  if (there !== undefined && isSame(there) && isRight) return { name: path, state: 'ok', why };
  const keeps = there !== undefined && isSame(there) ? there : content;
  return { name: path, state: 'to do', why, apply: () => write(path, keeps, mode, gid) };
}

/** Whole or not at all, root's. */
export async function write(path: string, content: string, mode: number, gid: number): Promise<void> {
  const beside = `${path}.new`;
  await rm(beside, { force: true });
  const file = await open(beside, 'wx', ROOTS_MODE);
  try {
    await file.writeFile(content);
    await file.chown(0, gid);
    await file.chmod(mode);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(beside, path);
}

const STATES = { ok: success, 'to do': warning, 'by hand': warning, done: success, fails: failure };
const STATE_CHARS = 7;

/** Prints each with its state. `next`: commands that come after them. */
export function tell(steps: readonly Step[], done: ReadonlySet<Step>, applied: boolean, next: string): void {
  const indent = ' '.repeat(STATE_CHARS + 2);
  const lines = steps.flatMap((step) => {
    const state = done.has(step) ? 'done' : step.state;
    const head = `${STATES[state](state.padEnd(STATE_CHARS))}  ${bold(printable(step.name))}: ${printable(step.why)}`;
    return [head, ...(state === 'ok' ? [] : (step.lines ?? []).map((line) => `${indent}${printable(line)}`))];
  });
  const is = (state: Step['state']) => steps.some((step) => step.state === state);
  let end = 'Nothing is to be done.';
  if (is('fails')) end = 'Nothing was changed: see to what fails first.';
  else if (is('to do') && !applied) end = 'Nothing was changed: --apply does it.';
  else if (is('by hand')) end = 'The rest is to be done by hand.';
  else if (done.size > 0) end = `Done. Then: ${next}.`;
  say([...lines, '', `${end}\n`].join('\n'));
}
