import { EXITS } from '../../packages/broker/src/output/exit.js';
import { type Entry, FAILURES, PARKED } from '../../packages/broker/src/policy/reasons.js';

/* Tables of codes in a page: reasons of dead letters, failures of the helper, and exit codes, from the catalogues that the programs say them by. */

const BLOCKS: Readonly<Record<string, () => string>> = {
  'reasons of dead letters': () => reasons(PARKED),
  'failures of a start': () => reasons(FAILURES),
  'exit codes': exits,
};

/** The page with each block between `<!-- npm run reference: NAME -->` and `<!-- end -->` made anew. Throws an Error where one of them has no place. */
export function withCatalogue(page: string): string {
  const seen = new Set<string>();
  const made = page.replaceAll(/<!-- npm run reference: (.*) -->\n[\s\S]*?<!-- end -->/g, (_, name: string) => {
    const block = BLOCKS[name];
    if (!block) throw new Error(`there is no block "${name}"`);
    seen.add(name);
    return `<!-- npm run reference: ${name} -->\n${block()}<!-- end -->`;
  });
  for (const name of Object.keys(BLOCKS)) if (!seen.has(name)) throw new Error(`the page has no place for "${name}"`);
  return made;
}

const table = (heading: string[], rows: string[][]) =>
  [heading, heading.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('');

const reasons = (entries: readonly Entry[]) =>
  table(
    ['reason', 'meaning', 'what to do', 'a replay'],
    entries.map(({ code, meaning, advice, replay }) => [
      `\`${code}\``,
      meaning,
      advice,
      replay === 'in vain' ? 'ends here again' : 'works once that is done',
    ]),
  );

function exits(): string {
  const rows = Object.values(EXITS).map((kind) => [`${kind.code}`, kind.meaning, 'status' in kind ? `${kind.status}` : '']);
  return table(['exit code', 'meaning', 'HTTP status at the control socket'], [['0', 'done', '200'], ...rows]);
}
