import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { accountsIn, nameOf, startAccountsRabbitmq } from '../fixtures/sealed-accounts.js';
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

/** Of the virtual host of an account, by name. */
async function boundsIn(osUser: string): Promise<string[]> {
  const vhost = encodeURIComponent(nameOf(osUser));
  const [policies, operators, limits] = await Promise.all(
    ['policies', 'operator-policies', 'vhost-limits'].map((kind) => accounts.api<{ name?: string }[]>('GET', `${kind}/${vhost}`)),
  );
  return [...(policies ?? []), ...(operators ?? []), ...(limits ?? [])].map(({ name }) => name ?? 'limits').sort();
}

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
  for (const job of ['first', 'second', 'third']) {
    const from = kpx.brokerLog.lines.length;
    if (job === 'third') await accounts.api('DELETE', `vhosts/${encodeURIComponent(nameOf('again'))}`); // by an administrator
    await publish(kpx, jobOf('again', job));
    await kpx.brokerLog.line(ended, { from });
    expect(await accountsIn(accounts, 'users')).toEqual([]);
    expect(await boundsIn('again')).toEqual(['kpx.bounds', 'kpx.unrouted', `kpx.window.${KNIME_QUEUE}`, 'limits']);
  }
  const done = await jobsDone(kpx, 'again', 3);
  expect(done.map(({ job }) => job)).toEqual(['first', 'second', 'third']);
  expect(new Set(done.map(({ pid }) => pid)).size).toBe(3);

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
