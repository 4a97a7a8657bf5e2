// `npm run versions`: the table in docs/versions.md, of what whole runs of `npm test` have noted.
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { COLUMNS, lineOf, rowsOf, versionsOf } from '../test/fixtures/debian/versions.mjs';
import { argumentsOr, noArguments } from './usage.mjs';

const USAGE = `npm run versions

Writes into docs/versions.md what whole runs of the tests, in which nothing failed, have noted in dist/versions: \`npm test\`, \`npm test -- --on debian13\`, \`--on sid\`.
Rows of Debians that have not been run here stay as they are.
`;

const CHECKOUT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const NOTES = path.join(CHECKOUT, 'dist/versions');
const PAGE = path.join(CHECKOUT, 'docs/versions.md');
const EXIT_UNAVAILABLE = 69;

/**
 * Notes a run in which nothing failed, for {@link USAGE}.
 * @param {string} root of the Debian that it was on
 * @param {'all' | 'what differs'} tests
 */
export function noteVersions(root, tests) {
  const row = { ...versionsOf(root), tests, on: new Date().toISOString().slice(0, 'YYYY-MM-DD'.length) };
  mkdirSync(NOTES, { recursive: true });
  writeFileSync(path.join(NOTES, `${lineOf(row)}.json`), JSON.stringify(row));
}

/** @typedef {import('../test/fixtures/debian/versions.mjs').Row} Row */

/** @param {Row[]} rows */
function table(rows) {
  const line = (/** @type {string[]} */ cells) => `| ${cells.join(' | ')} |`;
  const sorted = rows.toSorted((a, b) => lineOf(a).localeCompare(lineOf(b)));
  return [
    line(COLUMNS),
    `|${'---|'.repeat(COLUMNS.length)}`,
    ...sorted.map((row) => line(COLUMNS.map((column) => row[column] ?? ''))),
  ].join('\n');
}

function writePage() {
  const names = existsSync(NOTES) ? readdirSync(NOTES) : [];
  if (names.length === 0) {
    process.stderr.write('No whole run of the tests has been noted in this checkout: run npm test first.\n');
    process.exit(EXIT_UNAVAILABLE);
  }
  /** @type {Row[]} */
  const noted = names.map((name) => JSON.parse(readFileSync(path.join(NOTES, name), 'utf8')));
  const page = readFileSync(PAGE, 'utf8');
  const kept = rowsOf(page).filter((row) => !noted.some((other) => lineOf(other) === lineOf(row)));
  writeFileSync(PAGE, page.replace(/^\| Debian \|.*(?:\n\|.*)*/m, table([...kept, ...noted])));
  process.stdout.write(`docs/versions.md: ${noted.map((row) => row.Debian).join(', ')}\n`);
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  argumentsOr(USAGE, noArguments);
  writePage();
}
