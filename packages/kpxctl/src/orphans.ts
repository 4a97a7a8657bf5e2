import { lstat, readdir } from 'node:fs/promises';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { bold, say, warning } from '@kpx/broker/output/terminal';
import { readConfig } from '@kpx/privhelper/config';
import { runCommand } from '@kpx/privhelper/system/command';
import { lookUpAccount } from '@kpx/privhelper/system/name-service';
import { KpxError, osUserSchema, printable } from '@kpx/protocol';
import type { Command } from 'commander';
import { HELPER_CONFIG_FILE } from './broker-options.js';
import { endCommandsWithThis } from './interrupt.js';
import { lookAtNameService } from './name-service.js';
import { unfinishedIn } from './unfinished.js';

/** Directories looked at; with more, the rest is said to be left out. */
const DIRECTORIES_MAX = 20_000;
/** Look-ups at once, and how long one may take, in milliseconds. After the first one that hangs nobody else is asked for. */
const LOOK_UPS_AT_ONCE = 8;
const LOOK_UP_TIMEOUT_MS = 10_000;
const NAME_SERVICE_TIMEOUT_MS = 20_000;
/** How long the size of one directory, and of all of them, may take, in milliseconds. */
const SIZE_TIMEOUT_MS = 20_000;
const SIZES_TIMEOUT_MS = 120_000;

interface Options {
  readonly size?: boolean;
  readonly helperConfig: string;
  readonly json?: boolean;
}

export function addOrphans(program: Command): void {
  program
    .command('orphans')
    .summary('list directories of accounts that are gone')
    .description(
      'Looks for workspaces and temp directories whose account is gone, and for directories that kpx has not finished, and prints the command that would ' +
        'remove each. Removes nothing. It skips finished homes: nobody knows which of them kpx has made. Run it as root.',
    )
    .option('--size', 'also measure each')
    .option('--helper-config <FILE>', 'configuration of kpx-privhelper', HELPER_CONFIG_FILE)
    .option('--json', 'print JSON, for programs')
    .addHelpText('after', '\nExit codes: 0 done, 69 the name service cannot say of some whether their account is gone.')
    .action(orphans);
}

/** A directory as bytes, since a name may be no UTF-8. */
interface Found {
  readonly path: Buffer;
  readonly name: Buffer;
  readonly uid: number;
}

type Verdict = { readonly state: 'kept' } | { readonly state: 'gone' | 'look' | 'unknown'; readonly why: string };

interface Orphan {
  /** For people; a name that is no text has escapes in it. */
  readonly path: string;
  readonly uid: number;
  readonly state: 'gone' | 'look' | 'unknown' | 'unfinished';
  readonly why: string;
  readonly bytes: number | null;
  /** null: nothing should be removed before somebody has looked. */
  readonly command: string | null;
}

async function orphans({ size = false, helperConfig, json = false }: Options): Promise<void> {
  endCommandsWithThis();
  if (process.getuid?.() !== 0)
    throw new CommandError(EXIT.noPermission, 'kpxctl orphans has to be run as root: nobody else may read where the directories are.');
  const { workspace_parent, temp_parent, home_parents } = (await readConfig(helperConfig)).directories;
  const parents = [workspace_parent, temp_parent];
  const found = (await Promise.all(parents.map(directoriesIn))).flat();
  const looked = found.slice(0, DIRECTORIES_MAX);
  const verdicts = await judgeAll(looked);
  const deadline = performance.now() + SIZES_TIMEOUT_MS;
  const all: Orphan[] = [];
  for (const [index, directory] of looked.entries()) {
    const verdict = verdicts[index];
    if (verdict === undefined || verdict.state === 'kept') continue;
    const bytes = size && verdict.state === 'gone' ? await sizeOf(directory.path, deadline) : null;
    const command = verdict.state === 'gone' ? removal(directory.path) : null;
    all.push({ path: shown(directory.path), uid: directory.uid, ...verdict, bytes, command });
  }
  const unfinished = (await Promise.all([...new Set([...parents, ...home_parents])].map(unfinishedIn))).flat();
  const why = 'kpx was making it for a user when it was interrupted, and does not use it again';
  for (const { path, uid } of unfinished)
    all.push({ path: shown(path), uid, state: 'unfinished', why, bytes: null, command: removal(path) });
  const left_out = found.length - looked.length;
  say(json ? `${JSON.stringify({ parents, looked_at: looked.length, left_out, directories: all })}\n` : forPeople(parents, all, left_out));
  if (all.some(({ state }) => state === 'unknown')) process.exitCode = EXIT.unavailable;
}

/** kpx makes no directory of root's for a user, and no account's name starts with a dot. */
async function directoriesIn(parent: string): Promise<Found[]> {
  const names = await readdir(parent, { encoding: 'buffer' }).catch((error: NodeJS.ErrnoException) => {
    throw new CommandError(EXIT.config, `${parent} cannot be read: ${error.code}. See: kpxctl doctor`);
  });
  const found: Found[] = [];
  for (const name of names.sort(Buffer.compare)) {
    const path = Buffer.concat([Buffer.from(`${parent}/`), name]);
    const status = await lstat(path).catch(() => undefined); // gone since
    if (status?.isDirectory() && status.uid !== 0 && name[0] !== DOT) found.push({ path, name, uid: status.uid });
  }
  return found;
}

