import { createHash } from 'node:crypto';
import { chmodSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { SpawnOutcome, StopMode } from '@kpx/protocol';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { openConnection } from '../fixtures/amqp.js';
import { treesToTest } from '../fixtures/debian/trees.mjs';
import { HelperConnection } from '../fixtures/helper-connection.js';
import type { HelperInstallation } from '../fixtures/helper-installation.js';
import { argumentsOf, everyProcess, executorEnvironmentOf } from '../fixtures/process.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';
import { installHelper, rawAccounts, refusal, type StartedHelper, startHelper } from './installed-helper.js';

/*
 * Sealed executors with the direct launcher, where the password is in the helper's memory; and hashes against real RabbitMQs. With systemd, where it
 * is in a file: test/system/sealed.test.ts.
 */

const TEMPLATE = 'amqp://{user}:{password}@127.0.0.1:5673/{vhost}';
const EXIT_CONFIG = 78;
/** Debian's libfaketime: see resilience-clock.test.ts. Timers go by the monotonic clock, so that is moved as well here. */
const LIBRARY = '/usr/$LIB/faketime/libfaketime.so.1';
const DAY_S = 86_400;
const HOUR_S = 3_600;

const sealed = (executor: Record<string, unknown> = {}, msgq = TEMPLATE): Promise<StartedHelper> =>
  startHelper({ msgq, config: { accounts: { case: 'keep' }, executor: { sealed: true, node: 'host1', ...executor } } });

let homes = 0;
/** An account of one test, with a home of its own. */
const account = (name: string) => rawAccounts().account(name, { home: `/home/kpx-test-sealed-${process.pid}-${++homes}` });

/** What PrepareUser answers of a password. */
async function hashOf(connection: HelperConnection, user: string): Promise<string> {
  const answer = await connection.prepare(user);
  if (answer.kind !== 'userPrepared') throw new Error(JSON.stringify(answer));
  return answer.body.passwordHash ?? '';
}

/** Whether it is RabbitMQ's hash of this password. */
function isHashOf(hash: string, password: string): boolean {
  const bytes = Buffer.from(hash, 'base64');
  const expected = createHash('sha256').update(bytes.subarray(0, 4)).update(password).digest();
  return bytes.length === 36 && bytes.subarray(4).equals(expected);
}

async function startedUrl(connection: HelperConnection, user: string): Promise<URL> {
  const { mainPid } = await connection.spawned(user);
  return new URL((await executorEnvironmentOf(mainPid)).KNIME_EXECUTOR_MSGQ ?? '');
}

const linesOf = ({ helperLog }: HelperInstallation) => helperLog.lines.filter(({ event }) => event === 'request');

describe('a sealed executor', () => {
  it('has the password of which PrepareUser has answered the hash, in the environment and nowhere else', async () => {
    const { connection, installation } = await sealed();
    const hash = await hashOf(connection, 'alice');
    expect(hash).toMatch(/^[A-Za-z0-9+/]{48}$/);
    const { username, password, pathname } = await startedUrl(connection, 'alice');
    expect([username, pathname]).toEqual(['kpx.host1.alice', '/kpx.host1.alice']);
    expect(password).toMatch(/^[\w-]{43}$/);
    expect(isHashOf(hash, password)).toBe(true);
    expect(linesOf(installation)).toMatchObject([
      { verb: 'hello' },
      { verb: 'prepareUser', decision: 'done', credential: 'made', os_user: 'alice' },
      { verb: 'spawnExecutor', decision: 'done', credential: 'used', os_user: 'alice' },
    ]);
    const said = JSON.stringify([installation.helperLog.lines, installation.helperLog.stderr, connection.unclaimed]);
    for (const secret of [password, hash]) expect(said).not.toContain(secret);
    expect(everyProcess().filter((pid) => argumentsOf(pid).some((argument) => argument.includes(password)))).toEqual([]);
    expect(existsSync('/run/kpx/executors') ? readdirSync('/run/kpx/executors').filter((file) => file.endsWith('.password')) : []).toEqual(
      [],
    );
  });

  it('has another password than others, and than the one before it', async () => {
    const { connection, installation } = await sealed();
    const passwords: string[] = [];
    for (const user of ['alice', 'bob', 'alice']) {
      await hashOf(connection, user);
      passwords.push((await startedUrl(connection, user)).password);
      await connection.stop(user, StopMode.kill);
      await installation.helperLog.line({ event: 'executor ended', os_user: user }, { from: installation.helperLog.lines.length - 2 });
    }
    expect(new Set(passwords).size).toBe(3);
  });

  it('keeps its password while it runs: PrepareUser answers another hash of it, and nothing is left for a next start', async () => {
    const { connection, installation } = await sealed();
    const first = await hashOf(connection, 'alice');
    const { password } = await startedUrl(connection, 'alice');
    const second = await hashOf(connection, 'alice');
    expect(second).not.toBe(first);
    expect(isHashOf(second, password)).toBe(true);
    expect(linesOf(installation).at(-1)).toMatchObject({ verb: 'prepareUser', credential: 'in use' });
    expect(await connection.spawn('alice')).toMatchObject({ body: { outcome: SpawnOutcome.alreadyRunning } });
    await connection.stop('alice', StopMode.kill);
    await installation.helperLog.line({ event: 'executor ended', os_user: 'alice' });
    expect(await connection.spawn('alice')).toEqual(refusal('NOT_PREPARED', 'no password was prepared for a start of "alice"'));
  });

  it('starts with the newest of several prepared passwords', async () => {
    const { connection } = await sealed();
    const hashes = [await hashOf(connection, 'alice'), await hashOf(connection, 'alice')];
    const { password } = await startedUrl(connection, 'alice');
    expect(hashes.map((hash) => isHashOf(hash, password))).toEqual([false, true]);
  });

  it('does not start unprepared, nor after a helper that has prepared it and ended', async () => {
    const { connection, installation } = await sealed();
    const refused = refusal('NOT_PREPARED', 'no password was prepared for a start of "bob"');
    expect(await connection.spawn('bob')).toEqual(refused);
    expect(linesOf(installation).at(-1)).toMatchObject({ decision: 'refused', code: 'NOT_PREPARED' });
    await hashOf(connection, 'bob');
    await installation.endHelper();
    await installation.startHelper();
    const next = await HelperConnection.greeted(installation.socket);
    expect(await next.spawn('bob')).toEqual(refused);
  });

  it('has used none for a start that is beyond a limit: the audit log does not say so, and the next start has it', async () => {
    const { connection, installation } = await sealed({ max_executors: 1 });
    await hashOf(connection, 'alice');
    await startedUrl(connection, 'alice');
    const hash = await hashOf(connection, 'bob');
    expect(await connection.spawn('bob')).toEqual(refusal('LIMIT_REACHED'));
    const refused = linesOf(installation).at(-1);
    expect(refused).toMatchObject({ verb: 'spawnExecutor', decision: 'refused', code: 'LIMIT_REACHED' });
    expect(refused).not.toHaveProperty('credential');
    await connection.stop('alice', StopMode.kill);
    await installation.helperLog.line({ event: 'executor ended', os_user: 'alice' });
    expect(isHashOf(hash, (await startedUrl(connection, 'bob')).password)).toBe(true);
  });

  it('does not start with a password that has waited for more than a day', async () => {
    const clock = `/srv/sealed-password-clock-${process.pid}`;
    const setClock = (aheadS: number) => writeFileSync(clock, `+${aheadS}\n`);
    onTestFinished(() => rmSync(clock, { force: true }));
    setClock(0);
    chmodSync(clock, 0o644);
    const clocked = ['/usr/bin/env', `LD_PRELOAD=${LIBRARY}`, `FAKETIME_TIMESTAMP_FILE=${clock}`, 'FAKETIME_NO_CACHE=1'];
    const installation = installHelper({ msgq: TEMPLATE, config: { executor: { sealed: true, node: 'host1' } } });
    await installation.startHelper({ wrap: clocked });
    const connection = await HelperConnection.greeted(installation.socket);
    for (const user of ['alice', 'bob']) await hashOf(connection, user);
    setClock(DAY_S - HOUR_S);
    const hash = await hashOf(connection, 'carol');
    expect((await startedUrl(connection, 'alice')).password).toMatch(/^[\w-]{43}$/);
    setClock(DAY_S + HOUR_S);
    expect(await connection.spawn('bob')).toEqual(refusal('NOT_PREPARED', 'no password was prepared for a start of "bob"'));
    expect(isHashOf(hash, (await startedUrl(connection, 'carol')).password)).toBe(true);
    expect(isHashOf(await hashOf(connection, 'bob'), (await startedUrl(connection, 'bob')).password)).toBe(true);
  });

  it('has a password for one start: after one that failed it is prepared again', async () => {
    const { connection, installation } = await sealed({ command: ['/bin/false'] });
    await hashOf(connection, 'alice');
    await connection.spawn('alice');
    await installation.helperLog.line({ event: 'executor ended', os_user: 'alice' });
    expect(await connection.spawn('alice')).toEqual(refusal('NOT_PREPARED'));
  });

  it.each(['anna@corp.example', 'DOM\\anna', 'a_b-c.d'])('of %s has its name as one part of the URL each', async (name) => {
    account(name);
    const { connection } = await sealed();
    await hashOf(connection, name);
    const { username, pathname, password } = await startedUrl(connection, name);
    expect([username, pathname].map(decodeURIComponent)).toEqual([`kpx.host1.${name}`, `/kpx.host1.${name}`]);
    expect(isHashOf(await hashOf(connection, name), password)).toBe(true);
  });

  it('gets a template that has changed since the helper was started', async () => {
    const { connection, installation } = await sealed();
    writeFileSync(installation.msgqFile, 'amqps://{user}:{password}@rabbit1/{vhost}?heartbeat=30,amqps://rabbit2\n');
    await hashOf(connection, 'alice');
    const { mainPid } = await connection.spawned('alice');
    expect((await executorEnvironmentOf(mainPid)).KNIME_EXECUTOR_MSGQ).toMatch(
      /^amqps:\/\/kpx\.host1\.alice:[\w-]{43}@rabbit1\/kpx\.host1\.alice\?heartbeat=30,amqps:\/\/rabbit2$/,
    );
  });
});

describe('the broker', () => {
  it('hears the node in the answer to Hello: as configured, or the short name of the host', async () => {
    const { installation } = await sealed();
    const before = await HelperConnection.open(installation.socket);
    expect(await before.hello()).toMatchObject({ body: { sealedNode: 'host1' } });
    installation.writeHelperConfig({ executor: { sealed: true } });
    await installation.endHelper();
    await installation.startHelper();
    const after = await HelperConnection.open(installation.socket);
    expect(await after.hello()).toMatchObject({ body: { sealedNode: hostname().split('.')[0]?.toLowerCase() } });
  });

  it('hears of no node and no hash while executors share a user, and the audit log has nothing of a password', async () => {
    const { connection, installation } = await startHelper();
    const again = await HelperConnection.open(installation.socket);
    const hello = await again.hello();
    expect(hello.body).not.toHaveProperty('sealedNode');
    expect((await connection.prepare('alice')).body).not.toHaveProperty('passwordHash');
    await connection.spawned('alice');
    expect(linesOf(installation).filter((line) => 'credential' in line)).toEqual([]);
  });
});

describe('--check', () => {
  it.each([
    ['a URL without placeholders', 'amqp://executor:hidden@127.0.0.1/knime', 'line 1: {user} and {password} and {vhost} missing'],
    ['an unknown placeholder', 'amqp://{user}:{password}@{hidden}/{vhost}', 'line 1, column 26: unknown placeholder'],
    ['a missing one', 'amqp://{user}:{password}@hidden/knime', 'line 1: {vhost} missing'],
  ])('refuses a template with %s: the line, and what to write', async (_what, msgq, problem) => {
    const installation = installHelper({ msgq, config: { executor: { sealed: true, node: 'host1' } } });
    const { code, stderr } = await installation.runHelper(['--check']);
    expect(code).toBe(EXIT_CONFIG);
    expect(stderr).toContain(`executor.msgq_file: msgq_file ${installation.msgqFile} ${problem}: with sealed = true write ${TEMPLATE}`);
    expect(stderr).not.toContain('hidden');
    await installation.startHelper(); // executors that run can be stopped all the same
    const connection = await HelperConnection.greeted(installation.socket);
    await connection.prepare('alice');
    expect(await connection.spawn('alice')).toEqual(refusal('HOST_FAILED', problem));
  });

  it('takes a template, refuses one without sealed = true, and a node that RabbitMQ and hosts do not share', async () => {
    const good = installHelper({ msgq: TEMPLATE, config: { executor: { sealed: true, node: 'host1' } } });
    expect(await good.runHelper(['--check'])).toMatchObject({ code: 0 });
    const shared = installHelper({ msgq: TEMPLATE });
    expect(await shared.runHelper(['--check'])).toMatchObject({
      code: EXIT_CONFIG,
      stderr: expect.stringContaining('{password} is for sealed = true'),
    });
    const node = installHelper({ msgq: TEMPLATE, config: { executor: { sealed: true, node: 'Host_1' } } });
    expect(await node.runHelper(['--check'])).toMatchObject({
      code: EXIT_CONFIG,
      stderr: expect.stringMatching(
        /line \d+, executor\.node = "Host_1": expected 1 to 32 characters out of a-z 0-9 -; for example node = "exec1"\n$/,
      ),
    });
  });
});

describe.each([undefined, ...treesToTest()])('RabbitMQ of %s', (tree) => {
  let rabbitmq: RabbitmqServer;
  beforeAll(async () => {
    rabbitmq = await startRabbitmq(tree === undefined ? {} : { tree });
  });
  afterAll(() => rabbitmq.remove());

  it('lets an executor in with its password, also with the hash of a second look, and with no other', async () => {
    const osUser = 'anna@corp.example';
    account(osUser);
    const { connection } = await sealed({}, `amqp://{user}:{password}@${rabbitmq.host}:${rabbitmq.amqpPort}/{vhost}`);
    const name = encodeURIComponent(`kpx.host1.${osUser}`);
    const register = async () => {
      const password_hash = await hashOf(connection, osUser);
      await rabbitmq.api('PUT', `users/${name}`, { password_hash, tags: '' });
      await rabbitmq.api('PUT', `permissions/${name}/${name}`, { configure: '', write: '.*', read: '.*' });
    };
    await rabbitmq.api('PUT', `vhosts/${name}`);
    await register();
    const url = await startedUrl(connection, osUser);
    const logsIn = async () => await (await openConnection(url.href)).close();
    await logsIn();
    await register(); // while it runs
    await logsIn();
    url.password = `${url.password.slice(1)}x`;
    await expect(logsIn()).rejects.toThrow('ACCESS_REFUSED');
  });
});
