// `npm run chaos`, inside the private machine. Started by scripts/chaos.mjs, which knows the arguments.
import { createAccounts } from '../fixtures/accounts.js';
import { chaos } from './run.js';

const MS_PER_MINUTE = 60_000;
const [minutes = Number.NaN, seed = Number.NaN] = process.argv.slice(2).map(Number);
const say = (line: string) => process.stdout.write(`${line}\n`);

createAccounts();
say(`${minutes} minutes of faults, seed ${seed}`);
const { rows, problems } = await chaos(seed, minutes * MS_PER_MINUTE, say);
const width = Math.max(...rows.map(([what]) => what.length));
say('');
for (const [what, jobs] of rows) say(`  ${what.padEnd(width)}  ${String(jobs).padStart(6)}`);
say('');
for (const problem of problems) say(problem);
say(problems.length === 0 ? 'It balances.' : `It does not balance: ${problems.length} problems with seed ${seed}.`);
process.exit(problems.length === 0 ? 0 : 1);
