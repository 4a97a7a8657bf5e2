import { beforeAll, describe, expect, it } from 'vitest';
import { joinDomain } from '../../fixtures/booted/domain-accounts.js';
import { unitOf } from '../../fixtures/booted/kpx.js';
import { jobOf } from '../../fixtures/jobs.js';
import { type DomainScene, SET_UP_TIMEOUT_MS } from './scene.js';

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
      expect(await scene.kpx.jobDone(user, name)).toMatchObject({ uid: expect.any(Number) });
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
  });
}
