import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { unitOf } from '../../fixtures/booted/kpx.js';
import { jobOf } from '../../fixtures/jobs.js';
import type { DomainScene } from './scene.js';

const AFTER_SILENCE_TIMEOUT_MS = 60_000;

/** A domain controller that gives no tickets. */
export function outages(scene: DomainScene): void {
  const { machine } = scene;

  describe('while the domain controller', () => {
    const users = ['ad-alice', 'ad-bob'];
    it.each<[string, () => unknown, () => unknown]>([
      ['is silent', () => scene.controller.freeze(), () => scene.controller.thaw()],
      ['refuses connections', () => scene.controller.stopService(), () => scene.controller.startService()],
    ])('%s, jobs wait with the reason, and are done afterwards', async (_what, begin, end) => {
      for (const user of users) await machine.systemctl('stop', unitOf(user));
      await scene.kpx.mark();
      await begin();
      const jobs = users.map((user) => [user, randomUUID()] as const);
      try {
        await scene.kpx.publish(...jobs.map(([user, job]) => jobOf(user, job)));
        for (const user of users) {
          const { reason } = await scene.kpx.brokerSays({ user, state: 'backoff' });
          expect(reason).toMatch(/^HOST_FAILED: no (KDC has answered|ticket) for /);
        }
      } finally {
        await end();
      }
      for (const [user, job] of jobs) await scene.kpx.jobDone(user, job, AFTER_SILENCE_TIMEOUT_MS);
      for (const user of users) expect(await scene.controller.wrongPasswords(user)).toBe(0);
    });
  });
}
