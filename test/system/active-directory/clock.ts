import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { unitOf } from '../../fixtures/booted/kpx.js';
import { jobOf } from '../../fixtures/jobs.js';
import { dropIn } from '../shared-machine.js';
import type { DomainScene } from './scene.js';

const USER = 'ad-clock';
const AHEAD_S = 600;
/** Debian's libfaketime: ld.so puts the machine's own directory for $LIB. */
const WRONG_CLOCK = `[Service]
Environment=LD_PRELOAD=/usr/$LIB/faketime/libfaketime.so.1 FAKETIME=+${AHEAD_S} FAKETIME_DONT_FAKE_MONOTONIC=1
`;
const STRICT = '/etc/krb5-strict.conf';
/** Some seconds more or less: a busy machine. */
const NAMED = /this machine's clock is (59\d|6\d\d) s ahead of the KDC's: timedatectl/;

/** A clock of this machine that is ten minutes off: of the programs that ask for a ticket and use it. */
export function clock(scene: DomainScene): void {
  const { machine } = scene;

  describe('with a clock that is ten minutes off', () => {
    it('a ticket is given and good for the share, and log and doctor name the difference', async () => {
      for (const unit of [`kpx-ticket@${USER}.service`, unitOf(USER)]) await dropIn(machine, unit, WRONG_CLOCK);
      expect(await scene.doctor(USER, 'user ticket')).toMatchObject({ result: 'warn', seen: expect.stringMatching(NAMED) });
      expect(await scene.onShare(USER, `get ${USER}/${USER}.txt -`)).toMatchObject({ exitCode: 0 });
      expect((await machine.show(`kpx-ticket@${USER}.service`, 'StatusText')).StatusText).toMatch(NAMED);
      expect(await scene.doctor(USER, 'user ticket')).toMatchObject({ result: 'warn', seen: expect.stringMatching(NAMED) });
      await machine.systemctl('stop', unitOf(USER));
      expect(await scene.controller.wrongPasswords(USER)).toBe(0);
    });

    it('where krb5.conf has it refused, jobs wait with the difference as the reason, and are done when it is right', async () => {
      await machine.writeFile(STRICT, '[libdefaults]\nkdc_timesync = 0\n');
      const strict = `Environment=KRB5_CONFIG=${STRICT}:/etc/krb5.conf\n`;
      const job = randomUUID();
      await dropIn(machine, `kpx-ticket@${USER}.service`, WRONG_CLOCK + strict);
      await scene.kpx.mark();
      await scene.kpx.publish(jobOf(USER, job));
      const { reason } = await scene.kpx.brokerSays({ user: USER, state: 'backoff' });
      expect(reason).toMatch(/^HOST_FAILED: no ticket for "ad-clock": Clock skew too great/);
      expect(reason).toMatch(NAMED);
      const story = () => machine.run(['/usr/bin/kpxctl', 'job', job], { allowFailure: true });
      await expect.poll(async () => (await story()).stdout).toMatch(NAMED);
      expect(await scene.doctor(USER, 'user ticket')).toMatchObject({ result: 'fail', seen: expect.stringMatching(NAMED) });
      await machine.writeFile(`/etc/systemd/system/kpx-ticket@${USER}.service.d/10-test.conf`, `[Service]\n${strict}`);
      await machine.systemctl('daemon-reload');
      await scene.kpx.jobDone(USER, job);
      expect(await scene.controller.wrongPasswords(USER)).toBe(0);
    });
  });
}
