// How much of what runs as root is run by tests: prints a table, and ends with 1 when it is less than GOAL. Part of `npm test`.
//
// The helper is tested as a program, bundled and as a process of its own, which vitest does not see: with KPX_COVERAGE=1 in the environment, the
// fixtures start it with Node's NODE_V8_COVERAGE. What those processes wrote is mapped back to the sources by the map that esbuild writes beside
// the bundle, and added to what vitest has seen in its own. A helper that was ended by SIGKILL writes nothing.
import { chmodSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { mergeScriptCovs } from '@bcoe/v8-coverage';
import { parse } from 'acorn';
import { convert } from 'ast-v8-to-istanbul';
import coverage from 'istanbul-lib-coverage';
import report from 'istanbul-lib-report';
import reports from 'istanbul-reports';
import { argumentsOr, noArguments } from './usage.mjs';

const USAGE = `node scripts/coverage.mjs

Prints again how much of the code that runs as root the last \`npm test\` has run.
`;

/** Of lines and of branches, in percent. */
const GOAL = 95;
/** Source files that may be counted: both packages, without generated code and tests. */
const COUNTED = /packages\/(privhelper|protocol)\/src\/(?!generated\/)(?!.*\.test\.ts$).*\.ts$/;

const CHECKOUT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DIRECTORY = path.join(CHECKOUT, 'dist/coverage');
/** What the helper's processes write; as in test/fixtures/helper-installation.ts. */
const PROCESSES_DIRECTORY = path.join(DIRECTORY, 'processes');
/** What vitest has seen in its own processes: a directory for each of its runs. */
const VITEST_DIRECTORY = path.join(DIRECTORY, 'vitest');
const VITEST_FILE = 'coverage-final.json';
const BUNDLE = path.join(CHECKOUT, 'packages/privhelper/dist/kpx-privhelper.cjs');

/** @typedef {import('istanbul-lib-coverage').FileCoverageData} FileCoverage */
/** @typedef {Map<string, FileCoverage>} Files by path in the checkout */

/** For a run that counts from the beginning. */
export function emptyCoverage() {
  rmSync(DIRECTORY, { recursive: true, force: true });
  mkdirSync(PROCESSES_DIRECTORY, { recursive: true });
  chmodSync(PROCESSES_DIRECTORY, 0o1777); // a helper that is not root says so and ends
}

/**
 * As seen from the checkout, which stands elsewhere in the private machine.
 * @param {string} run of vitest, by a name of its own
 */
export const vitestDirectory = (run) => path.relative(CHECKOUT, path.join(VITEST_DIRECTORY, run));

/** A package calls the distribution's node: `#!/usr/bin/env -S /usr/bin/node`, see systemd/package/contents.mjs. */
const INSTALLED_LONGER = '/usr/bin/'.length;

/** @typedef {{ url: string, functions: { ranges: { startOffset: number, endOffset: number }[] }[] }} Script */

/**
 * Of all processes of the helper together, on the bundle. What is installed by a package differs from it in its first line, and so in
 * every offset, by the same number of bytes.
 * @param {number} length of the bundle
 */
function ofProcesses(length) {
  const name = path.basename(BUNDLE);
  const scripts = readdirSync(PROCESSES_DIRECTORY).flatMap((file) => {
    const { result } = JSON.parse(readFileSync(path.join(PROCESSES_DIRECTORY, file), 'utf8'));
    return result.filter((/** @type {Script} */ { url }) => path.basename(url) === name);
  });
  for (const script of scripts) {
    script.url = `file://${BUNDLE}`;
    const { ranges } = script.functions[0]; // the whole script
    const longer = ranges[0].endOffset - length;
    if (longer !== 0 && longer !== INSTALLED_LONGER) throw new Error(`${PROCESSES_DIRECTORY} is of another build: run all tests again`);
    for (const range of script.functions.flatMap((/** @type {Script['functions'][0]} */ { ranges }) => ranges)) {
      range.startOffset = Math.max(0, range.startOffset - longer);
      range.endOffset -= longer;
    }
  }
  return { processes: scripts.length, merged: mergeScriptCovs(scripts) };
}

/** @returns {Promise<Files>} */
async function ofHelper() {
  const code = readFileSync(BUNDLE, 'utf8');
  const { processes, merged } = ofProcesses(code.length);
  if (merged === undefined) throw new Error(`${PROCESSES_DIRECTORY} has nothing of ${BUNDLE}`);
  console.log(`coverage: ${processes} processes of the helper`);
  const sourceMap = JSON.parse(readFileSync(`${BUNDLE}.map`, 'utf8'));
  const ast = parse(code, { ecmaVersion: 'latest', sourceType: 'script', allowHashBang: true });
  return counted(await convert({ ast, code, wrapperLength: 0, coverage: merged, sourceMap }));
}

/** @returns {Files} */
function ofVitest() {
  const map = coverage.createCoverageMap();
  for (const run of readdirSync(VITEST_DIRECTORY))
    map.merge(JSON.parse(readFileSync(path.join(VITEST_DIRECTORY, run, VITEST_FILE), 'utf8')));
  return counted(Object.fromEntries(map.files().map((file) => [file, map.fileCoverageFor(file).data])));
}

/** @returns {Files} */
function counted(/** @type {Record<string, FileCoverage>} */ data) {
  return new Map(Object.entries(data).flatMap(([file, of]) => (COUNTED.exec(file) ? [[COUNTED.exec(file)?.[0] ?? '', of]] : [])));
}

const startOf = (/** @type {import('istanbul-lib-coverage').Range} */ { start }) => `${start.line}:${start.column}`;

/**
 * Adds the hits of the same source as another compiler has seen it. Statements and branches begin at the same place for both, but do not always
 * end there: what begins nowhere here is left out.
 * @param {FileCoverage} to
 * @param {FileCoverage} from
 */
function addHits(to, from) {
  const add = (/** @type {'s' | 'f' | 'b'} */ hits, /** @type {(key: string, of: FileCoverage) => string} */ place) => {
    const known = new Map(Object.keys(to[hits]).map((key) => [place(key, to), key]));
    for (const key of Object.keys(from[hits])) {
      const own = known.get(place(key, from));
      if (own === undefined) continue;
      if (hits === 'b') to.b[own] = to.b[own].map((ours, index) => ours + from.b[key][index]);
      else to[hits][own] += from[hits][key];
    }
  };
  add('s', (key, of) => startOf(of.statementMap[key]));
  add('f', (key, of) => startOf(of.fnMap[key].decl));
  add('b', (key, { branchMap: { [key]: branch } }) => `${branch.type} ${startOf(branch.loc)} of ${branch.locations.length}`);
}

/**
 * The helper as the bundle has it. The library `protocol` as vitest has it, because a bundle has only those parts of a file that are used; its
 * files of which the bundle has nothing do not run as root, and are not counted.
 * @param {Files} helper
 * @param {Files} vitest
 */
function merged(helper, vitest) {
  const map = coverage.createCoverageMap();
  for (const [file, of] of [...helper, ...vitest]) {
    const [own, other] = file.startsWith('packages/privhelper/') ? [helper, vitest] : [vitest, helper];
    if (own.get(file) !== of || !helper.has(file)) continue;
    const same = other.get(file);
    if (same) addHits(of, same);
    map.addFileCoverage({ ...of, path: path.join(CHECKOUT, file) });
  }
  return map;
}

/** Prints the table; false below the goal. */
export async function coverageIsEnough() {
  const coverageMap = merged(await ofHelper(), ofVitest());
  const context = report.createContext({ dir: DIRECTORY, coverageMap });
  reports.create('text', { maxCols: 140 }).execute(context);
  const { lines, branches } = coverageMap.getCoverageSummary().data;
  console.log(`coverage of what runs as root: ${lines.pct} % of lines, ${branches.pct} % of branches; at least ${GOAL} % of each`);
  return lines.pct >= GOAL && branches.pct >= GOAL;
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  argumentsOr(USAGE, noArguments);
  process.exitCode = (await coverageIsEnough()) ? 0 : 1;
}
