import { describe, expect, it } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { executorEnvironmentOf } from '../fixtures/process.js';
import { startHelper } from './installed-helper.js';
import { deadLetters, explain, jobsDone, publish, runKpxctl, startKpx } from './installed-kpx.js';

/*
 * KNIME names that no account can have: with a blank, an umlaut, "+". They are served where accounts.map has them.
 */

const MAP = { 'Carol Müller': 'carol', 'c+m': 'carol', 部長: 'bob' };

describe('a KNIME user whom the map leads to an account', () => {
  it.each(Object.entries(MAP))('is served under it: %s', async (user, account) => {
    const kpx = await startKpx({ helper: { accounts: { map: MAP } }, standIn: { BOOT_MS: '50' } });
    await publish(kpx, jobOf(user, 'first'), jobOf(user.toUpperCase(), 'second'), jobOf(account, 'third'));
    const done = await jobsDone(kpx, account, 3);
    expect(done.map(({ job }) => job).sort()).toEqual(['first', 'second', 'third']);
    expect(new Set(done.map(({ pid }) => pid)).size).toBe(1);
    expect(await explain(kpx, user)).toMatchObject({ user, decision: 'forward', account: expect.stringContaining(`"${account}", uid `) });
    const config = ['--config', kpx.brokerConfigFile];
    expect(await runKpxctl(['show', user, ...config])).toMatchObject({ code: 0, stdout: expect.stringContaining(user) });
    expect(await runKpxctl(['list', ...config])).toMatchObject({ code: 0, stdout: expect.stringContaining(`${user}  `) });
  });

  it('has the reservation of the account with all its names, each in quotes', async () => {
    const { connection } = await startHelper({ config: { accounts: { map: MAP } } });
    const executor = await connection.spawned('CAROL MÜLLER');
    expect(executor).toMatchObject({ osUser: 'carol', knimeUsers: ['carol', 'carol müller', 'c+m'] });
    expect((await executorEnvironmentOf(executor.mainPid)).KNIME_EXECUTOR_RESERVATION).toBe(
      "(user = 'carol' OR user = 'carol müller' OR user = 'c+m')",
    );
  });

  it('may be kept out by the broker’s own lists, in whatever case', async () => {
    const policy = { deny: ['CAROL MÜLLER'], rule: [{ users: ['C+*'], action: 'deny' }] };
    const kpx = await startKpx({ helper: { accounts: { map: MAP } }, broker: { policy } });
    await publish(kpx, jobOf('Carol Müller', 'denied'), jobOf('c+m', 'ruled out'));
    const parked = await deadLetters(kpx, 2);
    expect(parked.map(({ headers }) => headers['x-kpx-reason'])).toEqual(['USER_DENIED', 'USER_DENIED']);
  });
});

describe('a KNIME user whom it does not', () => {
  it('is parked with the reason, and so is one that only looks like one whom it does', async () => {
    const kpx = await startKpx({ helper: { accounts: { map: MAP } } });
    const decomposed = 'Carol Müller'.normalize('NFD');
    await publish(kpx, jobOf('Erika Müller', 'unmapped'), jobOf('C\u0430rol Müller', 'Cyrillic'), jobOf(decomposed, 'decomposed'));
    const parked = await deadLetters(kpx, 3);
    const said = parked.map(({ text, headers }) => [JSON.parse(text).job, headers['x-kpx-reason'], headers['x-kpx-detail']]);
    expect(said.sort()).toEqual([
      [
        'Cyrillic',
        'ACCOUNT_DENIED',
        expect.stringContaining('no account can be called "C\u0430rol Müller": [accounts.map] must lead it to one'),
      ],
      ['decomposed', 'USER_NAME_INVALID', expect.stringContaining('expected Unicode in normal form C (NFC)')],
      ['unmapped', 'ACCOUNT_DENIED', expect.stringContaining('no account can be called "Erika Müller"')],
    ]);
    expect(kpx.done('carol')).toEqual([]);
  });
});
