import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, copyFileSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { OwnCa, tlsListener } from '../fixtures/certificates.js';
import { freePorts } from '../fixtures/free-ports.js';
import { HelperConnection } from '../fixtures/helper-connection.js';
import { checkout, Kpx, node } from '../fixtures/kpx.js';
import { answerAt } from '../fixtures/other-broker.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';
import { installHelper, rawAccounts } from './installed-helper.js';
import { installKpx, runKpxctl, startKpx } from './installed-kpx.js';

/* kpxctl doctor where no systemd runs, and where RabbitMQ speaks TLS. On a machine with systemd: test/system/doctor.test.ts. */

interface Finding {
  readonly name: string;
  readonly result: string;
  readonly seen: string;
  readonly fix?: string;
}

async function doctor(kpx: Kpx, ...args: string[]) {
  const files = ['--config', kpx.brokerConfigFile, '--helper-config', kpx.configFile];
  const { code, stdout, stderr } = await runKpxctl(['doctor', '--json', ...files, ...args]);
  expect(stderr).toBe('');
  const checks: Finding[] = JSON.parse(stdout).checks;
  return { code, checks, failed: checks.filter(({ result }) => result === 'fail') };
}

it('without systemd, with executors as children of the helper, nothing fails, and what needs systemd is skipped', async () => {
  const { code, failed, checks } = await doctor(await startKpx());
  expect({ code, failed }).toEqual({ code: 0, failed: [] });
  for (const name of ['units', 'helper socket', 'environment files', 'helper may write'])
    expect(checks.find((check) => check.name === name)).toMatchObject({
      result: 'skipped',
      seen: expect.stringContaining('launcher "direct"'),
    });
  for (const name of ['permissions', 'helper', "broker's connection", 'workspace ACLs'])
    expect(checks.find((check) => check.name === name)).toMatchObject({ result: 'ok' });
});

it('judges the template of sealed executors, and tries no login of theirs', async () => {
  const kpx = await startKpx();
  kpx.writeHelperConfig({ executor: { sealed: true, node: 'host1' } });
  const wanted = 'amqp://{user}:{password}@127.0.0.1:5673/{vhost}';
  const before = (await doctor(kpx)).failed; // the URL that was there
  expect(before).toMatchObject([
    { name: 'executor-msgq', seen: expect.stringContaining(`{vhost} missing: with sealed = true write ${wanted}`) },
    { name: 'sealed executors', seen: 'sealed.enabled is false in broker.toml, executor.sealed is true in privhelper.toml' },
  ]);
  writeFileSync(kpx.msgqFile, `${wanted}\n`);
  const { failed, checks } = await doctor(kpx);
  expect(failed.map(({ name }) => name)).toEqual(['sealed executors']);
  expect(checks.find(({ name }) => name === 'executor-msgq')).toMatchObject({
    result: 'ok',
    seen: expect.stringContaining('is a template'),
  });
  expect(checks.find(({ name }) => name === "executors' login")).toMatchObject({
    result: 'skipped',
    seen: expect.stringContaining('sealed'),
  });
});

it('gives root up where Node refuses to, as Debian 13’s does', async () => {
  const kpx = await startKpx();
  const refusing = ['--require', join(checkout(), 'test/fixtures/nodes/refuses-ids.cjs')];
  const program = join(checkout(), 'packages/kpxctl/dist/kpxctl.cjs');
  const files = ['--config', kpx.brokerConfigFile, '--helper-config', kpx.configFile];
  const { stdout, stderr } = await promisify(execFile)(node(), [...refusing, program, 'doctor', '--json', ...files], { env: {}, cwd: '/' });
  expect(stderr).toBe('');
  const { result, checks } = JSON.parse(stdout);
  expect(result).toBe('ok');
  expect(checks.find(({ name }: Finding) => name === 'permissions')).toMatchObject({ result: 'ok' });
});

