import { describe, expect, it } from 'vitest';
import type { Section } from '../fixtures/helper-installation.js';
import type { Kpx } from '../fixtures/kpx.js';
import { installKpx, runBroker, runKpxctl, startKpx } from './installed-kpx.js';

/* Rules that name groups or profiles that do not exist: a typing error, of which nothing else would tell. */

const GROUP =
  'rule 1 "students" names the group "studnets", which this host does not know: it matches nobody by it (getent group studnets)';
const PROFILE =
  'rule 1 "students" names the profile "smal", which the helper does not have: jobs of its users are parked (PROFILE_UNKNOWN); ' +
  'correct the rule, or add the profile to [executor.profiles] in privhelper.toml and restart kpx-broker';
const WRONG: Record<string, Section> = {
  policy: {
    rule: [
      { name: 'students', groups: ['studnets', 'analysts'], profile: 'smal' },
      { groups: ['analysts'], priority: 1 },
    ],
  },
};
const SAID = 'a rule names something that does not exist';

const said = (kpx: Kpx) => kpx.brokerLog.lines.filter(({ msg }) => msg === SAID).map(({ reason }) => reason);
async function doctor(kpx: Kpx, check: string): Promise<unknown> {
  const { stdout } = await runKpxctl(['doctor', '--json', '--config', kpx.brokerConfigFile, '--helper-config', kpx.configFile]);
  return JSON.parse(stdout).checks.find(({ name }: { name: string }) => name === check);
}
const check = (kpx: Kpx) => runBroker(['--config', kpx.brokerConfigFile, '--check'], {});

describe('a rule with a group and a profile that do not exist', () => {
  it('is named by --check, which asks the running broker for the profiles', async () => {
    const kpx = await startKpx();
    kpx.configureBroker(WRONG);
    const { code, stdout } = await check(kpx);
    expect(code).toBe(0);
    expect(stdout.split('\n').slice(0, 3)).toEqual([
      `${kpx.brokerConfigFile}: no errors in the file, but rules name what does not exist:`,
      `  ${GROUP}`,
      `  ${PROFILE}`,
    ]);
  });

  it('is named by --check where no broker runs, which says that it cannot compare profiles', async () => {
    const kpx = await installKpx({ broker: WRONG });
    expect(await check(kpx)).toEqual({
      code: 0,
      stdout:
        `${kpx.brokerConfigFile}: no errors in the file, but rules name what does not exist:\n  ${GROUP}\n` +
        'Profiles of rules are not compared, as no broker answers that is connected to the helper: kpxctl doctor compares them.\n',
      stderr: '',
    });
  });

  it('is in the log after a start, and again after each reload until it is corrected', async () => {
    const kpx = await startKpx({ broker: WRONG });
    await expect.poll(() => said(kpx)).toEqual([GROUP, PROFILE]);
    await kpx.reload({ ...WRONG, log: { level: 'debug' } });
    await expect.poll(() => said(kpx)).toEqual([GROUP, PROFILE, GROUP, PROFILE]);
    const from = kpx.brokerLog.lines.length;
    await kpx.reload({ log: { level: 'debug' }, policy: { rule: [{ groups: ['analysts'] }] } });
    await kpx.brokerLog.line({ msg: 'every group and profile of the rules exists' }, { from });
    expect(said(kpx)).toHaveLength(4);
  });

  it('is named by kpxctl doctor, with what to do', async () => {
    const kpx = await startKpx({ broker: WRONG });
    expect(await doctor(kpx, 'rules')).toEqual({
      name: 'rules',
      result: 'warn',
      seen: `${GROUP}; ${PROFILE}`,
      fix: expect.stringContaining('[[policy.rule]]'),
    });
  });
});

describe('the groups of a rule', () => {
  it('are names: a number that is the id of a group is none', async () => {
    const kpx = await installKpx({ broker: { policy: { rule: [{ groups: ['0'] }] } } });
    expect((await check(kpx)).stdout).toContain('rule 1 names the group "0", which this host does not know');
  });

  it('are not judged while the name service does not answer, which is said', async () => {
    const kpx = await installKpx({ broker: WRONG });
    await kpx.startHelper();
    await kpx.startBroker({ wrap: kpx.inPlaceOf('/usr/bin/getent', 'exit 3') });
    const { reason } = await kpx.brokerLog.line({
      msg: 'the groups of rules could not be looked up; they are judged with the next reload',
    });
    expect(reason).toContain('getent');
    await expect.poll(() => said(kpx)).toEqual([PROFILE]);
  });
});

it('kpxctl doctor names the groups of privhelper.toml that do not exist', async () => {
  const accounts = { denied_groups: ['studnets', 'analysts'], allowed_groups: ['knime-admins', 'all-staf'] };
  const kpx = await startKpx({ helper: { accounts } });
  expect(await doctor(kpx, 'account lists')).toEqual({
    name: 'account lists',
    result: 'fail',
    seen: 'accounts.denied_groups names "studnets", accounts.allowed_groups names "all-staf", which this host does not know',
    fix: expect.stringContaining('[accounts]'),
  });
});
