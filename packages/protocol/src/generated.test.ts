import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const PACKAGE = join(import.meta.dirname, '..');

it('the generated code is what generate.mjs makes of privhelper.proto', { timeout: 30_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kpx-generated-'));
  try {
    await promisify(execFile)(process.execPath, [join(PACKAGE, 'generate.mjs'), folder]);
    for (const file of ['privhelper.js', 'privhelper.d.ts']) {
      const [made, checkedIn] = await Promise.all([readFile(join(folder, file)), readFile(join(PACKAGE, 'src/generated', file))]);
      expect(made.equals(checkedIn), `${file} differs: npm run generate --workspace packages/protocol`).toBe(true);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