describe('of the home of a user, doctor says what the helper does', () => {
  /** An account with this home below a parent of homes. */
  async function homeOf(home: string, make: (homes: string, uid: number) => void) {
    const installation = installHelper();
    const homes = `${installation.srv}/homes`;
    mkdirSync(homes);
    installation.writeHelperConfig({ directories: { home_parents: [homes] } });
    const { uid } = rawAccounts().account('homely', { home: `${homes}/${home}` });
    make(homes, uid);
    await installation.startHelper();
    const connection = await HelperConnection.greeted(installation.socket);
    onTestFinished(() => connection.close());
    const { stdout } = await runKpxctl(['doctor', '--json', '--helper-config', installation.configFile, '--user', 'homely']);
    const checks: Finding[] = JSON.parse(stdout).checks;
    return { found: checks.find(({ name }) => name === 'user home'), answer: await connection.prepare('homely') };
  }

  it.each<[what: string, home: string, make: (homes: string, uid: number) => void]>([
    ['below a directory that is not there, as override_homedir may have it', 'corp.example/homely', () => {}],
    [
      'below a directory that others can change',
      'open/homely',
      (homes) => execFileSync('/usr/bin/install', ['-d', '-m', '0777', `${homes}/open`]),
    ],
    ['below a link', 'link/homely', (homes) => symlinkSync('/tmp', `${homes}/link`)],
    ['that would be hidden', '.homely', () => {}],
    ['of somebody else', 'homely', (homes) => mkdirSync(`${homes}/homely`)],
    ['that is a file', 'homely', (homes) => writeFileSync(`${homes}/homely`, '')],
  ])('it is refused: one %s', async (_, home, make) => {
    const { found, answer } = await homeOf(home, make);
    expect(answer).toMatchObject({ kind: 'error' });
    expect(found).toMatchObject({ result: 'fail', seen: (answer as { body: { message: string } }).body.message });
  });

  it.each<[what: string, seen: string, make: (homes: string, uid: number) => void]>([
    ['that is to be made', 'will be made', () => {}],
    [
      'that is there',
      'is there',
      (homes, uid) => {
        mkdirSync(`${homes}/homely`);
        chownSync(`${homes}/homely`, uid, uid);
      },
    ],
  ])('it is right: one %s', async (_, seen, make) => {
    const { found, answer } = await homeOf('homely', make);
    expect(answer).toMatchObject({ kind: 'userPrepared' });
    expect(found).toMatchObject({ result: 'ok', seen: expect.stringContaining(seen) });
  });
});

/** A socket as Docker's: of root and a group, in a directory that all may enter. */
async function socketOf(name: string, group: number, mode: number): Promise<string> {
  const directory = `/run/kpx-doctor-${name}`;
  mkdirSync(directory, { mode: 0o755 });
  const server = createServer().listen(`${directory}/control.sock`);
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    rmSync(directory, { recursive: true });
  });
  chownSync(`${directory}/control.sock`, 0, group);
  chmodSync(`${directory}/control.sock`, mode);
  return `${directory}/control.sock`;
}

it('names the sockets below /run that a group of the user can write, and no others', async () => {
  const kpx = await installKpx();
  const gid = Number(execFileSync('/usr/bin/getent', ['group', 'analysts'], { encoding: 'utf8' }).split(':')[2]);
  const open = await socketOf('group', gid, 0o660);
  const byAcl = await socketOf('acl', 0, 0o600);
  execFileSync('/usr/bin/setfacl', ['--modify', 'user:bob:rw-', byAcl]);
  const closed = await socketOf('closed', 0, 0o660);
  const everybodys = await socketOf('everybody', 0, 0o666);
  const behind = await socketOf('behind', gid, 0o660);
  chmodSync(dirname(behind), 0o700);
  const docker = await socketOf('docker.d', 0, 0o666);
  renameSync(docker, `${dirname(docker)}/docker.sock`);
  const of = async (user: string) => (await doctor(kpx, '--user', user)).checks.find(({ name }) => name === 'user sockets');

  const seen = await of('bob');
  expect(seen).toMatchObject({ result: 'warn', fix: expect.stringContaining('denied_groups') });
  for (const path of [open, byAcl, `${dirname(docker)}/docker.sock`]) expect(seen?.seen).toContain(path);
  for (const path of [closed, everybodys, behind]) expect(seen?.seen).not.toContain(path);
  rmSync(`${dirname(docker)}/docker.sock`);
  const others = await of('alice'); // whatever else there is below /run that she may write
  for (const path of [open, byAcl, closed, everybodys, behind]) expect(others?.seen).not.toContain(path);
});

