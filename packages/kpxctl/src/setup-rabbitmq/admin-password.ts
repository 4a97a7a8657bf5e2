import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { complain } from '@kpx/broker/output/terminal';

/** Longest line that counts as a password, in characters. */
const PASSWORD_CHARS_MAX = 4_096;

/** From `file`, else the first line of standard input, which on a terminal is asked for and not shown. Throws {@link CommandError}. */
export async function adminPassword(admin: string, file: string | undefined): Promise<string> {
  const password = file === undefined ? await firstLine(admin) : await fromFile(file);
  if (password === '' || password.length > PASSWORD_CHARS_MAX) {
    throw new CommandError(EXIT.usage, `There is no password of "${admin}": type it, or name a file with --admin-password-file.`);
  }
  return password;
}

async function fromFile(file: string): Promise<string> {
  return await readFile(file, 'utf8').then(
    (text) => text.replace(/\r?\n$/, ''),
    ({ code }: NodeJS.ErrnoException) => {
      throw new CommandError(code === 'EACCES' ? EXIT.noPermission : EXIT.noInput, `${file} cannot be read: ${code}.`);
    },
  );
}

async function firstLine(admin: string): Promise<string> {
  const { isTTY } = process.stdin;
  if (isTTY) complain(`Password of RabbitMQ's administrator "${admin}": `);
  // Readline turns the terminal's own echo off, and its own goes nowhere.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: nowhere, terminal: isTTY });
  try {
    return await new Promise<string>((resolve) => {
      terminal.once('line', resolve);
      terminal.once('close', () => resolve(''));
    });
  } finally {
    terminal.close();
    process.stdin.pause();
    if (isTTY) complain('\n');
  }
}
