import { inject, onTestFinished } from 'vitest';
import { Ldap } from '../fixtures/booted/ldap.js';
import { BootedMachine } from '../fixtures/booted/machine.js';
import { RabbitmqAccess, type Vhost } from '../fixtures/rabbitmq-access.js';

/** For what differs with the systemd, SSSD or D-Bus of another Debian: `npm test` runs these there once more. */
export const ON_EACH_DEBIAN = { tags: ['each-debian'] };

/** The machine that was booted for the whole run. */
export function bootedMachine(): BootedMachine {
  return new BootedMachine(inject('bootedMachine'));
}

export function bootedLdap(): Ldap {
  return new Ldap(bootedMachine());
}

/** Debian's own rabbitmq-server.service in the booted machine; reached at the same address from inside and from the tests. */
export function bootedRabbitmq(): RabbitmqAccess {
  return new RabbitmqAccess(inject('bootedRabbitmq'));
}

/** A virtual host with KNIME's topology for one test, gone when it is finished. */
export async function takeKnimeVhost(name?: string): Promise<Vhost> {
  const vhost = await bootedRabbitmq().createKnimeVhost(name);
  onTestFinished(() => vhost.delete());
  return vhost;
}

/** Settings of a unit for one test, below /etc/systemd/system. */
export async function dropIn(machine: BootedMachine, unit: string, text: string): Promise<void> {
  const directory = `/etc/systemd/system/${unit}.d`;
  await machine.writeFile(`${directory}/10-test.conf`, text);
  onTestFinished(async () => {
    await machine.remove(directory);
    await machine.systemctl('daemon-reload');
  });
  await machine.systemctl('daemon-reload');
}
