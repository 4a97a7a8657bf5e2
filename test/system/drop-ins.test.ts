import { beforeAll, expect, it, onTestFinished } from 'vitest';
import { installFuse } from '../fixtures/booted/fuse.js';
import { Kdc } from '../fixtures/booted/kdc.js';
import { installPackage } from './installed-kpx.js';
import { bootedMachine, dropIn } from './shared-machine.js';

/* Drop-ins that an operator has moved to the units of some users. No executor is started. */

const machine = bootedMachine();
const UNITS = '/etc/systemd/system';
const MACHINE_KEYTAB = '/etc/krb5.keytab';
const DELEGATE_TO = ['--delegate-to', 'cifs/files.kpx-test.example'];

beforeAll(async () => {
  await installPackage();
  await Kdc.install(machine);
  await installFuse(machine);
});

interface Case {
  readonly what: string;
  readonly template: string;
  readonly file: string;
  /** A property of the unit of a user that has it. */
  readonly property: string;
  readonly says: string;
  readonly options?: readonly string[];
}
const CASES: Case[] = [
  { what: 'kerberos', template: 'kpx-executor@', file: '20-kpx-ticket.conf', property: 'Requires', says: 'kpx-ticket@' },
  { what: 'drives', template: 'kpx-executor@', file: '30-kpx-drive.conf', property: 'BindsTo', says: 'kpx-drive@' },
  {
    what: 'kerberos',
    template: 'kpx-ticket@',
    file: '20-kpx-delegation.conf',
    property: 'User',
    says: 'kpx-delegation',
    options: DELEGATE_TO,
  },
];

it.each(CASES)('$file of $template is left to the users to whom it was moved, and is taken away from them', async (one) => {
  const { what, template, file, property, says, options = [] } = one;
  const setUp = async (...more: string[]) => (await machine.run(['/usr/bin/kpxctl', what, 'setup', ...more])).stdout;
  const ofUser = async (user: string) => (await machine.show(`${template}${user}.service`, property))[property] ?? '';
  const [all, moved] = [`${UNITS}/${template}.service.d/${file}`, `${UNITS}/${template}drop-ann.service.d/${file}`];
  await machine.writeFile(MACHINE_KEYTAB, 'of nobody', { mode: 0o600 });
  await dropIn(machine, 'kpx-drive@.service', '[Service]\nEnvironment=KPX_DRIVE_SERVER=/usr/bin/true\n');
  onTestFinished(async () => {
    await setUp('--remove', '--apply');
    for (const path of [MACHINE_KEYTAB, '/etc/kpx/delegation', '/etc/kpx/keytabs', moved]) await machine.remove(path);
  });

  await setUp(...options, '--apply');
  expect(await ofUser('drop-ben')).toContain(says);
  await machine.run(['/usr/bin/install', '-D', '--mode=0644', all, moved]);
  // As a version before this one has left both.
  await machine.writeFile(moved, '# of before\n');
  expect(await setUp()).toMatch(new RegExp(`to do +${moved}: for some users only: `));
  await setUp('--apply');
  await machine.remove(all);
  await machine.systemctl('daemon-reload');

  expect(await setUp()).toMatch(new RegExp(`ok +${moved}: for some users only: `));
  await setUp('--apply');
  expect(await machine.exists(all)).toBe(false);
  expect([await ofUser('drop-ann'), await ofUser('drop-ben')]).toEqual([expect.stringContaining(says), expect.not.stringContaining(says)]);
  expect(await setUp('--remove', '--apply')).toMatch(new RegExp(`done +${moved}: it goes`));
  expect(await machine.exists(moved)).toBe(false);
  expect(await ofUser('drop-ann')).not.toContain(says);
});

it('where some users alone have tickets by delegation, the keytabs of the others are looked at', async () => {
  const setUp = async (...more: string[]) => (await machine.run(['/usr/bin/kpxctl', 'kerberos', 'setup', ...more])).stdout;
  const moved = `${UNITS}/kpx-ticket@drop-ann.service.d`;
  await machine.writeFile(MACHINE_KEYTAB, 'of nobody', { mode: 0o600 });
  onTestFinished(async () => {
    await setUp('--remove', '--apply');
    for (const path of [MACHINE_KEYTAB, '/etc/kpx/delegation', '/etc/kpx/keytabs', moved]) await machine.remove(path);
  });
  await setUp(...DELEGATE_TO, '--apply');
  await machine.run(['/usr/bin/mv', `${UNITS}/kpx-ticket@.service.d`, moved]);
  await machine.writeFile('/etc/kpx/keytabs/drop-ben.keytab', '');
  expect(await setUp()).toMatch(/by hand +\/etc\/kpx\/keytabs\/drop-ben\.keytab/);
});
