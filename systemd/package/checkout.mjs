// Reads what the packages are made of. What is missing ends the packing with its name.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { EXIT_UNAVAILABLE, PrepareError } from '../../scripts/prepare.mjs';

export const CHECKOUT = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));

/** @param {string} file relative to the checkout */
export function read(file) {
  if (!existsSync(path.join(CHECKOUT, file))) throw new PrepareError(`${file} is missing`, EXIT_UNAVAILABLE);
  return readFileSync(path.join(CHECKOUT, file));
}

/** @param {string} file */
export function readText(file) {
  return read(file).toString('utf8');
}

/**
 * @param {string} directory relative to the checkout; none is as good as an empty one
 * @param {RegExp} wanted
 */
export function list(directory, wanted) {
  const absolute = path.join(CHECKOUT, directory);
  return existsSync(absolute)
    ? readdirSync(absolute)
        .filter((name) => wanted.test(name))
        .sort()
    : [];
}

/** @param {string} program */
export function readBundle(program) {
  return readText(`packages/${program.replace('kpx-', '')}/dist/${program}.cjs`);
}
