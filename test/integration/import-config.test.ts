import { execFile, execFileSync } from 'node:child_process';
import { chmodSync, chownSync, lchownSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parse } from 'smol-toml';
import { describe, expect, it } from 'vitest';
import { BROKER_ACCOUNT } from '../fixtures/accounts.js';
import type { Section } from '../fixtures/helper-installation.js';
import { jobOf } from '../fixtures/jobs.js';
import { checkout, idsOf, node } from '../fixtures/kpx.js';
import { installKpx, jobsDone, publish } from './installed-kpx.js';

const PROGRAM = join(checkout(), 'packages/kpxctl/dist/kpxctl.cjs');
/** What a tmpfs gives to a small file. */
const PAGE_BYTES = 4_096;

const importConfig = (file: string, directory: string, ...args: string[]) =>
  promisify(execFile)(node(), [PROGRAM, 'import-config', file, '--output-dir', directory, ...args]);

it('leaves nothing behind where the file system is full', async () => {
  const { etc } = await installKpx();
  const [file, full] = [join(etc, 'original.json'), join(etc, 'full')];
  mkdirSync(full);
  // Room for two of the files.
  execFileSync('/usr/bin/mount', ['-t', 'tmpfs', '-o', `size=${2 * PAGE_BYTES}`, 'tmpfs', full]);
  const names = { rabbitmq_host_name: 'h', rabbitmq_virtual_host: 'v', rabbitmq_client_user: 'u', rabbitmq_client_password: 'p' };
  writeFileSync(file, JSON.stringify({ ...names, knime_home: '/opt/knime' }));
  const imported = join(full, 'imported');
  await expect(importConfig(file, imported)).rejects.toMatchObject({
    code: 73,
    stderr: `${imported} cannot be made: ENOSPC. Nothing was written.\n`,
  });
  expect(readdirSync(full)).toEqual([]);
});

describe('where somebody else could exchange what is written', () => {
  const names = { rabbitmq_host_name: 'h', rabbitmq_virtual_host: 'v', rabbitmq_client_user: 'u', rabbitmq_client_password: 'p' };

  /** Imports into `place`, below a directory of this test's own. */
  async function importInto(place: string, prepare: (top: string) => void) {
    const { etc } = await installKpx();
    const file = join(etc, 'original.json');
    writeFileSync(file, JSON.stringify({ ...names, knime_home: '/opt/knime' }));
    const top = join(etc, 'top');
    mkdirSync(join(top, 'roots'), { recursive: true, mode: 0o755 });
    symlinkSync('roots', join(top, 'link'));
    prepare(top);
    const look = () => readdirSync(etc, { recursive: true }).sort();
    return { before: look(), imported: importConfig(file, join(top, place), '--force'), look };
  }
  const give = (path: string) => {
    const { uid, gid } = idsOf('alice');
    lchownSync(path, uid, gid);
  };
  const ANYBODY = 'can be changed by its group or by everybody';

  it.each<[what: string, place: string, prepare: (top: string) => void, why: string]>([
    ['a parent of a user', 'kpx', give, 'belongs to uid'],
    ['a parent of root, below one of a user', 'roots/kpx', give, 'belongs to uid'],
    ['a parent that everybody can write', 'kpx', (top) => chmodSync(top, 0o777), ANYBODY],
    ['a parent that its group can write', 'kpx', (top) => chmodSync(top, 0o775), ANYBODY],
    ['a link of a user', 'link/kpx', (top) => give(join(top, 'link')), 'is a symbolic link of uid'],
    [
      'a directory of a user that is to be replaced',
      'roots',
      (top) => {
        writeFileSync(join(top, 'roots/import-report.txt'), '');
        give(join(top, 'roots'));
      },
      'is there and belongs to uid',
    ],
  ])('%s: nothing is written', async (_what, place, prepare, why) => {
    const { before, imported, look } = await importInto(place, prepare);
    await expect(imported).rejects.toMatchObject({ code: 73, stderr: expect.stringContaining(why) });
    expect(look()).toEqual(before);
  });

  it('says that the import is written where the earlier one cannot be removed', async () => {
    const { etc } = await installKpx();
    const [file, place] = [join(etc, 'original.json'), join(etc, 'kpx')];
    writeFileSync(file, JSON.stringify({ ...names, knime_home: '/opt/knime' }));
    await importConfig(file, place);
    const held = join(place, 'kpx-executor@.service.d');
    execFileSync('/usr/bin/mount', ['--bind', held, held]); // it can be renamed with what is above, and not be removed
    const { code, stderr } = await importConfig(file, place, '--force').catch((error) => error);
    expect({ code, stderr }).toEqual({
      code: 73,
      stderr: expect.stringMatching(/^The import is written\. The earlier one is left over as kpx\.\w+\.old: EBUSY\.\n$/),
    });
    expect(readFileSync(join(place, 'import-report.txt'), 'utf8')).not.toBe('');
  });

  it.each<[what: string, place: string, prepare: (top: string) => void]>([
    ['a parent as /tmp', 'kpx', (top) => chmodSync(top, 0o1777)],
    ['a link of root', 'link/kpx', () => {}],
  ])('%s will do: nobody else can', async (_what, place, prepare) => {
    const { imported, look } = await importInto(place, prepare);
    expect((await imported).stderr).toBe('');
    expect(look()).toContain(`top/${place.replace('link', 'roots')}/executor-msgq`);
  });
});

