import { expect, it } from 'vitest';
import { chaos } from '../chaos/run.js';

/**
 * Of `npm run chaos`: a seed that has broker, executor and RabbitMQ killed, a network cut, the broker's log lost and the helper answer with errors
 * within this time.
 */
const SEED = 17_886;
const FAULTS_MS = 16_000;
const TIMEOUT_MS = 420_000;

it(`the books balance after random faults (seed ${SEED})`, { timeout: TIMEOUT_MS }, async () => {
  const { rows, problems } = await chaos(SEED, FAULTS_MS, console.log);
  console.log(rows.map(([what, jobs]) => `${what}: ${jobs}`).join('\n'));
  expect(problems).toEqual([]);
  expect(Object.fromEntries(rows)['done once']).toBeGreaterThan(30);
});
