import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { BootedKpx, unitOf } from '../fixtures/booted/kpx.js';
import { BootedRpm } from '../fixtures/booted/rpm.js';
import { commandsOf } from '../fixtures/page.js';
import { atWork, runBlocks } from './page-commands.js';
import { bootedLdap, bootedMachine, bootedRabbitmq, ON_EACH_DEBIAN, takeKnimeVhost } from './shared-machine.js';

/* docs/install.md from nothing to the first job, as it is written, on a machine that has no more than a minimal Debian and what kpx depends on. */

const machine = bootedMachine();
const ldap = bootedLdap();

/** The page's user, and the virtual host that its configuration names. */
const [USER, UID] = ['alice', 24_001];
const VHOST = 'knime';
/** Of RabbitMQ's administrator. */
const ADMIN_PASSWORD = '/root/rabbitmq-admin';
const DROP_INS = '/etc/systemd/system/kpx-executor@.service.d';
const DPKG_TIMEOUT_MS = 90_000;
const DOCTOR_TIMEOUT_MS = 90_000;
const CHECKS_MIN = 35;
const PAGE_TEST = { timeout: 300_000 };

/** The sections that each end in an installed kpx. */
const BY_DEB = 'Debian';
const BY_RPM = 'RHEL and its relatives';

/** What a minimal Debian has not, and a page may take for given: ways to fetch and to edit, pagers, manuals, what builds the packages. */
const NOT_MINIMAL = [
  ...['curl', 'wget', 'editor', 'sensible-editor', 'ed', 'nano', 'vi', 'view', 'vim', 'vim.basic', 'vim.tiny'],
  ...['less', 'pager', 'man', 'sudo', 'git', 'npm', 'npx', 'jq'],
];
const PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin'];

async function programs(names: readonly string[]): Promise<string[]> {
  const named = names.flatMap((name, index) => [...(index === 0 ? [] : ['-o']), '-name', name]);
  const argv = ['/usr/bin/find', ...PATH, '-maxdepth', '1', '(', ...named, ')'];
  return (await machine.run(argv)).stdout.split('\n').filter(Boolean);
}

/** Takes away what this Debian has beyond a minimal one, until the test is finished. */
async function makeMinimal(): Promise<void> {
  for (const file of await programs(NOT_MINIMAL)) {
    const elsewhere = `${file}.not-minimal`;
    onTestFinished(() => machine.run(['/usr/bin/mv', elsewhere, file]).then(() => {}));
    await machine.run(['/usr/bin/mv', file, elsewhere]);
  }
  expect(await programs(NOT_MINIMAL)).toEqual([]);
}

/** The package's files, laid out beside the machine's own; gone with the test. */
async function packageTree(): Promise<string> {
  const tree = '/root/kpx-tree';
  onTestFinished(() => machine.remove(tree));
  await machine.run(['/usr/bin/dpkg-deb', '--raw-extract', await BootedKpx.packageFile(machine), tree]);
  return tree;
}

/** Programs, units and all else of the package that the machine does not have just so. Licences and zsh's part have another place in the .rpm. */
async function missingFiles(tree: string): Promise<string> {
  const others = ['*/doc/*', '*/man/*', '*/lintian/*', '*/zsh/*'].flatMap((pattern) => ['!', '-path', pattern]);
  const compare = ['-exec', '/bin/sh', '-c', 'cmp --silent "$1" "/$1" || echo "$1"', '-', '{}', ';'];
  return (
    await machine.run(['/usr/bin/env', `--chdir=${tree}`, '/usr/bin/find', 'usr', 'etc/logrotate.d', '-type', 'f', ...others, ...compare])
  ).stdout;
}

