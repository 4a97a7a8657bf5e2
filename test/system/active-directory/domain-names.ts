import { beforeAll, describe, expect, it } from 'vitest';
import { jobOf } from '../../fixtures/jobs.js';
import { type DomainScene, SET_UP_TIMEOUT_MS } from './scene.js';

/** Names and dates of the domain's accounts. The machine is a member already: sssd.ts. */
export function domainNames(scene: DomainScene): void {
  describe('with the accounts of the domain, asked of PAM, and case = "keep"', () => {
    const [user, expired, owing] = ['ad-erin', 'ad-expired', 'ad-owing'];

    beforeAll(async () => {
      await scene.addDomainUsers(user, expired, owing);
      await scene.controller.tool('user', 'setexpiry', expired, '--days=-1');
      await scene.controller.owePassword(owing);
      await scene.reconfigured({ ask_pam: true, case: 'keep', map: { 'CORP\\*': '*', 'ad-erin@corp.example': user } });
    }, SET_UP_TIMEOUT_MS);

    it.each([user, 'CORP\\ad-erin', 'ad-erin@corp.example'])('a job of %s goes to the account that the map has for it', async (name) => {
      await scene.kpx.publish(jobOf(name, name));
      await scene.kpx.jobDone(user, name);
    });

    it.each(['Ad-Erin', 'corp\\ad-erin', 'CORP\\AD-ERIN', 'ad-erin@CORP.EXAMPLE'])(
      'a job of %s, which the map does not have so, is parked with the name that the account has',
      async (name) => {
        await scene.kpx.publish(jobOf(name));
        const [parked] = await scene.kpx.deadLetters(1);
        expect(parked?.headers).toMatchObject({
          'x-kpx-reason': 'ACCOUNT_DENIED',
          'x-kpx-detail': expect.stringContaining(`the name service calls it "${user}"`),
        });
      },
    );

    it('an account that has expired gets no executor: PAM refuses it', async () => {
      await scene.kpx.publish(jobOf(expired));
      const [parked] = await scene.kpx.deadLetters(1);
      expect(parked?.headers).toMatchObject({
        'x-kpx-reason': 'START_FAILED',
        'x-kpx-detail': expect.stringContaining('PAM refuses the account'),
      });
    });

    it('accounts that have expired, and that owe a new password, get no ticket', async () => {
      await scene.machine.run(['/usr/bin/kpxctl', 'kerberos', 'setup', '--apply']);
      await scene.reconfigured({});
      for (const [name, words] of [
        [expired, "Client's credentials have been revoked"],
        [owing, 'Password has expired'],
      ] as const) {
        await scene.installKeytab(name);
        await scene.kpx.publish(jobOf(name));
        const [parked] = await scene.kpx.deadLetters(1);
        expect(parked?.headers).toMatchObject({
          'x-kpx-reason': 'CREDENTIALS_REFUSED',
          'x-kpx-detail': expect.stringContaining(`was refused a ticket: ${words}`),
        });
        expect(await scene.controller.wrongPasswords(name)).toBe(0);
      }
    });
  });
}
