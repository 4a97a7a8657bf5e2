import { beforeAll, describe, expect, it } from 'vitest';
import { joinDomain, judgeAccountsBy } from '../../fixtures/booted/domain-accounts.js';
import { unitOf, WORKSPACES } from '../../fixtures/booted/kpx.js';
import { jobOf } from '../../fixtures/jobs.js';
import { type DomainScene, SET_UP_TIMEOUT_MS } from './scene.js';

/** Of id mapping, where nothing else is said. Source: sssd-ad(5), ldap_idmap_range_min. */
const IDS_MIN = 200_000;
const HELPER_CHECK = ['/usr/sbin/kpx-privhelper', '--config', '/etc/kpx/privhelper.toml', '--check'];

/** Accounts of the domain, as SSSD has them. */
export function sssd(scene: DomainScene): void {
  const { machine } = scene;

  describe('with the accounts of the domain through SSSD', () => {
    const [user, nested] = ['ad-carol', 'ad-dave'];

    beforeAll(async () => {
      await machine.run(['/usr/bin/kpxctl', 'kerberos', 'setup', '--remove', '--apply']);
      await scene.addDomainUsers(user, nested);
      await scene.controller.addGroup('Inner People', nested);
      await scene.controller.addGroup('outer people', 'Inner People');
      scene.atEnd(await joinDomain(machine, scene.controller));
    }, SET_UP_TIMEOUT_MS);

    it.each(['ad-carol', 'Ad-Carol'])('a job of %s goes to the one account, whose group is "domain users"', async (name) => {
      await scene.kpx.publish(jobOf(name, name));
      expect(await scene.kpx.jobDone(user, name)).toMatchObject({ uid: expect.toSatisfy((uid: number) => uid >= IDS_MIN) });
      expect((await machine.run(['/usr/bin/id', '--group', '--name', user])).stdout).toBe('domain users\n');
    });

    it.each(['CORP\\ad-carol', 'ad-carol@corp.example'])(
      'a job of %s is parked, and the reason has the name that the account has',
      async (name) => {
        await scene.kpx.publish(jobOf(name));
        const [parked] = await scene.kpx.deadLetters(1);
        expect(parked?.headers).toMatchObject({
          'x-kpx-reason': 'ACCOUNT_DENIED',
          'x-kpx-detail': expect.stringContaining('the name service calls it "ad-carol"'),
        });
      },
    );

    it('a group in denied_groups is found by its own name, also where it is nested', async () => {
      await scene.reconfigured({ denied_groups: ['outer people'] });
      await scene.kpx.publish(jobOf(nested));
      const [parked] = await scene.kpx.deadLetters(1);
      expect(parked?.headers).toMatchObject({ 'x-kpx-reason': 'ACCOUNT_DENIED' });
    });

    it.each(['CORP\\outer people', 'outer people@corp.example', 'Outer People'])(
      'the group %s keeps out by denied_groups; to let in it has to be called as it is here, which --check and doctor say',
      async (group) => {
        await scene.reconfigured({ case: 'keep', denied_groups: [group] });
        expect(await machine.run(HELPER_CHECK)).toMatchObject({ exitCode: 0 });
        expect(await scene.doctor(nested, 'account lists')).toMatchObject({ result: 'ok' });
        await scene.kpx.publish(jobOf(nested));
        const [parked] = await scene.kpx.deadLetters(1);
        expect(parked?.headers).toMatchObject({ 'x-kpx-reason': 'ACCOUNT_DENIED' });
        await scene.kpx.configure({ helper: { accounts: { case: 'keep', allowed_groups: [group] } } });
        expect(await machine.run(HELPER_CHECK, { allowFailure: true })).toMatchObject({
          exitCode: 78,
          stderr: expect.stringContaining(`accounts.allowed_groups: there is no group "${group}" on this host, but "outer people"`),
        });
        expect(await scene.doctor(nested, 'account lists')).toMatchObject({ result: 'fail', seen: expect.stringContaining(group) });
      },
    );

    it('a group in extra_acl may have a blank in its name', async () => {
      await machine.systemctl('stop', unitOf(user));
      await scene.reconfigured({}, { directories: { extra_acl: ['group:domain users:r-x'] } });
      await scene.kpx.publish(jobOf(user, 'with an ACL'));
      await scene.kpx.jobDone(user, 'with an ACL');
      const gid = (await machine.run(['/usr/bin/id', '--group', user])).stdout.trim();
      const acl = (await machine.run(['/usr/bin/getfacl', '--numeric', '--absolute-names', `${WORKSPACES}/${user}`])).stdout;
      expect(acl).toContain(`\ngroup:${gid}:r-x\n`);
    });

    it('an account that is disabled gets an executor, and none where PAM is asked', async () => {
      await machine.systemctl('stop', unitOf(user));
      await scene.controller.tool('user', 'disable', user);
      await scene.reconfigured({});
      expect(await scene.doctor(user, 'disabled accounts')).toMatchObject({
        result: 'warn',
        seen: expect.stringContaining('PAM is not asked'),
      });
      await scene.kpx.publish(jobOf(user, 'PAM is not asked'));
      await scene.kpx.jobDone(user, 'PAM is not asked');
      await machine.systemctl('stop', unitOf(user));
      await scene.reconfigured({ ask_pam: true });
      await scene.kpx.publish(jobOf(user));
      const [parked] = await scene.kpx.deadLetters(1);
      expect(parked?.headers).toMatchObject({
        'x-kpx-reason': 'START_FAILED',
        'x-kpx-detail': expect.stringContaining('PAM refuses the account'),
      });
    });

    it('kpxctl doctor warns where PAM is asked, and SSSD refuses nobody', async () => {
      await judgeAccountsBy(machine, 'permit');
      expect(await scene.doctor(user, 'disabled accounts')).toMatchObject({
        result: 'warn',
        seen: expect.stringContaining('access_provider is "permit"'),
      });
      await judgeAccountsBy(machine, 'ad');
    });
  });
}
