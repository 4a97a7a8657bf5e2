import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { accountsIn, answeredAll, nameOf, startAccountsRabbitmq, takeClient } from '../fixtures/sealed-accounts.js';
import { rawAccounts } from './installed-helper.js';
import { deadLetters, jobsDone, publish } from './installed-kpx.js';
import { startSealed } from './installed-sealed.js';

/** There is a list of executors each minute, by which the broker notices that nothing has come of a start. */
const LISTED_TIMEOUT_MS = 120_000;

let accounts: RabbitmqServer;
beforeAll(async () => {
  accounts = await startAccountsRabbitmq();
});
afterAll(() => accounts.remove());

interface Bound {
  readonly name?: string;
  readonly definition?: { readonly 'max-length'?: number };
}

/** Of the virtual host of an account, by name; a policy with its length. */
async function boundsIn(osUser: string): Promise<string[]> {
  const vhost = encodeURIComponent(nameOf(osUser));
  const kinds = ['policies', 'operator-policies', 'vhost-limits'];
  const all = await Promise.all(kinds.map((kind) => accounts.api<Bound[]>('GET', `${kind}/${vhost}`)));
  return all
    .flat()
    .map(({ name = 'limits', definition }) => [name, definition?.['max-length'] ?? []].flat().join(' '))
    .sort();
}

const removeVhost = () => accounts.api('DELETE', `vhosts/${encodeURIComponent(nameOf('again'))}`);
const removePolicy = () => accounts.api('DELETE', `policies/${encodeURIComponent(nameOf('again'))}/kpx.unrouted`);

it('sealed, an account that has had an executor gets another one, and leaves no user where that is refused', {
  timeout: 240_000,
}, async () => {
  const [all, membership] = [rawAccounts(), rawAccounts()];
  all.account('again');
  all.group('again-staff', []);
  membership.group('again-guests', ['again']);
  const kpx = await startSealed(accounts, {
    helper: { accounts: { allowed_groups: ['again-staff', 'again-guests'] } },
    standIn: { BOOT_MS: '0', JOB_MS: '0', IDLE_MS: '3000' },
  });
  const ended = { account: 'again', msg: 'the virtual host of an account is left: all that was published is carried' };
  const reload = () => kpx.reload({ sealed: { window: 8 } });
  const before: Record<string, (() => Promise<unknown>) | undefined> = { third: removeVhost, fourth: removePolicy, fifth: reload };
  const jobs = ['first', 'second', 'third', 'fourth', 'fifth'];
  for (const job of jobs) {
    await before[job]?.();
    const from = kpx.brokerLog.lines.length;
    await publish(kpx, jobOf('again', job));
    await kpx.brokerLog.line(ended, { from });
    expect(await accountsIn(accounts, 'users')).toEqual([]);
    const window = job === 'fifth' ? 8 : 256;
    expect(await boundsIn('again')).toEqual(['kpx.bounds 10000', 'kpx.unrouted', `kpx.window.${KNIME_QUEUE} ${window}`, 'limits']);
  }
  const done = await jobsDone(kpx, 'again', jobs.length);
  expect(done.map(({ job }) => job)).toEqual(jobs);
  expect(new Set(done.map(({ pid }) => pid)).size).toBe(jobs.length);

  membership.remove();
  const from = kpx.brokerLog.lines.length;
  await publish(kpx, jobOf('again', 'refused'));
  expect(await deadLetters(kpx, 1)).toMatchObject([{ json: { job: 'refused' }, headers: { 'x-kpx-reason': 'ACCOUNT_DENIED' } }]);
  await eventually(
    'nothing of it is under way',
    () => kpx.brokerLog.lines.slice(from).some(({ msg }) => msg === ended.msg),
    LISTED_TIMEOUT_MS,
  );
  expect(await accountsIn(accounts, 'users')).toEqual([]);
  expect(await accountsIn(accounts, 'vhosts')).toEqual([nameOf('again')]);
});

it('sealed, an account that has had an executor is read from where it answers, also where that queue has gone meanwhile', async () => {
  const kpx = await startSealed(accounts, { standIn: { BOOT_MS: '0', JOB_MS: '0', IDLE_MS: '1000' } });
  const clients = [await takeClient(kpx), await takeClient(kpx, 'client-'.padEnd(200, 'long'))];
  const vhost = encodeURIComponent(nameOf('alice'));
  const replyQueues = async () => {
    const queues = (await accounts.api<{ name: string }[]>('GET', `queues/${vhost}?columns=name`)) ?? [];
    return queues.map(({ name }) => name).filter((name) => name.startsWith('kpx.reply.'));
  };
  for (const job of ['first', 'second', 'third']) {
    if (job === 'third') {
      await accounts.api('PUT', `permissions/${vhost}/${accounts.users.admin.name}`, { configure: '.*', write: '', read: '' });
      for (const queue of await replyQueues()) await accounts.api('DELETE', `queues/${vhost}/${queue}`);
    }
    const from = kpx.brokerLog.lines.length;
    const asked = clients.map((replyTo) => {
      const { body, properties } = jobOf('alice', job);
      return { body, properties: { ...properties, replyTo, correlationId: job } };
    });
    await publish(kpx, ...asked);
    for (const client of clients) await answeredAll(kpx, client, [job]);
    await kpx.brokerLog.line(
      { account: 'alice', msg: 'the virtual host of an account is left: all that was published is carried' },
      { from },
    );
    expect(await replyQueues()).toHaveLength(clients.length);
  }
});