/** The checks of `kpxctl doctor` that are not "ok". */
async function findings(): Promise<unknown[]> {
  const argv = ['/usr/bin/kpxctl', 'doctor', '--user', USER, '--json'];
  const { stdout } = await machine.run(argv, { timeoutMs: DOCTOR_TIMEOUT_MS, allowFailure: true });
  const { checks } = JSON.parse(stdout) as { checks: { name: string; result: string }[] };
  // Whether somebody keeps the clock is the machine's below.
  expect(checks.length).toBeGreaterThan(CHECKS_MIN);
  return checks.filter(({ name, result }) => result !== 'ok' && name !== 'clock');
}

beforeAll(() => ldap.addUser(USER, { uid: UID }));
afterAll(() => ldap.deleteUser(USER));

/** From a machine without kpx, its users of RabbitMQ and its packages' tools, to a job of {@link USER}. */
async function walk(way: typeof BY_DEB | typeof BY_RPM): Promise<void> {
  await machine.run(['/usr/bin/dpkg', '--purge', 'kpx'], { timeoutMs: DPKG_TIMEOUT_MS });
  const tree = await packageTree();
  const rpm = new BootedRpm(machine);
  if (way === BY_RPM) await rpm.prepare();
  const kpx = new BootedKpx(machine, await takeKnimeVhost(VHOST));
  onTestFinished(async () => {
    await kpx.stop();
    await machine.remove(DROP_INS);
    await rpm.erase();
    await machine.systemctl('daemon-reload');
  });
  const rabbitmq = bootedRabbitmq();
  onTestFinished(() => rabbitmq.createUsers());
  for (const { name } of [rabbitmq.users.broker, rabbitmq.users.executor]) await rabbitmq.api('DELETE', `users/${name}`);
  const { name: admin, password } = rabbitmq.users.admin;
  // Somebody would type it.
  await machine.writeFile(ADMIN_PASSWORD, `${password}\n`, { mode: 0o600 });
  onTestFinished(() => machine.remove(ADMIN_PASSWORD));
  await makeMinimal();
  const values = {
    // apt asks where it installs something else as well, and somebody would say yes.
    './dist/package/kpx_VERSION_amd64.deb': `--yes ${await BootedKpx.packageFile(machine)}`,
    'dnf install ./dist/package/kpx-VERSION-1.x86_64.rpm': BootedRpm.installing(await rpm.packageFile()).join(' '),
    '--admin admin --apply\n': `--admin ${admin} --apply <${ADMIN_PASSWORD}\n`,
    '--admin admin\n': `--admin ${admin} <${ADMIN_PASSWORD}\n`,
  };
  const other = way === BY_DEB ? BY_RPM : BY_DEB;
  const blocks = commandsOf('docs/install.md', values).filter(({ heading }) => heading !== other);
  await kpx.mark();
  await runBlocks(blocks, [
    { at: 'setup-rabbitmq', says: /Nothing was changed: --apply does it\..*done {3}user kpx-broker.*Done\./s },
    { at: '--check', says: /(no errors[^\n]*kpxctl doctor looks at the rest.*){2}\b0 fail, /s },
    { at: `getent passwd ${USER}`, says: `${USER}:*:${UID}:` },
    { at: 'systemctl enable --now', says: 'active (running)' },
    {
      at: 'journalctl -t kpx-broker',
      before: () => kpx.inUse().then(() => atWork(kpx, USER)),
      says: `"user":"${USER}","state":"ready"`,
    },
    { at: `journalctl -u kpx-executor@${USER}`, says: /^0 fail, .*nothing has failed/m },
  ]);
  expect(await findings()).toEqual([]);
  expect(await missingFiles(tree)).toBe('');
  expect(await rpm.isInstalled()).toBe(way === BY_RPM);
  expect(await machine.show(unitOf(USER), 'TasksMax')).toEqual({ TasksMax: '4000' });
}

it(
  'docs/install.md: on a minimal Debian, from nothing to the first job, and kpxctl doctor finds all well',
  { ...PAGE_TEST, ...ON_EACH_DEBIAN },
  () => walk(BY_DEB),
);

it('docs/install.md: the same with the .rpm', PAGE_TEST, () => walk(BY_RPM));
