import type { Table } from './tables.js';

/** Longest line, in characters: mandoc's lint asks for it. */
const LINE_CHARS_MAX = 78;

/** Between these lines a man page is written by the generator. */
const BEGIN = '.\\" Generated from here: npm run reference\n';
const END = '.\\" Generated up to here\n';

/** `page` with what is between the two lines made anew. */
export function withTables(page: string, tables: readonly Table[]): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error('the page has no place for the tables');
  return page.slice(0, begin + BEGIN.length) + tables.map(subsection).join('') + page.slice(end);
}

function subsection({ heading, text, free, keys }: Table): string {
  const about = `.Ss ${heading}\\&\n${prose(text)}${free === undefined ? '' : prose(free)}`;
  if (keys.length === 0) return about;
  const items = keys.map(({ name, takes, fallback, required, text: meaning }) => {
    const shown = fallback === undefined ? (required ? ' No (required)' : '') : ` No = ${macroArguments(fallback)}`;
    return `.It Cm ${name}${shown}\n${prose(`${takes[0]?.toUpperCase()}${takes.slice(1)}.`)}${prose(meaning)}`;
  });
  return `${about}.Bl -tag -width Ds\n${items.join('')}.El\n`;
}

/** To a macro, quotes hold blanks together and are not shown. */
const macroArguments = (text: string) => escaped(text).replaceAll('"', '\\(dq');

/** A sentence begins a line, as mdoc(7) asks for. */
function prose(text: string): string {
  return escaped(text)
    .replace(/`([^`]*)`/g, (_, code: string) => (code.startsWith('"') ? code : `\\(oq${code}\\(cq`))
    .split(/(?<=[^.]\.) (?=[A-Z])/)
    .flatMap(filled)
    .map((line) => `${line}\n`)
    .join('');
}

/** Backslashes are roff's, and a dot or a quote that begins a line makes a request of it. */
const escaped = (text: string) => text.replaceAll('\\', '\\e').replaceAll('…', '...');

function filled(sentence: string): string[] {
  const lines: string[] = [];
  for (const word of sentence.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= LINE_CHARS_MAX) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(/^[.']/.test(word) ? `\\&${word}` : word);
  }
  return lines;
}
