import { describe, expect, it, onTestFinished } from 'vitest';
import { BROKER, SLICE, TEMPS, unitOf, WORKSPACES } from '../fixtures/booted/kpx.js';
import { jobOf } from '../fixtures/jobs.js';
import { startKpx } from './installed-kpx.js';
import { bootedLdap, bootedMachine, ON_EACH_DEBIAN } from './shared-machine.js';

const machine = bootedMachine();
const ldap = bootedLdap();

/** "Uid Gid mode" of a directory and its ACL, as the machine says. */
async function directory(path: string) {
  const { stdout: status } = await machine.run(['/usr/bin/stat', '--format=%U %G %a', path]);
  const { stdout: acl } = await machine.run(['/usr/bin/getfacl', '--omit-header', '--absolute-names', path]);
  return { status: status.trim(), acl: acl.trim().split('\n').join(' ') };
}

const ZERO = '0000000000000000';
const PRIVATE_ACL = 'user::rwx group::--- other::--- default:user::rwx default:group::--- default:other::---';

describe('a job of a user who exists only in LDAP and has never logged in', ON_EACH_DEBIAN, () => {
  it('runs in a unit of its own, under the account, with its groups, a home, a workspace and a temp directory', async () => {
    const kpx = await startKpx();
    // No other test of the machine may start ben: whichever file comes first, his home must not be there yet.
    expect(await machine.exists('/home/ben')).toBe(false);
    await kpx.publish(jobOf('ben', 'b1'), jobOf('Ben', 'b2'));
    const first = await kpx.jobDone('ben', 'b1');
    await kpx.jobDone('ben', 'b2');
    const [uid, gid] = (await machine.run(['/usr/bin/getent', 'passwd', 'ben'])).stdout.split(':').slice(2, 4).map(Number);
    const groups = (await machine.run(['/usr/bin/id', '--groups', 'ben'])).stdout.trim().split(' ').map(Number);
    expect(new Set(await ldap.groupsOf('ben'))).toEqual(new Set(['ben', 'physics', 'chem']));
    const started = await kpx.started('ben');
    expect(started).toMatchObject({
      uids: [uid, uid, uid, uid],
      gids: [gid, gid, gid, gid],
      groups: groups.sort((a, b) => a - b),
      noNewPrivs: true,
      umask: '0077',
      capabilities: { CapInh: ZERO, CapPrm: ZERO, CapEff: ZERO, CapBnd: ZERO, CapAmb: ZERO },
      cwd: '/opt/knime',
    });
    expect(started.env).toMatchObject({
      HOME: '/home/ben',
      USER: 'ben',
      LOGNAME: 'ben',
      SHELL: '/bin/bash',
      TMPDIR: `${TEMPS}/ben`,
      KPX_WORKSPACE: `${WORKSPACES}/ben`,
      KNIME_EXECUTOR_TEMP_DIR: `${TEMPS}/ben`,
      KNIME_EXECUTOR_RESERVATION: "(user = 'ben')",
      KNIME_EXECUTOR_MSGQ: kpx.vhost.url('executor'),
    });
    for (const path of [`${WORKSPACES}/ben`, `${TEMPS}/ben`])
      expect(await directory(path)).toEqual({ status: 'ben ben 700', acl: PRIVATE_ACL });
    expect((await directory('/home/ben')).status).toBe('ben ben 700');
    expect((await directory('/home/ben/.profile')).status).toBe('ben ben 644'); // as it is in the skeleton
    const shown = ['MainPID', 'Slice', 'ActiveState', 'UnitFileState', 'CPUWeight', 'CPUUsageNSec'];
    expect(await machine.show(unitOf('ben'), ...shown)).toEqual({
      MainPID: `${first.pid}`,
      Slice: SLICE,
      ActiveState: 'active',
      UnitFileState: 'static',
      CPUWeight: '100',
      CPUUsageNSec: expect.stringMatching(/^\d+$/), // idle_stop goes by it
    });
  });

  it('finds LDAP groups that decide: denied_groups and allowed_groups', async () => {
    const kpx = await startKpx({
      helper: { accounts: { denied_groups: ['denied-people'], allowed_groups: ['physics', 'denied-people'] } },
    });
    await kpx.publish(jobOf('zoe', 'z'), jobOf('cleo', 'c'), jobOf('ada', 'a'));
    await kpx.jobDone('ada', 'a');
    const letters = await kpx.deadLetters(2);
    expect(
      letters.map(({ json, headers }) => [(json as { job: string }).job, headers['x-kpx-reason'], headers['x-kpx-detail']]).sort(),
    ).toEqual([
      ['c', 'ACCOUNT_DENIED', expect.stringContaining('none of its groups is in allowed_groups')],
      ['z', 'ACCOUNT_DENIED', expect.stringContaining('its group "denied-people" is in denied_groups')],
    ]);
    expect(await machine.exists('/home/zoe')).toBe(false);
  });

  it.each(['fay.b', 'gus-1', 'hal_temp', 'ivy@corp', 'jo\\corp'])('whose name is %s has a unit of that very name', async (name) => {
    const kpx = await startKpx();
    await kpx.publish(jobOf(name, 'j'));
    const done = await kpx.jobDone(name, 'j');
    expect(await machine.show(unitOf(name), 'Id', 'MainPID')).toEqual({ Id: unitOf(name), MainPID: `${done.pid}` });
    expect((await kpx.started(name)).env).toMatchObject({ USER: name, HOME: `/home/${name}`, KPX_WORKSPACE: `${WORKSPACES}/${name}` });
    expect(await kpx.helperSays({ verb: 'spawnExecutor', os_user: name })).toMatchObject({ decision: 'done' });
    await machine.systemctl('stop', unitOf(name));
    await machine.waitForJournal('its last words', [`KPX_OS_USER=${name}`], ({ MESSAGE }) => MESSAGE === 'executor: terminated');
  });

  it('whose name differs from another’s by a backslash is refused: systemd would mix up their environments', async () => {
    await ldap.addUser('jocorp', { uid: 23_001 });
    onTestFinished(() => ldap.deleteUser('jocorp'));
    const kpx = await startKpx();
    await kpx.publish(jobOf('jo\\corp', 'with'), jobOf('jocorp', 'without'));
    await kpx.jobDone('jocorp', 'without');
    const [parked] = await kpx.deadLetters(1);
    expect(parked).toMatchObject({ json: { job: 'with' }, headers: { 'x-kpx-reason': 'ACCOUNT_DENIED' } });
    expect(parked?.headers['x-kpx-detail']).toContain('systemd cannot tell it from "jocorp"');
  });
});

