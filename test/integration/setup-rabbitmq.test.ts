import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { treesToTest } from '../fixtures/debian/trees.mjs';
import { eventually } from '../fixtures/eventually.js';
import type { Section } from '../fixtures/helper-installation.js';
import { jobOf, publishJobs } from '../fixtures/jobs.js';
import { declareKnimeTopology } from '../fixtures/knime/topology.js';
import { idsOf, Kpx } from '../fixtures/kpx.js';
import { type RabbitmqServer, SOON_TOLD, startRabbitmq } from '../fixtures/rabbitmq.js';
import type { Vhost } from '../fixtures/rabbitmq-access.js';
import { jobsDone, runKpxctl } from './installed-kpx.js';

const USERS = ['kpx-broker', 'knime-executor'];
const NEW_PASSWORD = /^[0-9a-f]{48}$/;

describe.each([undefined, ...treesToTest()])('kpxctl setup-rabbitmq, RabbitMQ of %s', (tree) => {
  let rabbitmq: RabbitmqServer;
  beforeAll(async () => {
    rabbitmq = await startRabbitmq({ ...SOON_TOLD, ...(tree !== undefined && { tree }) });
  });
  afterAll(() => rabbitmq.remove());

  const withoutUsers = () => Promise.all(USERS.map((user) => rabbitmq.api('DELETE', `users/${user}`).catch(() => {})));
  const users = async () => (await rabbitmq.api<{ name: string }[]>('GET', 'users')).map(({ name }) => name);
  const managed = () => ({ management_urls: [`http://127.0.0.1:${rabbitmq.managementPort}`] });

  /** As a package leaves it: no password is anywhere. */
  async function install(queue: Record<string, unknown> = {}, amqp: Section = managed()): Promise<Kpx> {
    await rabbitmq.createUsers();
    const vhost = await rabbitmq.createVhost();
    onTestFinished(() => vhost.delete());
    await withoutUsers();
    await declareKnimeTopology(vhost.url('admin'), queue);
    const kpx = new Kpx(vhost, { standIn: { BOOT_MS: '50' }, broker: { amqp } });
    onTestFinished(() => kpx.stop());
    writeFileSync(passwordFile(kpx), '');
    rmSync(kpx.msgqFile);
    return kpx;
  }

  const passwordFile = (kpx: Kpx) => `${kpx.etc}/amqp-password`;
  const setUp = (kpx: Kpx, args: string[] = [], password = rabbitmq.users.admin.password) => {
    const files = ['--config', kpx.brokerConfigFile, '--helper-config', kpx.configFile];
    return runKpxctl(['setup-rabbitmq', '--admin', rabbitmq.users.admin.name, ...files, ...args], {}, `${password}\n`);
  };
  const doneFirst = async (vhost: Vhost, kpx: Kpx, job: string) => {
    await publishJobs(vhost.url('admin'), [jobOf('alice', job)]);
    await jobsDone(kpx, 'alice', 1);
  };

  it('says what is missing, makes it with --apply, and then kpx does a job', { timeout: 60_000 }, async () => {
    const kpx = await install(tree === undefined ? {} : { 'x-queue-type': 'quorum' });
    const dry = await setUp(kpx);
    expect(dry).toMatchObject({ code: 0, stderr: '' });
    expect(dry.stdout).toMatch(/to do {2}user kpx-broker: is made with the tag "management".*Nothing was changed: --apply does it\.\n$/s);
    expect(await users()).not.toContain('kpx-broker');
    expect(readFileSync(passwordFile(kpx), 'utf8')).toBe('');

    const applied = await setUp(kpx, ['--apply']);
    expect(applied).toMatchObject({ code: 0, stderr: '' });
    expect(applied.stdout).not.toContain('to do');
    const password = readFileSync(passwordFile(kpx), 'utf8').trimEnd();
    expect(password).toMatch(NEW_PASSWORD);
    expect(dry.stdout + applied.stdout).not.toContain(password);
    // The broker's file is as it was; the executors' one, which is new, is root's alone.
    expect(statSync(passwordFile(kpx))).toMatchObject({ gid: idsOf('kpx-broker').gid, mode: 0o100640 });
    expect(statSync(kpx.msgqFile)).toMatchObject({ uid: 0, mode: 0o100600 });
    const url = `amqp://knime-executor:[0-9a-f]{48}@127\\.0\\.0\\.1:${rabbitmq.amqpPort}/${kpx.vhost.vhost}\n`;
    expect(readFileSync(kpx.msgqFile, 'utf8')).toMatch(new RegExp(`^${url}$`));
    // Policies that were set a moment ago are not in RabbitMQ's statistics yet.
    await eventually('nothing is left to do', async () => (await setUp(kpx)).stdout.endsWith('Nothing is to be done.\n'));
    await kpx.start();
    await doneFirst(kpx.vhost, kpx, 'first');
  });

  it('makes a file that amqp.password_file names and that is not there, which the broker can read', async () => {
    const kpx = await install();
    rmSync(passwordFile(kpx));
    expect(await setUp(kpx, ['--apply'])).toMatchObject({ code: 0, stderr: '' });
    expect(statSync(passwordFile(kpx))).toMatchObject({ uid: 0, gid: idsOf('kpx-broker').gid, mode: 0o100640 });
    expect(statSync(kpx.msgqFile)).toMatchObject({ uid: 0, mode: 0o100600 });
    await kpx.start();
    await doneFirst(kpx.vhost, kpx, 'read');
  });

  it('makes the user of the broker alone while executors are sealed', async () => {
    const kpx = await install();
    kpx.writeHelperConfig({ executor: { sealed: true, node: 'host1' } });
    const template = 'amqp://{user}:{password}@127.0.0.1/{vhost}\n';
    writeFileSync(kpx.msgqFile, template, { mode: 0o600 });
    expect(await setUp(kpx, ['--apply', '--new-passwords'])).toMatchObject({ code: 0, stderr: '' });
    expect(await users()).toContain('kpx-broker');
    expect((await users()).filter((name) => name.includes('executor') || name.includes('{'))).toEqual([]);
    expect(readFileSync(kpx.msgqFile, 'utf8')).toBe(template);
  });

  it('changes no password that it does not know, unless it is told to', async () => {
    const kpx = await install();
    await setUp(kpx, ['--apply']);
    const before = readFileSync(passwordFile(kpx), 'utf8');
    writeFileSync(passwordFile(kpx), 'another\n');
    const refused = await setUp(kpx, ['--apply']);
    expect(refused.code).toBe(78);
    expect(refused.stdout).toMatch(/fails {2}user kpx-broker: .*--new-passwords.*Nothing was changed: see to what fails first\.\n$/s);
    expect(readFileSync(passwordFile(kpx), 'utf8')).toBe('another\n');
    const msgq = readFileSync(kpx.msgqFile, 'utf8');
    expect(await setUp(kpx, ['--apply', '--new-passwords'])).toMatchObject({ code: 0 });
    const after = readFileSync(passwordFile(kpx), 'utf8');
    expect(after).toMatch(/^[0-9a-f]{48}\n$/);
    expect([before, 'another\n']).not.toContain(after);
    expect(readFileSync(kpx.msgqFile, 'utf8')).not.toBe(msgq);
    await kpx.start();
    await doneFirst(kpx.vhost, kpx, 'renewed');
  });

  it('makes users anew with the passwords that the files have', async () => {
    const isQuorum = tree !== undefined;
    const kpx = await install(isQuorum ? { 'x-queue-type': 'quorum' } : {}, { delivery_limit: 'accept' });
    const at = ['--management-url', managed().management_urls[0] ?? ''];
    await setUp(kpx, ['--apply', ...at]);
    const secrets = () => [passwordFile(kpx), kpx.msgqFile].map((file) => readFileSync(file, 'utf8'));
    const before = secrets();
    await withoutUsers();
    const { stdout } = await setUp(kpx, ['--apply', ...at]);
    expect(stdout).toMatch(/ok {5}\S+\/amqp-password.*done {3}user kpx-broker: is made: /s);
    if (isQuorum) expect(stdout).toContain('The broker sees that by amqp.management_urls alone: set it, and run this again');
    expect(secrets()).toEqual(before);
    await kpx.start();
    await doneFirst(kpx.vhost, kpx, 'again');
  });

  it('asks nobody with --definitions, and RabbitMQ takes what it writes', async () => {
    const kpx = await install();
    const file = `${kpx.etc}/definitions.json`;
    const define = (...args: string[]) =>
      runKpxctl(['setup-rabbitmq', '--definitions', file, '--config', kpx.brokerConfigFile, '--helper-config', kpx.configFile, ...args]);
    expect((await define()).stdout).toMatch(/amqp-password: a new password.*--apply does it\.\n$/s);
    expect(existsSync(file)).toBe(false);
    expect((await define('--apply')).stdout).toContain(`${file} is written. On the RabbitMQ machine: rabbitmqctl import_definitions FILE.`);
    expect(statSync(file)).toMatchObject({ mode: 0o100600 });
    const text = readFileSync(file, 'utf8');
    expect(text).not.toContain(readFileSync(passwordFile(kpx), 'utf8').trimEnd());
    writeFileSync(`${rabbitmq.directory}/definitions.json`, text);
    await rabbitmq.ctl('import_definitions', `${rabbitmq.directory}/definitions.json`);
    expect(await setUp(kpx)).toMatchObject({ code: 0, stdout: expect.stringMatching(/Nothing is to be done\.\n$/), stderr: '' });
    await kpx.start();
    await doneFirst(kpx.vhost, kpx, 'defined');
  });

  it.each([
    ['a wrong password', () => setUpAs('wrong'), 77, /refuses the login of/],
    ['no password', () => setUpAs(''), 64, /There is no password of/],
    ['a login that is no administrator’s', () => asPublisher(), 77, /has not RabbitMQ's tag "administrator"/],
    [
      'nothing that listens',
      () => install().then((kpx) => setUp(kpx, ['--management-url', 'http://127.0.0.1:1'])),
      69,
      /rabbitmq_management/,
    ],
    ['a URL with a user', () => install().then((kpx) => setUp(kpx, ['--management-url', 'http://a@b'])), 64, /without a user/],
  ])('refuses %s, and has changed nothing', async (_what, ask, code, says) => {
    const { stderr, ...ended } = await ask();
    expect(ended).toMatchObject({ code, stdout: '' });
    expect(stderr).toMatch(says);
    expect(await users()).not.toContain('kpx-broker');
  });

  const setUpAs = async (password: string) => setUp(await install(), ['--apply'], password);
  async function asPublisher() {
    const kpx = await install();
    const { name, password } = rabbitmq.users.publisher;
    await rabbitmq.api('PUT', `users/${name}`, { password, tags: 'management' });
    return await setUp(kpx, ['--apply', '--admin', name], password);
  }
});
