// `npm run fuzz -- --minutes N [--seed S]`: bytes that no broker would send, at the codec, at a session, and at a root helper's socket.
import { randomInt } from 'node:crypto';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runInPrivateMachine } from '../test/fixtures/private-machine.mjs';
import { endingWithItsExitCode, prepare } from './prepare.mjs';

const USAGE = `npm run fuzz -- [--minutes N] [--seed S]

  --minutes N  how long, fractions allowed, up to 1440 (default: 5)
  --seed S     0 to 2147483647: the same seed gives the same packets (default: at random, printed)

Runs as root, in a private machine that is gone afterwards. Begins with the packets of test/fuzz/corpus. What it finds is printed and written to
dist/fuzz-findings.jsonl, each line ready to be added to the corpus.

Exit codes: 0 nothing found, 1 something found, 64 wrong usage, 69 something is missing, 77 not root.
`;
const EXIT_USAGE = 64;
const MINUTES_DEFAULT = '5';
const MINUTES_MAX = 1_440;
const SEED_MAX = 0x7fff_ffff;

/** @returns {{ minutes: number, seed: number, help: boolean } | undefined} */
function optionsOf(/** @type {string[]} */ args) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        minutes: { type: 'string', default: MINUTES_DEFAULT },
        seed: { type: 'string', default: String(randomInt(SEED_MAX)) },
        help: { type: 'boolean', default: false },
      },
    });
    const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
    const usable = minutes > 0 && minutes <= MINUTES_MAX && Number.isInteger(seed) && seed >= 0 && seed <= SEED_MAX;
    return usable ? { minutes, seed, help: values.help } : undefined;
  } catch {
    return undefined;
  }
}

const options = optionsOf(process.argv.slice(2));
if (options === undefined || options.help) {
  process[options ? 'stdout' : 'stderr'].write(USAGE);
  process.exit(options ? 0 : EXIT_USAGE);
}
process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(prepare);
await import('./build.mjs');
const { minutes, seed } = options;
process.exitCode = await runInPrivateMachine([process.execPath, '--import', 'tsx', 'test/fuzz/fuzz.ts', String(minutes), String(seed)]);
