import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import type { Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { asExecutor, startAccountsRabbitmq } from '../fixtures/sealed-accounts.js';
import { deadLetters, explain, jobsDone, publish, runKpxctl } from './installed-kpx.js';
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

it('in the name of a user of whom the broker knows nothing yet start an executor once, which does not get them; log and explain say so', async () => {
  const kpx = await startSealed(accounts, { standIn: { BOOT_MS: '50', PREFETCH: '1' } });
  await publish(kpx, jobOf('alice', 'a1'));
  await jobsDone(kpx, 'alice', 1);
  const connection = await asExecutor(kpx, 'alice');
  process.kill(Number(kpx.done('alice').at(-1)?.pid), 'SIGSTOP');
  const channel = await connection.createConfirmChannel();
  const forged = Array.from({ length: 3 }, (_, index) => `forged-${index}`);
  for (const job of forged) channel.sendToQueue(KNIME_QUEUE, Buffer.from(JSON.stringify(jobOf('carol', job).body)), { messageId: job });
  await channel.waitForConfirms();
  await endExecutor(kpx, 'alice');
  const letters = await deadLetters(kpx, forged.length);
  const detail = 'the code of the account "alice" has published it, and its user has the account "carol"';
  for (const { headers } of letters)
    expect(headers).toMatchObject({ 'x-kpx-reason': 'SEALED_REFUSED', 'x-kpx-account': 'alice', 'x-kpx-detail': detail });
  const logged = () => kpx.brokerLog.lines.filter(({ msg }) => msg === 'job parked');
  await eventually('the log has each of them', () => logged().length === forged.length);
  for (const line of logged()) expect(line).toMatchObject({ user: 'carol', reason: 'SEALED_REFUSED', detail });
  expect(await explain(kpx, 'carol')).toMatchObject({ forged: { count: forged.length, account: 'alice' } });
  expect(await explain(kpx, 'bob')).not.toHaveProperty('forged');
  const { stdout } = await runKpxctl(['explain', 'carol', '--config', kpx.brokerConfigFile]);
  expect(stdout).toMatch(/\nforged {5}3 job\(s\) in this name were refused, .*account "alice"\n$/);
  await publish(kpx, jobOf('carol', 'c1'));
  expect((await jobsDone(kpx, 'carol', 1)).map(({ job }) => job)).toEqual(['c1']);
  expect(spawned(kpx, 'carol')).toBe(1);
});