it.each([
  ['nobody waits', 0, 0, { result: 'ok', seen: '20 of 20 executors, users who wait for room: 0' }],
  ['users wait while executors start', 3, 59_000, { result: 'ok' }],
  [
    'users have waited for long',
    22,
    145_000,
    {
      result: 'warn',
      seen: '20 of 20 executors, users who wait for room: 22, the longest for 2m25s',
      fix: expect.stringContaining('when_full'),
    },
  ],
])('where %s, says so', async (_, waiting, longest_wait, expected) => {
  const kpx = await installKpx();
  const capacity = { executors: 20, max_executors: 20, waiting, longest_wait };
  await answerAt(kpx.controlSocket, { '/status': { doing: '', draining: false, rabbitmq: {}, helper: {}, capacity } });
  expect((await doctor(kpx)).checks.find(({ name }) => name === 'waiting users')).toMatchObject(expected);
});

describe('with TLS', () => {
  let rabbitmq: RabbitmqServer;
  let tlsPort = 0;
  const ca = new OwnCa('kpx-test');
  const other = new OwnCa('somebody-else');
  const served = ca.issue('IP:127.0.0.1');

  beforeAll(async () => {
    [tlsPort = 0] = await freePorts(1);
    rabbitmq = await startRabbitmq({ settings: tlsListener(tlsPort, ca, served) });
  });
  afterAll(() => rabbitmq.remove());

  /** The broker does not run: it is only looked at. */
  async function installed(caFile: string, host = '127.0.0.1'): Promise<Kpx> {
    const vhost = await rabbitmq.createKnimeVhost();
    const url = new URL(vhost.urlWithoutPassword('broker'));
    url.port = String(tlsPort);
    url.hostname = host;
    const urls = [url.href.replace(/^amqp:/, 'amqps:')];
    const kpx = new Kpx(vhost, { broker: { amqp: { urls, tls: { ca_file: caFile } } } });
    onTestFinished(() => kpx.stop());
    await kpx.startHelper();
    return kpx;
  }
  const atTls = (checks: readonly Finding[]) => checks.find(({ name }) => name.startsWith('RabbitMQ at '));

  it('and its CA, RabbitMQ lets the broker in', async () => {
    expect(atTls((await doctor(await installed(ca.file))).checks)).toMatchObject({ result: 'ok', seen: 'login works, with TLS' });
  });

  it.each([
    ['of another CA', () => installed(other.file), 'of a CA that is not trusted'],
    ['for another name', () => installed(ca.file, 'localhost'), 'is for other names than "localhost"'],
    ['of a CA whose file only root may read', () => installed(rootsOwn(ca.file)), 'cannot be read: EACCES'],
  ])('a certificate %s fails, and the fix names amqp.tls.ca_file', async (_what, install, seen) => {
    const { checks, code } = await doctor(await install());
    expect(code).toBe(78);
    expect(atTls(checks)).toMatchObject({
      result: 'fail',
      seen: expect.stringContaining(seen),
      fix: expect.stringContaining('amqp.tls.ca_file'),
    });
  });

  function rootsOwn(file: string): string {
    const copy = `${file}.secret`;
    copyFileSync(file, copy);
    chmodSync(copy, 0o600);
    return copy;
  }
});
