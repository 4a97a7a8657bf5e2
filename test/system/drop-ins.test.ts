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

/** PID 1 reads nothing, as where it does not answer in time; until the end of the test, or of what is returned. */
async function withoutReload(): Promise<() => Promise<void>> {
  const [program, refusing, own] = ['/usr/bin/systemctl', '/run/kpx-test-systemctl-refuses', '/run/kpx-test-systemctl'];
  await machine.run(['/usr/bin/cp', program, own]);
  const script = `#!/bin/sh\ncase "$*" in *daemon-reload*) echo one >&2; echo two >&2; exit 1;; esac\nexec ${own} "$@"\n`;
  await machine.writeFile(refusing, script, { mode: 0o755 });
  await machine.run(['/usr/bin/mount', '--bind', refusing, program]);
  let isOver = false;
  const end = async () => {
    if (!isOver) await machine.run(['/usr/bin/umount', program]);
    isOver = true;
    for (const path of [refusing, own]) await machine.remove(path);
  };
  onTestFinished(end);
  return end;
}

it.each(CASES)('PID 1 reads $file of $template after a run in which it could not', async (one) => {
  const { what, template, property, says, options = [] } = one;
  const kpxctl = async (...more: string[]) =>
    await machine.run(['/usr/bin/kpxctl', what, 'setup', ...more], { allowFailure: more.includes('--apply') });
  const ofUser = async () => (await machine.show(`${template}drop-ann.service`, property))[property] ?? '';
  const RELOAD = /^to do +systemctl daemon-reload: /m;
  const REFUSED = { exitCode: 69, stderr: 'systemctl daemon-reload has failed: one\ntwo\n' };
  await machine.writeFile(MACHINE_KEYTAB, 'of nobody', { mode: 0o600 });
  await dropIn(machine, 'kpx-drive@.service', '[Service]\nEnvironment=KPX_DRIVE_SERVER=/usr/bin/true\n');
  // PID 1 keeps what another unit names, as it keeps an executor that runs.
  const holds = ['/usr/bin/systemd-run', '--quiet', '--collect', '--unit=kpx-test-holds', `--property=After=${template}drop-ann.service`];
  await machine.run([...holds, '/usr/bin/sleep', 'infinity']);
  onTestFinished(async () => {
    await machine.systemctl('stop', 'kpx-test-holds');
    await kpxctl('--remove', '--apply');
    for (const path of [MACHINE_KEYTAB, '/etc/kpx/delegation', '/etc/kpx/keytabs']) await machine.remove(path);
  });
  for (const [more, hasIt] of [
    [options, true],
    [['--remove'], false],
  ] as const) {
    const answersAgain = await withoutReload();
    expect(await kpxctl(...more, '--apply')).toMatchObject(REFUSED);
    await answersAgain();
    expect((await kpxctl(...more)).stdout).toMatch(RELOAD);
    expect((await kpxctl(...more, '--apply')).stdout).toMatch(/^done +systemctl daemon-reload: /m);
    expect((await ofUser()).includes(says)).toBe(hasIt);
    expect((await kpxctl(...more)).stdout).not.toContain('daemon-reload');
  }
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
