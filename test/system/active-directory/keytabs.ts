import { randomUUID } from 'node:crypto';
import { describe, expect, it, onTestFinished } from 'vitest';
import { jobOf } from '../../fixtures/jobs.js';
import { type DomainScene, keytabOf } from './scene.js';

const JOBS_WHEN_OUTDATED = 20;

/** Keytabs and accounts that are refused, by the domain or before it is asked. */
export function keytabs(scene: DomainScene): void {
  const { machine } = scene;

  it('an outdated keytab counts as one wrong password, however many jobs there are, and they are done with a new one', async () => {
    const user = 'ad-outdated';
    await scene.controller.outdateKeytabs(user);
    const jobs = Array.from({ length: JOBS_WHEN_OUTDATED }, () => randomUUID());
    await scene.kpx.publish(...jobs.map((job) => jobOf(user, job)));
    await expect.poll(async () => (await scene.kpx.vhost.queueDepth('kpx.dead-letter'))?.messages).toBe(JOBS_WHEN_OUTDATED);
    const { stdout } = await machine.run(['/usr/bin/kpxctl', 'dead-letters', 'list', '--json']);
    expect(stdout.match(/CREDENTIALS_REFUSED/g)).toHaveLength(JOBS_WHEN_OUTDATED);
    expect(await scene.doctor(user, 'user ticket')).toMatchObject({
      result: 'fail',
      seen: expect.stringContaining('was refused a ticket'),
    });
    expect(await scene.controller.wrongPasswords(user)).toBe(1);
    expect(await scene.controller.isLockedOut(user)).toBe(false);

    await scene.installKeytab(user);
    await machine.run(['/usr/bin/kpxctl', 'dead-letters', 'replay', '--reason', 'CREDENTIALS_REFUSED']);
    await scene.kpx.jobsDone(user, JOBS_WHEN_OUTDATED);
    expect(await scene.controller.wrongPasswords(user)).toBeLessThanOrEqual(1);
  });

  describe('a job whose user has a keytab', () => {
    const user = 'ad-bad';
    const path = keytabOf(user);
    it.each<[string, string[], string]>([
      ['that is missing', ['/usr/bin/rm', path], `there is no ${path}`],
      ['that is empty', ['/usr/bin/truncate', '--size=0', path], `${path} is empty`],
      ['of somebody else', ['/usr/bin/cp', keytabOf('ad-bob'), path], `${path} is of ad-bob@CORP.EXAMPLE, not of "${user}"`],
      ['that others may read', ['/usr/bin/chmod', '0644', path], `${path} has to be root's, with mode 0600 or 0400`],
      ['that is a link', ['/usr/bin/ln', '--symbolic', '--force', keytabOf('ad-bob'), path], `${path} is no regular file`],
    ])('%s is parked with the reason, and the domain is not asked', async (_what, spoil, reason) => {
      onTestFinished(() => scene.installKeytab(user));
      await machine.run(spoil);
      await scene.jobAnew(user);
      const [parked] = await scene.kpx.deadLetters(1);
      expect(parked?.headers).toMatchObject({ 'x-kpx-reason': 'CREDENTIALS_REFUSED', 'x-kpx-detail': expect.stringContaining(reason) });
      expect(await scene.controller.wrongPasswords(user)).toBe(0);
    });
  });

  it('an account that is disabled in the domain gets no ticket, and no executor', async () => {
    const user = 'ad-bad';
    await scene.controller.tool('user', 'disable', user);
    onTestFinished(async () => {
      await scene.controller.tool('user', 'enable', user);
    });
    await scene.jobAnew(user);
    const [parked] = await scene.kpx.deadLetters(1);
    expect(parked?.headers).toMatchObject({ 'x-kpx-reason': 'CREDENTIALS_REFUSED', 'x-kpx-detail': expect.stringContaining('revoked') });
  });
}
