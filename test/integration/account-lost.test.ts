import { expect, it } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { isGone } from '../fixtures/process.js';
import { rawAccounts } from './installed-helper.js';
import { deadLetters, jobsDone, publish, startKpx } from './installed-kpx.js';

/** Accounts are judged once a minute, with a list of executors, of which there is one each half minute; two refusals in a row end an executor. */
const ENDED_TIMEOUT_MS = 200_000;

it('the executor of an account that has left its allowed group is ended, and its next job is parked', { timeout: 300_000 }, async () => {
  const [accounts, membership] = [rawAccounts(), rawAccounts()];
  for (const name of ['lost-member', 'lost-other']) accounts.account(name);
  accounts.group('lost-staff', ['lost-other']);
  membership.group('lost-guests', ['lost-member']);
  const kpx = await startKpx({ helper: { accounts: { allowed_groups: ['lost-staff', 'lost-guests'] } } });
  await publish(kpx, jobOf('lost-member', 'before'), jobOf('lost-other', 'before'));
  const [[before], [other]] = await Promise.all([jobsDone(kpx, 'lost-member', 1), jobsDone(kpx, 'lost-other', 1)]);
  membership.remove();
  const why = expect.stringContaining('none of its groups is in allowed_groups');
  await eventually('its executor has ended', () => isGone(Number(before?.pid)), ENDED_TIMEOUT_MS);
  expect(isGone(Number(other?.pid))).toBe(false);
  const said = kpx.brokerLog.lines.filter(({ os_user, reason }) => os_user === 'lost-member' && reason !== undefined);
  expect(said).toEqual([expect.objectContaining({ level: 40, reason: why }), expect.objectContaining({ level: 40, reason: why })]);
  await publish(kpx, jobOf('lost-member', 'after'));
  expect(await deadLetters(kpx, 1)).toMatchObject([{ json: { job: 'after' }, headers: { 'x-kpx-reason': 'ACCOUNT_DENIED' } }]);
});
