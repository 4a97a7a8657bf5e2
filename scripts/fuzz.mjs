// `npm run fuzz -- --minutes N [--seed S]`: bytes that no broker would send, at the codec, at a session, and at a root helper's socket.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runInPrivateMachine } from '../test/fixtures/private-machine.mjs';
import { endingWithItsExitCode, prepare } from './prepare.mjs';
import { argumentsOr, minutesAndSeed, SEED_MAX } from './usage.mjs';

const MINUTES_DEFAULT = 5;
const MINUTES_MAX = 24 * 60;
const USAGE = `npm run fuzz -- [--minutes N] [--seed S]

  --minutes N  how long, fractions allowed, up to ${MINUTES_MAX} (default: ${MINUTES_DEFAULT})
  --seed S     0 to ${SEED_MAX}: the same seed gives the same packets (default: at random, printed)

Runs as root, in a private machine that is gone afterwards. Begins with the packets of test/fuzz/corpus. What it finds is printed and written to
dist/fuzz-findings.jsonl, each line ready to be added to the corpus.

Exit codes: 0 nothing found, 1 something found, 64 wrong usage, 69 something is missing, 77 not root.
`;
const { minutes, seed } = argumentsOr(USAGE, minutesAndSeed(MINUTES_DEFAULT, MINUTES_MAX));
process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(prepare);
await import('./build.mjs');
process.exitCode = await runInPrivateMachine([process.execPath, '--import', 'tsx', 'test/fuzz/fuzz.ts', String(minutes), String(seed)]);
