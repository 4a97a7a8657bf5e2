import { describe, expect, it } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { rawAccounts } from './installed-helper.js';
import { explain, installKpx, jobsDone, publish, runKpxctl, startKpx } from './installed-kpx.js';

/** Rules by group: analysts may, everybody else may not. */
const rulesFor = (group: string) => ({
  policy: {
    rule: [
      { name: 'analysts', groups: [group] },
      { name: 'others', action: 'deny', users: ['*'] },
    ],
  },
});

it('a limit per group: further members wait until an executor of the group ends, and everybody else passes them', async () => {
  const accounts = rawAccounts();
  const members = ['grp-lab-1', 'grp-lab-2', 'grp-lab-3', 'grp-lab-4'];
  for (const name of [...members, 'grp-other']) accounts.account(name);
  accounts.group('grp-lab', members);
  const rule = [{ name: 'lab', groups: ['grp-lab'], max_executors: 2 }];
  const kpx = await startKpx({ standIn: { BOOT_MS: '50' }, broker: { policy: { rule } } });
  const spawned = () =>
    kpx.helperLog.lines.filter(({ event, verb }) => event === 'request' && verb === 'spawnExecutor').map(({ os_user }) => os_user);
  const files = ['--config', kpx.brokerConfigFile];
  const why = '2 of 2 executors of rule 1 "lab" run';
  for (const [index, name] of members.entries()) {
    await publish(kpx, jobOf(name, name));
    if (index < 2) await jobsDone(kpx, name, 1);
    else await expect.poll(() => explain(kpx, name)).toMatchObject({ decision: 'wait', why, rule: 'rule 1 "lab"', place: index - 1 });
  }
  await publish(kpx, jobOf('grp-other', 'other'));
  await jobsDone(kpx, 'grp-other', 1);
  expect((await runKpxctl(['explain', 'grp-lab-3', ...files, '--helper-config', kpx.configFile])).stdout).toMatch(
    /^a job now {2}waits until there is room: 2 of 2 executors of rule 1 "lab" run\nnext step {2}.* raise the rule's max_executors\.$/m,
  );
  expect(spawned()).toEqual(['grp-lab-1', 'grp-lab-2', 'grp-other']);
  expect((await runKpxctl(['stop', 'grp-lab-1', ...files])).code).toBe(0);
  await jobsDone(kpx, 'grp-lab-3', 1);
  expect(spawned()).toEqual(['grp-lab-1', 'grp-lab-2', 'grp-other', 'grp-lab-3']);
  expect(await explain(kpx, 'grp-lab-4')).toMatchObject({ decision: 'wait', why, place: 1 });
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
    const kpx = await installKpx({ broker: { policy: { ...rulesFor('grp-unsaid').policy, backoff_initial: '20s' } } });
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
