import { expect, it, onTestFinished } from 'vitest';
import { BootedKpx, BROKER, unitOf } from '../fixtures/booted/kpx.js';
import { jobOf } from '../fixtures/jobs.js';
import { commandsOf } from '../fixtures/page.js';
import { installKpx } from './installed-kpx.js';
import { bootedMachine } from './shared-machine.js';

/* From the original's settings to jobs that run: docs/move.md from its first command to its last, on a machine with systemd. */

const machine = bootedMachine();

const HOME = '/srv/knime_4.11';
const SETTINGS = '/root/settings.json';
const IMPORTED = '/root/kpx-imported';
const DROP_INS = '/etc/systemd/system/kpx-executor@.service.d';
/** What starts the original at boot. */
const SCRIPT = 'the-original.service';
const COMMANDS_TIMEOUT_MS = 60_000;

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
  });
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
