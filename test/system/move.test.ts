import { setTimeout as delay } from 'node:timers/promises';
import { parse, stringify } from 'smol-toml';
import { expect, it, onTestFinished } from 'vitest';
import { BootedKpx, BROKER, unitOf } from '../fixtures/booted/kpx.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { commandsOf } from '../fixtures/page.js';
import { installKpx } from './installed-kpx.js';
import { bootedMachine, bootedRabbitmq } from './shared-machine.js';

/* From the original's settings to jobs that run: docs/move.md from its first command to its last, on a machine with systemd. */

const machine = bootedMachine();

const HOME = '/srv/knime_4.11';
const SETTINGS = '/root/settings.json';
const IMPORTED = '/root/kpx-imported';
const DROP_INS = '/etc/systemd/system/kpx-executor@.service.d';
/** What starts the original at boot. */
const SCRIPT = 'the-original.service';
const COMMANDS_TIMEOUT_MS = 60_000;
/** RabbitMQ is started in it. */
const SETUP_TIMEOUT_MS = 240_000;
/** The section of the page about sealed executors, and how often its test publishes, in milliseconds. */
const TO_SEALED = 'From shared to sealed executors';
const PUBLISH_EVERY_MS = 100;

/** The original's settings, for RabbitMQ as this test has it: one user that may do everything. */
async function withOriginal(): Promise<BootedKpx> {
  const kpx = await installKpx();
  onTestFinished(async () => {
    for (const path of [IMPORTED, SETTINGS, HOME, DROP_INS, `/etc/systemd/system/${SCRIPT}`]) await machine.remove(path);
    await machine.systemctl('daemon-reload');
  });
  const { admin } = kpx.vhost.server.users;
  const original = {
    log_file: '/var/log/original.log',
    log_level: 'INFO',
    rabbitmq_host_name: '127.0.0.1',
    rabbitmq_port: kpx.vhost.server.amqpPort,
    rabbitmq_virtual_host: kpx.vhost.vhost,
    rabbitmq_client_user: admin.name,
    rabbitmq_client_password: admin.password,
    knime_home: HOME,
    knime_workspace_parent_folder: '/srv/knime-workspaces',
    local_knime_user_os_user_mapping: { 'dora.smith': 'dora' },
  };
  await machine.writeFile(SETTINGS, JSON.stringify(original), { mode: 0o600 });
  await machine.writeFile(`/etc/systemd/system/${SCRIPT}`, '[Service]\nExecStart=/usr/bin/true\n[Install]\nWantedBy=multi-user.target\n');
  await machine.run(['/usr/bin/cp', '--recursive', '/opt/knime', HOME]);
  await machine.systemctl('enable', '--quiet', SCRIPT);
  return kpx;
}

it('every command of docs/move.md works, and the jobs of a mapped and an LDAP user run in between', async () => {
  const kpx = await withOriginal();
  const { admin } = kpx.vhost.server.users;
  const blocks = commandsOf('docs/move.md', {
    './dist/package/kpx_VERSION_amd64.deb': await BootedKpx.packageFile(machine),
    '/path/to/settings.json': SETTINGS,
    '-p knime ': `-p ${kpx.vhost.vhost} `,
    USER: admin.name,
    SCRIPT,
    alice: 'ada',
  }).filter(({ heading }) => heading !== TO_SEALED);
  expect(blocks).toHaveLength(10);
  const run = async (block: { text: string } | undefined) => {
    const shell = ['/bin/sh', '-e', '-u', '-c', block?.text ?? ''];
    const { stdout, stderr } = await machine.run(shell, { timeoutMs: COMMANDS_TIMEOUT_MS });
    expect(stdout + stderr).not.toContain(admin.password);
    return stdout;
  };
  const [install, importing, putting, permissions, checks, start, look, goBack, queues, after] = blocks;

  await run(install);
  expect(await run(importing)).toContain('local_knime_user_os_user_mapping');
  await run(putting);
  expect(await run(permissions)).toContain(`${kpx.vhost.vhost}\t.*\t.*\t.*`);
  expect(await run(checks)).toMatch(/^0 fail, .*: nothing has failed\.$/m);

  await kpx.mark();
  expect(await run(start)).toMatch(/^0 fail, .*: nothing has failed\.$/m);
  await kpx.inUse();
  await kpx.publish(jobOf('ada', 'a1'), jobOf('dora.smith', 'd1'));
  await kpx.jobDone('ada', 'a1');
  await kpx.jobDone('dora', 'd1');
  expect(await kpx.started('dora')).toMatchObject({ cwd: HOME });
  expect(await run(look)).toContain('"state":"ready"');
  expect((await machine.run(['/usr/bin/kpxctl', 'status'])).stdout).toMatch(
    /^All is well: .*\nbroker +consuming "knime-jobs"; executors: 2, /,
  );

  await run(goBack);
  expect((await machine.show(unitOf('ada'), 'ActiveState')).ActiveState).toBe('inactive');
  expect((await machine.show(BROKER, 'UnitFileState')).UnitFileState).toBe('disabled');
  expect(await run(queues)).toMatch(/^knime-jobs\t0$/m);

  await run(after);
  expect(await machine.exists(IMPORTED)).toBe(false);
  expect((await machine.show(SCRIPT, 'UnitFileState')).UnitFileState).toBe('disabled');
});

