// Installs the releases of Node that tests run kpx's programs under. Plain Node, because it runs before anything is built.

import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { INSTALLED, nodes, PINNED } from '../test/fixtures/nodes/nodes.mjs';
import { EXIT_UNAVAILABLE, endingWithItsExitCode, PrepareError } from './prepare.mjs';
import { argumentsOr, noArguments } from './usage.mjs';

const USAGE = `node scripts/nodes.mjs

Downloads the releases of Node in test/fixtures/nodes to dist/tools/nodes, some 200 MB, where they are missing or others. npm test does so by itself.

  --help  this text

Exit codes: 0 they are there, 64 wrong usage, 69 npm's registry cannot be reached.
`;

/** Some 200 MB are downloaded, once. */
const INSTALL_TIMEOUT_MS = 600_000;

/** @param {string} folder */
const lockIn = (folder) => path.join(folder, 'package-lock.json');

/** Downloads them where they are missing, or others. A registry that cannot be reached is a {@link PrepareError}. */
export function prepareNodes() {
  if (existsSync(lockIn(INSTALLED)) && readFileSync(lockIn(INSTALLED), 'utf8') === readFileSync(lockIn(PINNED), 'utf8')) return;
  process.stderr.write('prepare: npm ci in dist/tools/nodes …\n');
  mkdirSync(path.dirname(INSTALLED), { recursive: true });
  const unfinished = mkdtempSync(`${INSTALLED}-`);
  try {
    for (const file of ['package.json', 'package-lock.json']) cpSync(path.join(PINNED, file), path.join(unfinished, file));
    const npm = spawnSync('npm', ['ci', '--ignore-scripts'], { cwd: unfinished, encoding: 'utf8', timeout: INSTALL_TIMEOUT_MS });
    if (npm.error !== undefined || npm.status !== 0) {
      const why = npm.error?.message ?? `exit code ${npm.status ?? npm.signal}\n${npm.stderr}`;
      throw new PrepareError(`The releases of Node of test/fixtures/nodes cannot be installed: npm ci: ${why}`, EXIT_UNAVAILABLE);
    }
    for (const { name } of nodes()) {
      for (const unused of ['include', 'share'])
        rmSync(path.join(unfinished, 'node_modules', name, unused), { recursive: true, force: true });
    }
    chmodSync(unfinished, 0o755); // the broker's account runs them
    rmSync(INSTALLED, { recursive: true, force: true });
    renameSync(unfinished, INSTALLED);
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  argumentsOr(USAGE, noArguments);
  endingWithItsExitCode(prepareNodes);
}
