import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';

const MINUTES = '0.1';
/** The same packets in each run: `npm run fuzz` is for new ones. */
const SEED = '1';
const TIMEOUT_MS = 300_000;

describe('packets that no broker would send', () => {
  it(
    'are refused, cost the helper nothing, and do nothing that its audit log does not say',
    async () => {
      const child = spawn(process.execPath, ['--import', 'tsx', 'test/fuzz/fuzz.ts', MINUTES, SEED], { stdio: ['ignore', 'pipe', 'pipe'] });
      const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
      expect(`${stdout}${stderr}`).toMatch(/^codec: \d+ packets.*\nsession: \d+ sessions.*\nsocket: \d+ packets.*\n.*\nNothing found\.$/m);
    },
    TIMEOUT_MS,
  );
});
