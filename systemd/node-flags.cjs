// Node's flags for kpx's programs, for units, bundles, documents and tests; a test compares them. Run by kpx-privhelper@.service, as root and under the
// helper's restrictions, it writes those that depend on the release of Node into a file, from which PID 1 starts the helper: node-flags.cjs FILE
'use strict';

const { renameSync, writeFileSync } = require('node:fs');

/** No JIT (and so no WebAssembly), a small heap that the helper can have collected, no code from strings, no __proto__. Node 20 and later take these. */
const HELPER_FLAGS = [
  ...['--jitless', '--max-semi-space-size=1', '--initial-old-space-size=4', '--expose-gc'],
  ...['--disallow-code-generation-from-strings', '--disable-proto=throw'],
];

/** By its own name, for --check on a terminal: no release has a line of its own there. */
const HELPER_FLAGS_BY_NAME = HELPER_FLAGS.filter((flag) => flag !== '--jitless');

/** A small young generation, no code from strings, no __proto__. */
const BROKER_FLAGS = ['--max-semi-space-size=2', '--disallow-code-generation-from-strings', '--disable-proto=delete'];

/** From this release on --jitless takes WebAssembly away without a word, and the flag that does it is gone. */
const NO_FLAG_FOR_WEBASSEMBLY_FROM = 24;

/**
 * Beside --jitless: until Node 23, V8 says in a line of its own that there is no WebAssembly then, unless it is told so.
 * @param {string} version of Node, as in process.versions
 */
const quietFlags = (version) => (Number(version.split('.')[0]) < NO_FLAG_FOR_WEBASSEMBLY_FROM ? ['--no-expose-wasm'] : []);

module.exports = { HELPER_FLAGS, HELPER_FLAGS_BY_NAME, BROKER_FLAGS, quietFlags };

if (require.main === module) {
  const [, , file] = process.argv;
  // Beside its place first: PID 1 may be reading the one that is there.
  const unfinished = `${file}.${process.pid}`;
  writeFileSync(unfinished, `NODE_FLAGS=${quietFlags(process.versions.node).join(' ')}\n`, { mode: 0o600 });
  renameSync(unfinished, String(file));
}
