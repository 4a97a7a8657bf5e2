import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { styleText } from 'node:util';
import { printable } from '@kpx/protocol';
import { EXIT } from './exit.js';

/*
 * The one place that writes what kpxctl and the broker say to people, errors included. It may come from a publisher, a user or a file, and must
 * not steer the terminal: see printable(). Ends of lines and tabs are kept, and of control sequences the styles that are made here.
 */

const STYLES = { bold: 'bold', warning: 'yellow', failure: 'red', success: 'green' } as const;
const ESCAPE = '\u001b';
const OWN_STYLE = new RegExp(`(${ESCAPE}\\[(?:1|22|31|32|33|39)m)`);

/** On a terminal that has colours and is not told otherwise (NO_COLOR). */
const hasStyles = () => process.stdout.isTTY && process.stdout.hasColors();

let columnsElsewhere: number | undefined;

/** Where what is said here is passed on to a terminal: how wide that is. */
export function screenIs(columns: number | undefined): void {
  columnsElsewhere = columns;
}

/** In columns. Without a terminal there is no limit, nor on one that says 0, as a serial console does. */
export const screenWidth = (): number => (process.stdout.isTTY ? process.stdout.columns : columnsElsewhere) || Number.POSITIVE_INFINITY;

const styled = (style: keyof typeof STYLES) => (text: string) => (hasStyles() ? styleText(STYLES[style], text) : text);

/** `text` has been made {@link printable}. */
export const bold = styled('bold');
export const warning = styled('warning');
export const failure = styled('failure');
export const success = styled('success');

const safe = (text: string) => text.replace(/[^\n\t]+/g, printable);

/** Every second part of the split is a style. */
const safeWithStyles = (text: string) =>
  hasStyles()
    ? text
        .split(OWN_STYLE)
        .map((part, at) => (at % 2 === 1 ? part : safe(part)))
        .join('')
    : safe(text);

/** Whether the program ends where its output cannot be written. The broker's service does not come here: its log is its standard output. */
let isGuarded = false;

function output(): NodeJS.WriteStream {
  if (!isGuarded) process.stdout.on('error', lost);
  isGuarded = true;
  return process.stdout;
}

/** A reader may have read enough: `… | head`. Else nobody may take what is missing for all that there is. */
function lost({ code, message }: NodeJS.ErrnoException): never {
  if (code === 'EPIPE') process.exit();
  complain(`standard output: ${message}\n`);
  process.exit(EXIT.log);
}

/** To standard output, with its ends of lines. `written` is called when it has been written; where it cannot be, the program ends. */
export function say(text: string, written?: () => void): void {
  output().write(safeWithStyles(text), (error) => {
    if (!error) written?.();
  });
}

/** To standard error, with its ends of lines. */
export function complain(text: string): void {
  process.stderr.write(safe(text));
}

/** Writes a command's output, as it comes. Resolves at its end. */
export async function passOn(stream: Readable, to: 'stdout' | 'stderr'): Promise<void> {
  const taker = to === 'stdout' ? output() : process.stderr;
  for await (const text of stream.setEncoding('utf8')) {
    if (!taker.write(safe(String(text)))) await once(taker, 'drain');
  }
}

/** Draws lines; `start` and `before`, which stands before each line, are control sequences of kpxctl's own. */
export function draw(start: string, before: string, lines: readonly string[]): void {
  output().write(start + lines.map((line) => before + safeWithStyles(line)).join('\r\n'));
}

/** A control sequence of kpxctl's own. */
export function steer(sequence: string): void {
  output().write(sequence);
}