const DOT = 0x2e;

const unknown = (why: string): Verdict => ({ state: 'unknown', why });

/** In the order of the directories. "Not found" counts only if the name service could be asked before and after. */
async function judgeAll(directories: readonly Found[]): Promise<Verdict[]> {
  const before = await whatIsWrong();
  const verdicts: Verdict[] = [];
  let next = 0;
  let hung = false;
  const work = async () => {
    for (let index = next++; index < directories.length; index = next++) {
      verdicts[index] = hung ? unknown('the name service does not answer') : await judge(directories[index] as Found).catch(explain);
    }
  };
  const explain = (error: unknown): Verdict => {
    if (!(error instanceof KpxError)) throw error;
    hung ||= error.code === 'DEADLINE_EXCEEDED';
    return unknown(error.message);
  };
  await Promise.all(Array.from({ length: LOOK_UPS_AT_ONCE }, work));
  const wrong = before ?? (await whatIsWrong());
  if (wrong === undefined) return verdicts;
  return verdicts.map((verdict) => (verdict.state === 'kept' ? verdict : unknown(wrong)));
}

async function whatIsWrong(): Promise<string | undefined> {
  const looked = lookAtNameService(AbortSignal.timeout(NAME_SERVICE_TIMEOUT_MS));
  return (await looked.catch(({ message }: Error) => ({ unsure: message }))).unsure;
}

/** Throws a KpxError where the name service does not say. */
async function judge({ name, uid }: Found): Promise<Verdict> {
  const text = name.toString();
  const osUser = osUserSchema.safeParse(text);
  const signal = AbortSignal.timeout(LOOK_UP_TIMEOUT_MS);
  const named = osUser.success ? await lookUpAccount(osUser.data, signal) : undefined;
  if (named?.uid === uid) return { state: 'kept' };
  const owner = await lookUpAccount(uid, signal);
  if (owner) return { state: 'look', why: `it belongs to "${owner.name}" by its uid: a new name, or a uid that was given anew` };
  if (named) return { state: 'gone', why: `the account "${text}" has the uid ${named.uid} now` };
  return { state: 'gone', why: 'neither the name nor the uid is an account' };
}

/** `/usr/bin/du --summarize … -- PATH`, in bytes on disk; null: not known in time, or a name that cannot be an argument. */
async function sizeOf(path: Buffer, deadline: number): Promise<number | null> {
  const text = path.toString();
  const left = Math.floor(Math.min(SIZE_TIMEOUT_MS, deadline - performance.now()));
  if (left <= 0 || !Buffer.from(text).equals(path)) return null;
  const args = ['--summarize', '--block-size=1', '--one-file-system', '--', text];
  const { exitCode, stdout } = await runCommand('/usr/bin/du', args, AbortSignal.timeout(left)).catch(() => ({ exitCode: -1, stdout: '' }));
  return exitCode === 0 ? Number.parseInt(stdout, 10) : null;
}

/** For root to paste into a shell: whatever the name is, it is one argument, and nothing of it reaches the terminal as it is. */
const removal = (path: Buffer) => `rm -r --one-file-system -- ${quoted(path)}`;

/** In quotes of every shell where it is plain text, else in the `$'…'` of bash, zsh and ksh. */
function quoted(path: Buffer): string {
  const text = path.toString('latin1');
  if (/^[\x20-\x7e]*$/.test(text)) return `'${text.replaceAll("'", "'\\''")}'`;
  const escaped = text.replace(/[^A-Za-z0-9/._@ -]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`);
  return `$'${escaped}'`;
}

const shown = (path: Buffer) => printable(path.toString());

function forPeople(parents: readonly string[], all: readonly Orphan[], leftOut: number): string {
  const where = parents.join(' and ');
  const rest = leftOut === 0 ? [] : [warning(`Not looked at, beyond ${DIRECTORIES_MAX}: ${leftOut} directories.`)];
  const commands = all.flatMap(({ command }) => (command === null ? [] : [command]));
  if (all.length === 0) return `${[`Every directory below ${where} has its account.`, ...rest].join('\n')}\n`;
  const lines = all.map(({ path, uid, why, state, bytes }) => {
    const size = bytes === null ? '' : `, ${(bytes / 1024 ** 2).toFixed(1)} MiB`;
    return `${STATES[state].padEnd(STATE_CHARS)}  ${path}  (uid ${uid}${size}): ${printable(why)}`;
  });
  const advice =
    commands.length === 0
      ? []
      : [
          '',
          bold('kpx removes nothing. When you have looked, and saved what is to be kept, and no executor of theirs runs:'),
          '',
          ...commands,
        ];
  return `${[...lines, ...rest, ...advice].join('\n')}\n`;
}

const STATES = { gone: 'gone', look: 'look', unknown: 'cannot say', unfinished: 'unfinished' } as const;
const STATE_CHARS = 10;
