import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { unitOf } from '../../fixtures/booted/kpx.js';
import { jobOf } from '../../fixtures/jobs.js';
import { commandsOf } from '../../fixtures/page.js';
import { atWork, runBlocks } from '../page-commands.js';
import { type DomainScene, keytabOf } from './scene.js';

const isForController = ({ text }: { text: string }) => text.startsWith('samba-tool');

/** The commands of a section of docs/kerberos.md: those of an administrator of the domain, and those of one of this machine. */
export function commandsIn(section: string, values: Readonly<Record<string, string>>) {
  const commands = commandsOf('docs/kerberos.md', values).filter(({ heading }) => heading === section);
  return { ofDomain: commands.filter(isForController), ofMachine: commands.filter((command) => !isForController(command)) };
}

/** The commands of docs/kerberos.md for keytabs of users. */
export function page(scene: DomainScene): void {
  const { machine } = scene;

  it('docs/kerberos.md: Active Directory with keytabs, in an evening, as it is written', async () => {
    const user = 'ad-page';
    await machine.run(['/usr/bin/kpxctl', 'kerberos', 'setup', '--remove', '--apply']);
    await machine.remove(keytabOf(user));
    const { ofDomain, ofMachine } = commandsIn('Active Directory with keytabs, in an evening', { alice: user });
    const exported = `/root/${user}.keytab`;
    const makeKeytab = async () => {
      for (const { text } of ofDomain) await scene.controller.run('/bin/sh', '-e', '-u', '-c', text);
      await machine.writeFile(exported, scene.controller.take(exported));
    };
    const job = randomUUID();
    await runBlocks(ofMachine, [
      {
        at: 'kpxctl kerberos setup',
        before: makeKeytab,
        says: /to do .*20-kpx-ticket\.conf.*--apply does it.*done .*20-kpx-ticket\.conf/s,
      },
      {
        at: 'kpxctl doctor',
        says: /ok +user keytab .*\.keytab is of ad-page@CORP\.EXAMPLE\n.*ok +user ticket .*gives "ad-page" a ticket/s,
      },
      {
        at: 'status kpx-ticket@',
        before: () => atWork(scene.kpx, user),
        says: /has a ticket.*Default principal: ad-page@CORP\.EXAMPLE.* ad-page\.txt /s,
      },
      {
        at: '--reason CREDENTIALS_REFUSED',
        before: async () => {
          await machine.systemctl('stop', unitOf(user));
          await scene.controller.outdateKeytabs(user);
          await scene.kpx.publish(jobOf(user, job));
          await expect.poll(async () => (await scene.kpx.vhost.queueDepth('kpx.dead-letter'))?.messages).toBe(1);
          await scene.installKeytab(user);
        },
      },
    ]);
    await scene.kpx.jobDone(user, job);
  });
}
