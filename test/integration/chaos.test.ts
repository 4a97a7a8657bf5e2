import { expect, it } from 'vitest';
import { chaos } from '../chaos/run.js';

/**
 * Of `npm run chaos`: a seed that has broker, executor, helper and RabbitMQ killed, a connection half-open, the broker's log lost, the helper answer
 * with errors and an operator cancel jobs within this time.
 */
const SEED = 10_245;
const FAULTS_MS = 18_000;
const TIMEOUT_MS = 420_000;

it(`the books balance after random faults (seed ${SEED})`, { timeout: TIMEOUT_MS }, async () => {
  const { rows, problems } = await chaos(SEED, FAULTS_MS, console.log);
  console.log(rows.map(([what, jobs]) => `${what}: ${jobs}`).join('\n'));
  expect(problems).toEqual([]);
  const counted = Object.fromEntries(rows);
  expect(counted['done once']).toBeGreaterThan(30);
  expect(counted['  cut by kill']).toBeGreaterThan(0);
  expect(counted['stories told']).toBeGreaterThan(0);
});
