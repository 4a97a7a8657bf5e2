// Bundles each program into one readable file: packages/NAME/dist/kpx-NAME.cjs. The same sources give the same bytes.
import { chmodSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Node's flags for each program when it is called by its own name: the helper has no use for a JIT or code from strings. */
const PROGRAMS = {
  privhelper: '-S node --jitless --disallow-code-generation-from-strings --disable-proto=throw',
  broker: 'node',
};

for (const [name, interpreter] of Object.entries(PROGRAMS)) {
  const outfile = join(root, `packages/${name}/dist/kpx-${name}.cjs`);
  await build({
    absWorkingDir: root, // paths in the bundle's comments are relative to it
    entryPoints: [`packages/${name}/src/main.ts`],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20.19',
    legalComments: 'inline',
    external: ['node-unix-socket-*'], // the native part, one package per platform
    banner: { js: `#!/usr/bin/env ${interpreter}` },
  });
  chmodSync(outfile, 0o755);
}
