import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import { idsOf, Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { LEAST_PERMISSIONS, type Vhost } from '../fixtures/rabbitmq-access.js';
import { letAdminister, startAccountsRabbitmq } from '../fixtures/sealed-accounts.js';
import { installKpx, runKpxctl } from './installed-kpx.js';
import { installSealed } from './installed-sealed.js';

let accounts: RabbitmqServer;
beforeAll(async () => {
  accounts = await startAccountsRabbitmq();
});
afterAll(() => accounts.remove());

/** An address of this machine alone (RFC 5737) that is not a loopback one. */
const OUTSIDE = '192.0.2.1';
const COOKIE_FILE = '/var/lib/kpx-rabbitmq/.erlang.cookie';

const nameOfVhost = (vhost: Vhost) => decodeURIComponent(new URL(vhost.urlWithoutPassword('broker')).pathname.slice(1));

interface Found {
  readonly name: string;
  readonly result: string;
  readonly seen: string;
  readonly fix?: string;
}

async function doctor(kpx: Kpx): Promise<Map<string, Found>> {
  const { stdout } = await runKpxctl(['doctor', '--json', '--config', kpx.brokerConfigFile, '--helper-config', kpx.configFile]);
  for (const { password } of Object.values(accounts.users)) expect(stdout).not.toContain(password);
  return new Map((JSON.parse(stdout).checks as Found[]).map((check) => [check.name, check]));
}

const NAMES = [
  'sealed executors',
  'sealed template',
  "accounts' RabbitMQ listens",
  "accounts' RabbitMQ settings",
  "accounts' RabbitMQ cookie",
  "accounts' RabbitMQ ports",
  'room for virtual hosts',
  "accounts' RabbitMQ",
  "accounts' administrator",
  "accounts' guest",
  "server's user",
  'two RabbitMQs',
  'sealed.up and sealed.down',
  "executors' former login",
];

describe('kpxctl doctor, of sealed executors', () => {
  it('has nothing to say where there are none', async () => {
    const found = await doctor(await installKpx());
    for (const name of NAMES) expect([name, found.has(name)]).toEqual([name, false]);
  });

  it('finds nothing wrong where nothing is', async () => {
    const found = await doctor(await installSealed(accounts));
    for (const name of NAMES) expect([name, found.get(name)?.result]).not.toEqual([name, 'fail']);
    for (const name of [
      'sealed executors',
      'sealed template',
      "accounts' RabbitMQ",
      "accounts' administrator",
      "accounts' guest",
      'two RabbitMQs',
      'sealed.up and sealed.down',
    ])
      expect([name, found.get(name)]).toEqual([name, expect.objectContaining({ result: 'ok' })]);
    expect(found.get("accounts' RabbitMQ listens")?.seen).not.toContain('AMQP');
    expect(found.get("executors' former login")?.result).toBe('skipped');
  });

  it('fails two configurations that disagree, in either direction, and two nodes', async () => {
    const kpx = await installSealed(accounts);
    kpx.configureBroker({ sealed: { enabled: false } });
    expect((await doctor(kpx)).get('sealed executors')).toMatchObject({
      result: 'fail',
      seen: expect.stringContaining('sealed.enabled is false'),
    });
    kpx.configureBroker({ sealed: { node: 'another' } });
    expect((await doctor(kpx)).get('sealed executors')).toMatchObject({
      result: 'fail',
      seen: expect.stringContaining('the node is "another"'),
    });
    kpx.configureBroker({ sealed: { urls: ['amqp://kpx-broker@127.0.0.1:1'] } });
    const found = await doctor(kpx);
    expect(found.get('sealed template')).toMatchObject({ result: 'fail', seen: expect.stringContaining('sealed.urls names 127.0.0.1:1') });
    expect(found.get("accounts' RabbitMQ")).toMatchObject({ result: 'fail', fix: expect.stringContaining('kpx-rabbitmq') });
  });

  it('warns while only some accounts are sealed: the code of the others can take and forge the jobs of each', async () => {
    const kpx = await installSealed(accounts, { helper: { executor: { sealed: ['alice', 'bob'] } } });
    writeFileSync(`${kpx.etc}/executor-msgq.shared`, 'amqp://executor:secret@127.0.0.1/vhost\n', { mode: 0o600 });
    expect((await doctor(kpx)).get('executor-msgq')).toMatchObject({
      result: 'warn',
      seen: expect.stringMatching(/^only the accounts of executor\.sealed \(2\) .* can take and forge the jobs of each$/),
      fix: expect.stringContaining('move.md'),
    });
  });

  it('finds that executors log in where sealed.urls says, however it says that', async () => {
    const kpx = await installSealed(accounts);
    const look = async (text: string, url: string) => {
      writeFileSync(kpx.msgqFile, `${text}\n`, { mode: 0o600 });
      kpx.configureBroker({ sealed: { urls: [url] } });
      return (await doctor(kpx)).get('sealed template')?.result;
    };
    const template = (address: string) => `amqp://{user}:{password}@${address}/{vhost}`;
    expect(await look(template('127.0.0.1:5673'), 'amqp://kpx-broker@localhost:5673')).toBe('ok');
    expect(await look(template('127.0.0.1:5672'), 'amqp://kpx-broker@127.0.0.1')).toBe('ok');
    expect(await look(template('127.0.0.1'), 'amqp://kpx-broker@localhost:5672')).toBe('ok');
    expect(await look(template('127.0.0.2:5672'), 'amqp://kpx-broker@127.0.0.1')).toBe('fail');
  });

  it('fails the user guest, and a broker that is no administrator', async () => {
    const kpx = await installSealed(accounts);
    const { name, password } = accounts.users.broker;
    onTestFinished(async () => {
      await accounts.api('DELETE', 'users/guest');
      await letAdminister(accounts);
    });
    await accounts.api('PUT', 'users/guest', { password: 'guest', tags: 'administrator' });
    expect((await doctor(kpx)).get("accounts' guest")).toMatchObject({
      result: 'fail',
      fix: expect.stringContaining('rabbitmqctl delete_user guest'),
    });
    await accounts.api('PUT', `users/${name}`, { password, tags: 'management' });
    expect((await doctor(kpx)).get("accounts' administrator")).toMatchObject({
      result: 'fail',
      fix: expect.stringContaining(`rabbitmqctl set_user_tags ${name} administrator`),
    });
  });

  it('fails a port of that RabbitMQ at which other machines can connect, and warns of one at which nothing listens', async () => {
    const kpx = await installSealed(accounts);
    const look = async () => (await doctor(kpx)).get("accounts' RabbitMQ listens");
    execFileSync('/usr/sbin/ip', ['address', 'add', `${OUTSIDE}/32`, 'dev', 'lo']);
    onTestFinished(() => void execFileSync('/usr/sbin/ip', ['address', 'delete', `${OUTSIDE}/32`, 'dev', 'lo']));
    const listener = createServer().listen(accounts.managementPort, OUTSIDE);
    await once(listener, 'listening');
    onTestFinished(() => void listener.close());
    expect(await look()).toMatchObject({
      result: 'fail',
      seen: `other machines can connect to ${accounts.managementPort} (the management API)`,
      fix: expect.stringContaining('management.tcp.ip'),
    });
    listener.close();
    await once(listener, 'close');
    kpx.configureBroker({ sealed: { urls: ['amqp://kpx-broker@127.0.0.1:1'] } });
    expect(await look()).toMatchObject({ result: 'warn', seen: expect.stringContaining('nothing listens at 1 (AMQP)') });
  });

  it('fails a cookie of that RabbitMQ that others can read or that is root’s, and takes one that is its own', async () => {
    const kpx = await installSealed(accounts);
    const look = async () => (await doctor(kpx)).get("accounts' RabbitMQ cookie");
    const { uid, gid } = idsOf('rabbitmq');
    mkdirSync(dirname(COOKIE_FILE), { recursive: true });
    onTestFinished(() => rmSync(dirname(COOKIE_FILE), { recursive: true }));
    expect(await look()).toMatchObject({ result: 'skipped', seen: expect.stringContaining(`there is no ${COOKIE_FILE}`) });
    writeFileSync(COOKIE_FILE, 'COOKIE-OF-A-TEST', { mode: 0o400 });
    expect(await look()).toMatchObject({ result: 'fail', seen: `${COOKIE_FILE} is a regular file of uid 0 with mode 0400` });
    chownSync(COOKIE_FILE, uid, gid);
    expect(await look()).toMatchObject({ result: 'ok' });
    chmodSync(COOKIE_FILE, 0o440);
    const found = await look();
    expect(found).toMatchObject({ result: 'fail', fix: expect.stringContaining(`chmod 0400 ${COOKIE_FILE}`) });
    expect(JSON.stringify(found)).not.toContain('COOKIE-OF-A-TEST');
  });

  it('fails what the broker may not do at the server for [[sealed.up]] and [[sealed.down]], and warns of exchanges that are not there', async () => {
    const kpx = await installSealed(accounts);
    const { vhost } = kpx;
    const rules = { up: [{ exchange: 'events', type: 'topic' }], down: [{ exchange: 'control', type: 'fanout' }] };
    kpx.configureBroker({ sealed: rules });
    const look = async () => (await doctor(kpx)).get('sealed.up and sealed.down');
    // To RabbitMQ 4.3 an exchange without any right is a refused one, whether it is there or not.
    const least = LEAST_PERMISSIONS.broker;
    await vhost.setPermissions('broker', { ...least, write: `${least.write}|^events$`, read: `${least.read}|^control$` });
    expect(await look()).toMatchObject({ result: 'warn', seen: expect.stringContaining('no exchange events, control') });
    for (const [exchange, type] of Object.entries({ events: 'topic', control: 'fanout' }))
      await vhost.server.api('PUT', `exchanges/${encodeURIComponent(nameOfVhost(vhost))}/${exchange}`, { type, durable: true });
    expect(await look()).toMatchObject({ result: 'ok' });
    await vhost.setPermissions('broker', least);
    expect(await look()).toMatchObject({ result: 'fail', seen: 'missing: write for events, read for control' });
    await vhost.setPermissions('broker', { ...least, write: `${least.write}|^events$`, read: `${least.read}|^control$` });
    expect(await look()).toMatchObject({ result: 'ok' });
  });

  it("fails the executors' former user while it can log in, and says so when it is gone", async () => {
    const kpx = await installSealed(accounts);
    const { vhost } = kpx;
    const kept = `${kpx.msgqFile}.shared`;
    const name = `former-${nameOfVhost(vhost).replace(/\W/g, '')}`;
    onTestFinished(async () => {
      await vhost.server.api('DELETE', `users/${name}`).catch(() => {});
    });
    await vhost.server.api('PUT', `users/${name}`, { password: 'former-secret', tags: '' });
    await vhost.server.api('PUT', `permissions/${encodeURIComponent(nameOfVhost(vhost))}/${name}`, {
      configure: '^$',
      write: '^$',
      read: `^${KNIME_QUEUE}$`,
    });
    const { host, port, pathname } = new URL(vhost.urlWithoutPassword('executor'));
    expect(port).not.toBe('');
    writeFileSync(kept, `amqp://${name}:former-secret@${host}${pathname}\n`, { mode: 0o600 });
    const look = async () => (await doctor(kpx)).get("executors' former login");
    const found = await look();
    expect(found).toMatchObject({
      result: 'fail',
      seen: expect.stringContaining(`"${name}"`),
      fix: expect.stringMatching(new RegExp(`rabbitmqctl delete_user ${name}; then here: rm ${kept}$`)),
    });
    expect(JSON.stringify(found)).not.toContain('former-secret');
    await vhost.server.api('DELETE', `users/${name}`);
    expect(await look()).toMatchObject({ result: 'ok', seen: expect.stringContaining('cannot log in any more') });

    const ofBefore = '/etc/kpx/executor-msgq.shared';
    mkdirSync(dirname(ofBefore), { recursive: true });
    renameSync(kept, ofBefore);
    onTestFinished(() => rmSync(ofBefore));
    expect(await look()).toMatchObject({ result: 'fail', fix: `mv ${ofBefore} ${kept}` });
  });

  it("warns of one RabbitMQ for the server and the accounts, and of a broker that is the server's administrator", async () => {
    const vhost = await accounts.createKnimeVhost();
    onTestFinished(() => vhost.delete());
    const kpx = new Kpx(vhost, { sealed: accounts });
    onTestFinished(() => kpx.stop());
    kpx.configureBroker({ amqp: { management_urls: [`http://${accounts.host}:${accounts.managementPort}`] } });
    const found = await doctor(kpx);
    expect(found.get('two RabbitMQs')).toMatchObject({ result: 'warn', seen: expect.stringMatching(/is the accounts' as well/) });
    expect(found.get("server's user")).toMatchObject({ result: 'warn', fix: expect.stringContaining('set_user_tags') });
  });

  it("asks the server about the broker's user also where the password is in the file that systemd reads", async () => {
    const vhost = await accounts.createKnimeVhost();
    onTestFinished(() => vhost.delete());
    const kpx = new Kpx(vhost, { sealed: accounts });
    onTestFinished(() => kpx.stop());
    const ofRoot = '/etc/kpx/amqp-password';
    mkdirSync(dirname(ofRoot), { recursive: true });
    writeFileSync(ofRoot, `${accounts.users.broker.password}\n`, { mode: 0o600 });
    onTestFinished(() => rmSync(ofRoot));
    const url = `http://${accounts.host}:${accounts.managementPort}`;
    kpx.configureBroker({ amqp: { management_urls: [url], password_file: '' } });
    expect((await doctor(kpx)).get("server's user")).toMatchObject({ result: 'warn', fix: expect.stringContaining('set_user_tags') });
  });
});
