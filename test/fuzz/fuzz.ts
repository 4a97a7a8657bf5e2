// Of scripts/fuzz.mjs, in the private machine: MINUTES SEED. Both kinds at the same time; ends with 1 when something was found.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { corpusLine } from './corpus.js';
import type { Tally } from './finding.js';
import { SocketFuzzer } from './socket.js';

const FINDINGS_FILE = 'dist/fuzz-findings.jsonl';
const SEED_MAX = 0x7fff_ffff;

const [minutes = 0, seed = 0] = process.argv.slice(2).map(Number);
const milliseconds = minutes * 60_000;

/** The codec and the session, in a process of their own. */
async function structured(): Promise<Tally[]> {
  const program = fileURLToPath(new URL('structured.ts', import.meta.url));
  const child = fork(program, [String(milliseconds / 1_000), String(seed)], { serialization: 'advanced' });
  const died = once(child, 'exit').then(([code]) => [
    { part: 'in process', unit: 'rounds', count: 0, seconds: 0, findings: [{ what: `its process ended with ${code}`, connections: [] }] },
  ]);
  return await Promise.race([once(child, 'message').then(([tallies]) => tallies as Tally[]), died]);
}

const fuzzer = new SocketFuzzer();

async function socket(): Promise<Tally[]> {
  const until = performance.now() + milliseconds;
  await fuzzer.start();
  let good = await fuzzer.batch('corpus');
  for (let next = seed; good && performance.now() < until; next = (next + 1) % SEED_MAX) good = await fuzzer.batch(next);
  await fuzzer.end();
  return [fuzzer.tally];
}

process.stdout.write(`seed ${seed}, ${minutes} minutes\n`);
const tallies = (await Promise.all([structured(), socket()])).flat();
for (const { part, unit, count, seconds } of tallies) {
  process.stdout.write(`${part}: ${count} ${unit}, ${Math.round(count / (seconds || 1))} a second\n`);
}
process.stdout.write(`socket: on ${fuzzer.connections} connections; the helper had ${fuzzer.residentMbMax} MB resident at most\n`);
const findings = tallies.flatMap(({ part, findings }) => findings.map((finding) => ({ part, ...finding })));
for (const { part, what } of findings) process.stdout.write(`FOUND in ${part}: ${what}\n`);
mkdirSync('dist', { recursive: true });
for (const { what, connections } of findings) {
  for (const packets of connections) appendFileSync(FINDINGS_FILE, corpusLine(what, packets));
}
if (findings.length > 0) process.stdout.write(`Packets: ${FINDINGS_FILE}\n`);
else process.stdout.write('Nothing found.\n');
process.exitCode = findings.length > 0 ? 1 : 0;
