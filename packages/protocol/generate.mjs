// Generates the static protobuf code: node generate.mjs [OUTPUT_FOLDER]. Static, because reflection would need eval in the helper.
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const folder = resolve(process.argv[2] ?? join(import.meta.dirname, 'src/generated'));
const options = [
  ['-t', 'static-module'],
  ['-w', 'esm'],
  // Encode and decode are all that the codec uses.
  ['--no-create', '--no-verify', '--no-convert', '--no-delimited', '--no-typeurl', '--no-service'],
  ['--force-number'],
  ['-d'],
  ['-o', join(folder, 'privhelper.js')],
  ['privhelper.proto'],
];

const pbjs = createRequire(import.meta.url).resolve('protobufjs-cli/bin/pbjs');
execFileSync(process.execPath, [pbjs, ...options.flat()], { cwd: import.meta.dirname, stdio: 'inherit' });
