import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { unitOf } from '../../fixtures/booted/kpx.js';
import { jobOf } from '../../fixtures/jobs.js';
import { type DomainScene, SET_UP_TIMEOUT_MS } from './scene.js';

/** Accounts that SSSD knows. */
const KNOWN = ['ad-frank', 'ad-gina', 'ad-hal'];
/** Of questions that nobody answers, one after the other. */
const BACKOFF_TIMEOUT_MS = 40_000;
const AFTER_OUTAGE_TIMEOUT_MS = 90_000;

/** A domain that has both the accounts, through SSSD, and their tickets, and does not answer. The machine is a member already: sssd.ts. */
export function domainGone(scene: DomainScene): void {
  const { machine } = scene;

  describe('with accounts and tickets of one domain', () => {
    beforeAll(async () => {
      await scene.addDomainUsers(...KNOWN, 'ad-unseen-1', 'ad-unseen-2');
      for (const name of [...KNOWN, 'ad-unseen-1', 'ad-unseen-2']) await scene.installKeytab(name);
      for (const name of KNOWN) await machine.run(['/usr/bin/id', name]);
      await machine.run(['/usr/bin/kpxctl', 'kerberos', 'setup', '--apply']);
      await scene.reconfigured({});
    }, SET_UP_TIMEOUT_MS);

    it.each<[string, string, () => unknown, () => unknown]>([
      ['is gone', 'ad-unseen-1', () => scene.controller.stopService(), () => scene.controller.startService()],
      ['hangs', 'ad-unseen-2', () => scene.controller.freeze(), () => scene.controller.thaw()],
    ])(
      'while it %s, no job is lost or parked, whether SSSD knows the account or not, and all are done afterwards',
      { timeout: 400_000 },
      async (_what, unseen, begin, end) => {
        const users = [...KNOWN, unseen];
        for (const user of KNOWN) await machine.systemctl('stop', unitOf(user));
        await scene.kpx.mark();
        const jobs = users.map((user) => [user, randomUUID()] as const);
        await begin();
        try {
          for (const [user, job] of jobs.slice(0, KNOWN.length)) await scene.kpx.publish(jobOf(user, job));
          for (const user of KNOWN) {
            const { reason } = await scene.kpx.brokerSays({ user, state: 'backoff' }, BACKOFF_TIMEOUT_MS);
            expect(reason).toMatch(/^HOST_FAILED: no (KDC has answered|ticket) for /);
          }
          // To SSSD, an account that it has never seen does not exist now. It is not parked while nobody gets an executor.
          for (const [user, job] of jobs.slice(KNOWN.length)) await scene.kpx.publish(jobOf(user, job));
          await scene.kpx.brokerSays({ user: unseen }, BACKOFF_TIMEOUT_MS);
        } finally {
          await end();
        }
        for (const [user, job] of jobs) await scene.kpx.jobDone(user, job, AFTER_OUTAGE_TIMEOUT_MS);
        expect((await scene.kpx.vhost.queueDepth('kpx.dead-letter'))?.messages).toBe(0);
        for (const user of users) expect(await scene.controller.wrongPasswords(user)).toBe(0);
      },
    );
  });
}