it('makes, of the settings of the original, what kpx starts and runs jobs with', async () => {
  const kpx = await installKpx();
  const home = join(kpx.srv, 'knime_4.11');
  mkdirSync(home);
  const standIn = join(checkout(), 'test/fixtures/knime/executor.mjs');
  writeFileSync(join(home, 'knime'), `#!/bin/sh\nexec ${node()} ${standIn} "$@"\n`, { mode: 0o755 });
  const { host, amqpPort, users } = kpx.vhost.server;
  const original = {
    log_level: 'DEBUG',
    log_file: '/var/log/original.log',
    rabbitmq_host_name: [host, 'localhost'],
    rabbitmq_port: amqpPort,
    rabbitmq_virtual_host: kpx.vhost.vhost,
    rabbitmq_client_user: users.admin.name,
    rabbitmq_client_password: users.admin.password,
    rabbitmq_queue_name: 'knime-jobs',
    rabbitmq_exchange: 'knime-server2executorknime-jobs',
    rabbitmq_routing_key: 'new-work',
    knime_home: home,
    max_attempts_executor_start: 10,
    local_knime_user_os_user_mapping: { 'carol.smith': 'carol' },
  };
  const [file, imported] = [join(kpx.etc, 'original.json'), join(kpx.etc, 'imported')];
  writeFileSync(file, JSON.stringify(original), { mode: 0o600 });
  const { stdout, stderr } = await importConfig(file, imported);
  expect([stderr, stdout.includes(users.admin.password)]).toEqual(['', false]);
  expect(statSync(join(imported, 'amqp-password')).mode & 0o777).toBe(0o600);

  // What a private machine has otherwise than one with systemd: who reads the password, where directories are, who starts executors.
  const tables = (name: string) => parse(readFileSync(join(imported, name), 'utf8')) as Record<string, Section>;
  const { uid, gid } = idsOf(BROKER_ACCOUNT);
  const password = join(kpx.etc, 'imported-password');
  writeFileSync(password, readFileSync(join(imported, 'amqp-password')), { mode: 0o600 });
  chownSync(password, uid, gid);
  const broker = tables('broker.toml');
  kpx.configureBroker({ ...broker, amqp: { ...broker.amqp, password_file: password } });
  const [, start = ''] = /^ExecStart=(\/.*)$/m.exec(readFileSync(join(imported, 'kpx-executor@.service.d/10-all.conf'), 'utf8')) ?? [];
  const command = start.split(' ').map((argument) => argument.replace(`$\{KPX_WORKSPACE}`, '{workspace}'));
  kpx.writeHelperConfig({ ...tables('privhelper.toml'), executor: { command, msgq_file: join(imported, 'executor-msgq') } });

  await kpx.start();
  await publish(kpx, jobOf('carol.smith', 'c1'), jobOf('alice', 'a1'));
  expect(await jobsDone(kpx, 'carol', 1)).toMatchObject([{ job: 'c1' }]);
  expect(await jobsDone(kpx, 'alice', 1)).toMatchObject([{ job: 'a1' }]);
  expect(await kpx.brokerLog.line({ user: 'alice', msg: 'job forwarded' })).toMatchObject({ level: 20 }); // log_level DEBUG
});
