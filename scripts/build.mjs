// Bundles each program into one readable file in packages/*/dist. The same sources give the same bytes.
import { chmodSync, mkdirSync, realpathSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import flags from '../systemd/node-flags.cjs';
import { argumentsOr, noArguments } from './usage.mjs';

const USAGE = `npm run build

Bundles kpx-privhelper, kpx-broker and kpxctl, each into one readable file in packages/*/dist. The same sources give the same bytes.
`;
// Other scripts import this one, with arguments of their own.
if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) argumentsOr(USAGE, noArguments);

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * By library and import: what the helper has in place of parts that it never uses. Less memory for each helper, and less to read for reviewers.
 * pino's transports are threads that load modules by name, and its redaction is not configured. sonic-boom asserts once that it was given a number.
 * node-unix-socket finds its native part by a diagnostic report of the whole process: systemd's machines have glibc.
 */
const INSTEAD = new Map([
  ['node-unix-socket worker_threads', 'exports.isMainThread = true;'],
  ['node-unix-socket ./addon', "module.exports = require('node-unix-socket-linux-' + process.arch + '-gnu');"],
  ['pino worker_threads', 'exports.isMainThread = true;'],
  ['pino @pinojs/redact', 'module.exports = undefined;'],
  ['pino ./transport', 'module.exports = undefined;'],
  ['pino ./lib/transport', 'module.exports = undefined;'],
  ['sonic-boom assert', 'module.exports = (holds, why) => { if (!holds) throw new Error(why); };'],
]);

/** The package that a file belongs to. */
const PACKAGE = /^.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//;

/** Those of them that the build has met. */
const met = new Set();

/** @type {import('esbuild').Plugin} */
const withoutUnused = {
  name: 'without what the helper never uses',
  setup(build) {
    build.onResolve({ filter: /./ }, ({ path, importer }) => {
      const wanted = `${PACKAGE.exec(importer)?.[1]} ${path}`;
      if (!INSTEAD.has(wanted)) return undefined;
      met.add(wanted);
      return { path: wanted, namespace: 'instead' };
    });
    build.onEnd(() => {
      const gone = [...INSTEAD.keys()].filter((wanted) => !met.has(wanted));
      if (gone.length > 0) throw new Error(`scripts/build.mjs: no library imports this any more: ${gone.join(', ')}`);
    });
    build.onLoad({ filter: /./, namespace: 'instead' }, ({ path }) => ({ contents: INSTEAD.get(path) }));
  },
};

/** Where each program begins, and Node's flags when it is called by its own name. */
const PROGRAMS = [
  {
    entry: 'packages/privhelper/src/main.ts',
    program: 'packages/privhelper/dist/kpx-privhelper.cjs',
    interpreter: `-S node ${flags.HELPER_FLAGS_BY_NAME.join(' ')}`,
    plugins: [withoutUnused],
  },
  { entry: 'packages/broker/src/main.ts', program: 'packages/broker/dist/kpx-broker.cjs', interpreter: 'node', plugins: [] },
  { entry: 'packages/kpxctl/src/main.ts', program: 'packages/kpxctl/dist/kpxctl.cjs', interpreter: 'node', plugins: [] },
];

for (const { entry, program, interpreter, plugins } of PROGRAMS) {
  const outfile = join(root, program);
  const {
    outputFiles: [map, bundle],
  } = await build({
    absWorkingDir: root, // paths in the bundle's comments are relative to it
    entryPoints: [entry],
    outfile,
    bundle: true,
    write: false,
    platform: 'node',
    format: 'cjs',
    target: 'node20.19',
    legalComments: 'inline',
    plugins,
    external: ['node-unix-socket-*'], // the native part, one package per platform
    sourcemap: 'external', // beside the bundle, which does not mention it: for scripts/coverage.mjs
    banner: { js: `#!/usr/bin/env ${interpreter}` },
  });
  // esbuild escapes what is not ASCII everywhere but in comments, where a single character makes V8 keep the whole source in two bytes each.
  const text = bundle.text.replace(/[^\0-\x7f]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
  // Beside its place first: somebody may be running the one that is there.
  const unfinished = `${outfile}.${process.pid}`;
  mkdirSync(dirname(outfile), { recursive: true });
  writeFileSync(map.path, map.text);
  writeFileSync(unfinished, text);
  chmodSync(unfinished, 0o755);
  renameSync(unfinished, outfile);
}
