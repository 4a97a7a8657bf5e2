import { describe, expect, it } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { rawAccounts } from './installed-helper.js';
import { explain, installKpx, jobsDone, publish, startKpx } from './installed-kpx.js';

/** Rules by group: analysts may, everybody else may not. */
const rulesFor = (group: string) => ({
  policy: {
    rule: [
      { name: 'analysts', groups: [group] },
      { name: 'others', action: 'deny', users: ['*'] },
    ],
  },
});

describe('where a rule goes by group, a user', () => {
  it('in a group without a name is judged by the groups that have one; the log and explain tell the gid', async () => {
    const NAMELESS = 39_998;
    const accounts = rawAccounts();
    accounts.account('grp-orphan', { gid: NAMELESS });
    accounts.group('grp-analysts', ['grp-orphan']);
    const kpx = await startKpx({ broker: rulesFor('grp-analysts') });
    await publish(kpx, jobOf('grp-orphan', 'o1'));
    await jobsDone(kpx, 'grp-orphan', 1);
    const said = await kpx.brokerLog.line({ user: 'grp-orphan', level: 40 });
    expect(said).toMatchObject({ gids: [`${NAMELESS}`], msg: expect.stringContaining('a group that has no name') });
    expect(await explain(kpx, 'grp-orphan')).toMatchObject({
      rule: 'rule 1 "analysts"',
      groups: [`${NAMELESS} (no name)`, 'grp-analysts'],
    });
    const warnings = kpx.brokerLog.lines.filter(({ user, gids }) => user === 'grp-orphan' && gids !== undefined);
    expect(warnings).toHaveLength(1);
  });

  it.each([
    ['none of the groups', 'echo "id: the directory is away" >&2; exit 1'],
    ['all groups', 'printf "39998\\0"; echo "id: cannot find name for group ID 39998" >&2; echo "id: the directory is away" >&2; exit 1'],
  ])('of whom nobody can say %s waits like after a failed start; list and explain say why', async (_what, script) => {
    const accounts = rawAccounts();
    accounts.account('grp-unsaid');
    const kpx = await installKpx({ broker: rulesFor('grp-unsaid') });
    await kpx.startHelper();
    await kpx.startBroker({ wrap: kpx.inPlaceOf('/usr/bin/id', script) });
    await publish(kpx, jobOf('grp-unsaid', 'u1'));
    const why = expect.stringMatching(
      /^the groups of "grp-unsaid" could not be looked up \(id ended with 1: .*id: the directory is away\)$/s,
    );
    expect(await kpx.brokerLog.line({ user: 'grp-unsaid', state: 'backoff' })).toMatchObject({
      reason: expect.stringContaining('could not be looked up'),
    });
    expect(await explain(kpx, 'grp-unsaid')).toMatchObject({ decision: 'hand back', why, state: 'backoff' });
  });
});
