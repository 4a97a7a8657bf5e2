import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import type { Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { asExecutor, startAccountsRabbitmq } from '../fixtures/sealed-accounts.js';
import { deadLetters, jobsDone, publish, runKpxctl } from './installed-kpx.js';
import { startSealed } from './installed-sealed.js';

/* Jobs that the code of an account has written, in the name of somebody else. */

let accounts: RabbitmqServer;
beforeAll(async () => {
  accounts = await startAccountsRabbitmq();
});
afterAll(() => accounts.remove());

/** Ends the executor of an account, and waits until all that it has left is at the server. */
async function endExecutor(kpx: Kpx, osUser: string): Promise<void> {
  const from = kpx.brokerLog.lines.length;
  process.kill(Number(kpx.done(osUser).at(-1)?.pid), 'SIGKILL');
  await kpx.brokerLog.line({ msg: 'the virtual host of an account is left: all that was published is carried', account: osUser }, { from });
}

const spawned = (kpx: Kpx, osUser: string) =>
  kpx.helperLog.lines.filter(({ event, verb, os_user }) => event === 'request' && verb === 'spawnExecutor' && os_user === osUser).length;

it('are parked before anything is started for them, with the reason for whoever asks, and jobs of all users go on', async () => {
  const kpx = await startSealed(accounts, { standIn: { BOOT_MS: '50', PREFETCH: '1' } });
  await publish(kpx, jobOf('alice', 'a1'), jobOf('bob', 'b1'));
  await jobsDone(kpx, 'alice', 1);
  await jobsDone(kpx, 'bob', 1);
  await endExecutor(kpx, 'bob');
  const connection = await asExecutor(kpx, 'alice');
  process.kill(Number(kpx.done('alice').at(-1)?.pid), 'SIGSTOP'); // so that the jobs stay in its queue
  const channel = await connection.createConfirmChannel();
  const forged = Array.from({ length: 3 }, (_, index) => `forged-${index}`);
  for (const job of forged) channel.sendToQueue(KNIME_QUEUE, Buffer.from(JSON.stringify(jobOf('bob', job).body)), { messageId: job });
  await channel.waitForConfirms();
  await endExecutor(kpx, 'alice');
  const letters = await deadLetters(kpx, forged.length);
  expect(letters.map(({ properties }) => properties.messageId).sort()).toEqual(forged);
  for (const { headers } of letters) {
    expect(headers).toMatchObject({ 'x-kpx-reason': 'SEALED_REFUSED', 'x-kpx-account': 'alice' });
    expect(headers['x-kpx-detail']).toBe('the code of the account "alice" has published it, and its user has the account "bob"');
  }
  expect(spawned(kpx, 'bob')).toBe(1);
  const { stdout } = await runKpxctl(['sealed', 'refused', '--account', 'alice', '--json', '--config', kpx.brokerConfigFile]);
  expect(JSON.parse(stdout.split('\n')[0] ?? '')).toMatchObject({ account: 'alice', reason: 'another_user', count: forged.length });
  await publish(kpx, jobOf('alice', 'a2'), jobOf('bob', 'b2'));
  await jobsDone(kpx, 'alice', 2);
  expect((await jobsDone(kpx, 'bob', 2)).map(({ job }) => job)).toEqual(['b1', 'b2']);
});

it('in the name of a user of whom the broker knows nothing yet start an executor at most, which does not get them', async () => {
  const kpx = await startSealed(accounts, { standIn: { BOOT_MS: '50', PREFETCH: '1' } });
  await publish(kpx, jobOf('alice', 'a1'));
  await jobsDone(kpx, 'alice', 1);
  const connection = await asExecutor(kpx, 'alice');
  process.kill(Number(kpx.done('alice').at(-1)?.pid), 'SIGSTOP');
  const channel = await connection.createConfirmChannel();
  channel.sendToQueue(KNIME_QUEUE, Buffer.from(JSON.stringify(jobOf('carol', 'forged').body)), { messageId: 'forged' });
  await channel.waitForConfirms();
  await endExecutor(kpx, 'alice');
  const [letter] = await deadLetters(kpx, 1);
  expect(letter?.headers).toMatchObject({ 'x-kpx-reason': 'SEALED_REFUSED', 'x-kpx-account': 'alice' });
  await eventually('carol has been started', () => spawned(kpx, 'carol') === 1);
  expect(kpx.done('carol')).toEqual([]);
});