describe('logs', ON_EACH_DEBIAN, () => {
  it('of a user are found by unit and by field; those of another are not among them', async () => {
    const kpx = await startKpx();
    await kpx.publish(jobOf('kim', 'k'), jobOf('leo', 'l'));
    await Promise.all([kpx.jobDone('kim', 'k'), kpx.jobDone('leo', 'l')]);
    await machine.systemctl('stop', unitOf('kim'), unitOf('leo'));
    const said = 'executor: terminated';
    await machine.waitForJournal('its last words', [`--unit=${unitOf('kim')}`], ({ MESSAGE }) => MESSAGE === said);
    const { stdout: uid } = await machine.run(['/usr/bin/id', '--user', 'kim']);
    for (const filter of [`--unit=${unitOf('kim')}`, 'KPX_OS_USER=kim']) {
      const entries = (await machine.journal(filter)).filter(({ SYSLOG_IDENTIFIER }) => SYSLOG_IDENTIFIER === 'kpx-executor');
      expect(entries.map(({ MESSAGE }) => MESSAGE)).toContain(said);
      expect(new Set(entries.map(({ _UID }) => _UID))).toEqual(new Set([uid.trim()]));
    }
  });
});

it('shows in systemctl status what the broker is doing', ON_EACH_DEBIAN, async () => {
  const kpx = await startKpx();
  await kpx.publish(jobOf('mia', 'm'));
  await kpx.jobDone('mia', 'm');
  await expect
    .poll(async () => (await machine.show(BROKER, 'StatusText')).StatusText)
    .toBe('all is well: consuming "knime-jobs"; executors: 1, of which starting: 0; jobs held: 0');
});