/** The accounts' RabbitMQ of docs/sealed.md, gone with the test. */
async function withAccountsRabbitmq(kpx: BootedKpx): Promise<void> {
  onTestFinished(async () => {
    await kpx.stop();
    await machine.run(['/usr/bin/systemctl', 'disable', '--now', 'kpx-rabbitmq'], { allowFailure: true });
    const made = ['/etc/systemd/system/kpx-rabbitmq.service', '/etc/kpx/rabbitmq', '/etc/kpx/sealed-password', '/var/lib/kpx-rabbitmq'];
    for (const path of [...made, '/etc/kpx/executor-msgq.shared']) await machine.remove(path);
    await machine.systemctl('daemon-reload');
    await bootedRabbitmq().createUsers();
  });
  await machine.run(['/usr/bin/kpxctl', 'sealed', 'setup', '--apply'], { timeoutMs: SETUP_TIMEOUT_MS });
}

/** As an administrator edits it. */
async function edit(file: string, table: string, values: object): Promise<void> {
  const path = `/etc/kpx/${file}`;
  const config = parse(await machine.readFile(path)) as Record<string, object>;
  const owner = file === 'broker.toml' ? { mode: 0o640, owner: 'root:kpx-broker' } : { mode: 0o600 };
  await machine.writeFile(path, stringify({ ...config, [table]: { ...config[table], ...values } }), owner);
}

const SEALED = {
  enabled: true,
  urls: ['amqp://kpx-broker@127.0.0.1:5673'],
  management_url: 'http://127.0.0.1:15673',
  management_password_file: '/etc/kpx/sealed-password',
};

/** Publishes jobs of all users again and again. Answers what ends that, and waits until each has done all of its own. */
function keepPublishing(kpx: BootedKpx, users: readonly string[]): () => Promise<void> {
  const jobs: string[] = [];
  let goesOn = true;
  const publishing = (async () => {
    while (goesOn) {
      const job = `${jobs.length}`;
      jobs.push(job);
      await kpx.publish(...users.map((user) => jobOf(user, job)));
      await delay(PUBLISH_EVERY_MS);
    }
  })();
  publishing.catch(() => {}); // whoever ends it is told
  return async () => {
    goesOn = false;
    await publishing;
    for (const user of users) {
      const missing = async () => {
        const done = new Set((await kpx.done(user)).map(({ job }) => job));
        return jobs.filter((job) => !done.has(job));
      };
      await eventually(`${user} has done all jobs`, async () => (await missing()).length === 0, COMMANDS_TIMEOUT_MS).catch(() => {});
      expect(await missing()).toEqual([]);
    }
    for (const queue of ['knime-jobs', 'kpx.dead-letter']) expect((await kpx.vhost.queueDepth(queue))?.messages).toBe(0);
  };
}

it('docs/move.md, to sealed executors and back, account by account, while jobs go on: none is lost', { timeout: 420_000 }, async () => {
  const kpx = await installKpx({ standIn: { BOOT_MS: '100', JOB_MS: '10' } });
  await withAccountsRabbitmq(kpx);
  await kpx.start();
  const users = ['ada', 'dora'];
  const [first, each, last, back] = commandsOf('docs/move.md').filter(({ heading }) => heading === TO_SEALED);
  const run = async (block: { text: string } | undefined, account = '') => {
    const text = (block?.text ?? '').replaceAll('alice', account);
    expect(text).not.toBe('');
    const { stdout } = await machine.run(['/bin/sh', '-e', '-u', '-c', text], { timeoutMs: COMMANDS_TIMEOUT_MS });
    return stdout;
  };
  const loginOf = async (user: string) => {
    const { env } = (await kpx.started(user)) as unknown as { env: Record<string, string> };
    return decodeURIComponent(new URL(env.KNIME_EXECUTOR_MSGQ ?? '').username);
  };
  const shared = kpx.vhost.server.users.executor.name;
  const isSealed = async (user: string) => (await loginOf(user)).startsWith('kpx.');
  const moves = async (
    user: string,
    sealed: readonly string[] | boolean,
    to = sealed === true || (sealed !== false && sealed.includes(user)),
  ) => {
    await edit('privhelper.toml', 'executor', { sealed });
    await run(each, user);
    await eventually(
      `the executor of ${user} is ${to ? 'sealed' : 'shared'}`,
      async () => (await isSealed(user)) === to,
      COMMANDS_TIMEOUT_MS,
    );
  };
  await kpx.publish(...users.map((user) => jobOf(user, 'before')));
  for (const user of users) await kpx.jobDone(user, 'before');
  expect(await Promise.all(users.map(loginOf))).toEqual([shared, shared]);
  const end = keepPublishing(kpx, users);

  const begins = async () => {
    await edit('broker.toml', 'sealed', SEALED);
    await edit('privhelper.toml', 'executor', { sealed: [] });
    await run(first);
  };
  await begins();
  await moves('ada', ['ada']);
  expect(await loginOf('dora')).toBe(shared);
  await moves('dora', ['ada', 'dora']);
  await moves('ada', ['dora']);
  await moves('dora', []);
  await edit('broker.toml', 'sealed', { enabled: false });
  await edit('privhelper.toml', 'executor', { sealed: false });
  await kpx.mark();
  await run(back);
  await kpx.inUse();

  await begins();
  await moves('dora', ['dora']);
  await moves('ada', ['ada', 'dora']);
  await edit('privhelper.toml', 'executor', { sealed: true });
  const doctor = await machine.run(['/usr/bin/kpxctl', 'doctor'], { allowFailure: true, timeoutMs: 90_000 });
  expect(doctor.exitCode).not.toBe(0);
  expect(doctor.stdout).toMatch(new RegExp(`fail +executors' former login +"${shared}"`));
  expect(await run(last)).toMatch(/ok +executors' former login +.*cannot log in any more/);
  await end();
  expect(await Promise.all(users.map(isSealed))).toEqual([true, true]);
});
