import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { describe, expect, it, onTestFinished } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { idsOf } from '../fixtures/kpx.js';
import { explain, installKpx, jobsDone, publish, runKpxctl, startKpx } from './installed-kpx.js';

/** Asks the control socket for something that the program would never ask for. */
async function ask(socketPath: string, path: string, method = 'GET'): Promise<number | undefined> {
  return await new Promise((resolve, reject) => {
    const asked = request({ socketPath, path, method }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asked.once('error', reject);
    asked.end();
  });
}

describe('kpxctl explain', () => {
  it('says to people what a job would meet', async () => {
    const rule = [{ name: 'science', groups: ['analysts'], max_executors: 3 }];
    const kpx = await startKpx({ broker: { policy: { rule } } });
    const files = ['--config', kpx.brokerConfigFile, '--helper-config', kpx.configFile];
    const { code, stdout } = await runKpxctl(['explain', 'bob', ...files]);
    expect([code, stdout.split('\n')]).toEqual([
      0,
      [
        'a job now  starts an executor: 0 of 40 executors run',
        'next step  Nothing to do.',
        'user       bob',
        'named in   the key "user" of the body',
        `account    "bob", uid ${idsOf('bob').uid}`,
        'groups     bob, analysts',
        'rule       rule 1 "science"',
        'profile    default',
        'state      no executor',
        'share      1, recent executor time 0s',
        'executor   none',
        'jobs held  0',
        '',
      ],
    ]);
  });

  it('tells each decision as it is made: start, hold while it boots, forward, and the account that a KNIME name leads to', async () => {
    const booted = `/srv/explain-booted-${process.pid}`;
    onTestFinished(() => rmSync(booted, { force: true }));
    const kpx = await startKpx({ standIn: { BOOT_MS: '0', BOOT_UNTIL: booted } });
    expect(await explain(kpx, 'alice')).toMatchObject({ decision: 'start', state: 'idle', executor: 'none' });
    await publish(kpx, jobOf('alice', 'a1'));
    await kpx.brokerLog.line({ user: 'alice', state: 'booting' });
    expect(await explain(kpx, 'alice')).toMatchObject({ decision: 'hold', why: 'the executor is starting', held: 1, state: 'booting' });
    writeFileSync(booted, '');
    const [done] = await jobsDone(kpx, 'alice', 1);
    const { uid } = idsOf('alice');
    const executor = `account "alice", uid ${uid}, pid ${done?.pid}, ready`;
    expect(await explain(kpx, 'alice')).toEqual({
      ...{ user: 'alice', groups: [], rule: 'none', profile: 'default', state: 'ready', executor, held: 0 },
      ...{ decision: 'forward', why: 'the executor is ready', user_from: 'the key "user" of the body', account: `"alice", uid ${uid}` },
      turn: { share: 1, recent: expect.any(Number) },
    });
  });

  it('gives the reasons of the log: a failed start that is tried again, and one that was given up', async () => {
    const kpx = await startKpx({
      standIn: { FAIL: '3' },
      broker: { policy: { start_attempts: 2, backoff_initial: '12s' } },
    });
    await publish(kpx, jobOf('alice', 'a1'));
    const words = async (state: string, tail: RegExp) =>
      String((await kpx.brokerLog.line({ user: 'alice', state }, { timeoutMs: 30_000 })).reason).replace(tail, '');
    const failed = await words('backoff', /; tried again in \w+$/);
    expect(failed).toContain('exit 3');
    const { decision, why } = await explain(kpx, 'alice');
    expect([decision, String(why).replace(/^start \d of \d+ failed \((.*)\); tried again in \d+s$/, '$1')]).toEqual(['hold', failed]);
    const broken = await words('broken', /; tried again in \w+$/);
    const parked = await explain(kpx, 'alice');
    expect([parked.decision, String(parked.why).replace(/; tried again in \dm\d\ds$/, '')]).toEqual(['park', `START_FAILED: ${broken}`]);
    expect(parked.why).toMatch(/; tried again in \dm\d\ds$/);
    expect(await kpx.brokerLog.line({ user: 'alice', msg: 'job parked' })).toMatchObject({ reason: 'START_FAILED', detail: broken });
  });

  it('gives the reason of a job that the policy parks', async () => {
    const kpx = await startKpx({ broker: { policy: { deny: ['mallory'] } } });
    await publish(kpx, jobOf('mallory', 'm1'));
    const parked = await kpx.brokerLog.line({ user: 'mallory', msg: 'job parked' });
    expect(await explain(kpx, 'mallory')).toMatchObject({ decision: 'park', why: `${parked.reason}: ${parked.detail}` });
  });

  it('says that a job stays in RabbitMQ while there is no connection: since when, why, and when it is tried again', async () => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '50' } });
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
    expect(await explain(kpx, 'alice')).toMatchObject({ decision: 'forward' });
    const { server, vhost } = kpx.vhost;
    await server.api('DELETE', `permissions/${vhost}/${server.users.broker.name}`);
    await kpx.vhost.closeConnections('broker');
    await kpx.brokerLog.line({ msg: 'RabbitMQ cannot be used; trying again' });
    const says = /^no connection to RabbitMQ since \d{4}-\S+Z \(.*access to vhost .* refused .*\), (next try at \d{4}-\S+Z|trying now)$/;
    for (const user of ['alice', 'bob'])
      expect(await explain(kpx, user)).toMatchObject({ decision: 'stay', why: expect.stringMatching(says) });
    const { stdout } = await runKpxctl(['status', '--json', '--config', kpx.brokerConfigFile]);
    const { doing, rabbitmq } = JSON.parse(stdout);
    expect(rabbitmq).toMatchObject({
      connected: false,
      since: expect.stringMatching(/Z$/),
      reason: expect.stringContaining('access to vhost'),
    });
    expect(doing).toContain(`no connection to RabbitMQ since ${rabbitmq.since}`);
  });

  it('says that a job is held while there is no helper to start an executor', async () => {
    const kpx = await startKpx();
    await kpx.endHelper();
    await kpx.brokerLog.line({ msg: 'lost the helper; connecting again' });
    const says = /^no connection to kpx-privhelper since \d{4}-\S+Z \(.*\), /;
    expect(await explain(kpx, 'alice')).toMatchObject({ decision: 'hold', why: expect.stringMatching(says) });
  });

  it('says of an account that does not exist, or may not have one, that no executor starts', async () => {
    const kpx = await startKpx();
    const unknown = 'ACCOUNT_UNKNOWN: there is no account "nobody.here" on this machine';
    expect(await explain(kpx, 'nobody.here')).toMatchObject({ decision: 'fail', why: unknown, account: unknown });
    expect(await explain(kpx, 'root')).toMatchObject({
      decision: 'park',
      why: expect.stringMatching(/^ACCOUNT_DENIED: the account "root"/),
    });
    expect(await explain(kpx, 'carol.smith')).toMatchObject({ decision: 'fail' });
    kpx.writeHelperConfig({ accounts: { map: { 'carol.smith': 'carol' } } });
    expect(await explain(kpx, 'carol.smith')).toMatchObject({ decision: 'start', account: `"carol", uid ${idsOf('carol').uid}` });
    const files = ['--config', kpx.brokerConfigFile, '--helper-config', kpx.configFile];
    const { stdout } = await runKpxctl(['show', 'nobody.here', ...files]);
    expect(stdout).toContain(`\naccount    ${unknown}\n`);
    expect(stdout).toContain(
      `\na job now  asks for an executor, in vain; after start_attempts it is parked in kpx.dead-letter: ${unknown}\n`,
    );
    expect(readdirSync(kpx.workspaces)).toEqual([]); // nothing was made for the look
  });

  it('says to who is not root what only the helper knows', async () => {
    const kpx = await startKpx();
    const asBroker = async (user: string) =>
      (await runKpxctl(['explain', user, '--config', kpx.brokerConfigFile], idsOf('kpx-broker'))).stdout;
    expect(await asBroker('alice')).toContain(
      `account    "alice", uid ${idsOf('alice').uid}; whether it may have an executor, the helper says`,
    );
    expect(await asBroker('nobody.here')).toContain(
      'there is no account "nobody.here" on this machine; only the helper knows whether accounts.map names another one',
    );
  });

  it('ends with 69 where no broker answers, saying why', async () => {
    const kpx = await installKpx();
    const told = async () => await runKpxctl(['explain', 'alice', '--config', kpx.brokerConfigFile]);
    expect(await told()).toMatchObject({
      code: 69,
      stderr: `no broker answers: there is no socket at ${kpx.controlSocket} (see systemctl status kpx-broker)\n`,
    });
    await kpx.startHelper();
    await kpx.startBroker();
    await kpx.endBroker('SIGKILL');
    expect(await told()).toMatchObject({
      code: 69,
      stderr: `no broker answers: nothing listens at ${kpx.controlSocket} (see systemctl status kpx-broker)\n`,
    });
    // The next one replaces the socket that was left.
    await kpx.startBroker();
    expect(await told()).toMatchObject({ code: 0 });
    await kpx.endBroker();
    expect(await told()).toMatchObject({ code: 69, stderr: expect.stringContaining('there is no socket') });
  });

  it('ends with 64 on wrong usage, with 78 on a wrong configuration, and only root and the broker may ask', async () => {
    const kpx = await startKpx();
    const config = ['--config', kpx.brokerConfigFile];
    const run = async (args: string[], ids = {}) => await runKpxctl(['explain', ...args], ids);
    expect(await run(config)).toMatchObject({ code: 64, stderr: "error: missing required argument 'USER'\nTry --help.\n" });
    expect(await run(['a', 'b', ...config])).toMatchObject({ code: 64 });
    expect(await run(['../x', ...config])).toMatchObject({
      code: 64,
      stderr: expect.stringContaining("'../x' is invalid for argument 'USER'. It is no name of a KNIME user: expected a name"),
    });
    expect(await run(['alice', '--grup', 'x', ...config])).toMatchObject({ code: 64, stderr: expect.stringContaining('--grup') });
    expect(await run(['--help'])).toMatchObject({ code: 0, stdout: expect.stringContaining('Usage: kpxctl explain [options] <USER>') });
    writeFileSync(`${kpx.etc}/broken.toml`, '[control]\nsocket = 5\n');
    expect(await run(['alice', '--config', `${kpx.etc}/broken.toml`])).toMatchObject({
      code: 78,
      stderr: expect.stringContaining('control.socket'),
    });
    writeFileSync(`${kpx.etc}/nowhere.toml`, '[control]\nsocket = ""\n');
    expect(await run(['alice', '--config', `${kpx.etc}/nowhere.toml`])).toMatchObject({
      code: 69,
      stderr: expect.stringContaining('nowhere'),
    });
    expect(await run(['alice', ...config], idsOf('kpx-broker'))).toMatchObject({ code: 0 });
    writeFileSync(`${kpx.etc}/public.toml`, `[amqp]\nurls = ["amqp://u@h"]\n[control]\nsocket = "${kpx.controlSocket}"\n`, { mode: 0o644 });
    expect(await run(['alice', '--config', `${kpx.etc}/public.toml`], idsOf('bob'))).toMatchObject({
      code: 69,
      stderr: `no permission to use ${kpx.controlSocket}: ask as root, or as a member of kpx-admin\n`,
    });
  });
});

describe('the control socket', () => {
  it('answers nonsense with an error and lives on', async () => {
    const kpx = await startKpx();
    const asked = [
      await ask(kpx.controlSocket, '//'),
      await ask(kpx.controlSocket, '/explain'),
      await ask(kpx.controlSocket, '/explain?user=a%20%20b'),
      await ask(kpx.controlSocket, '/nothing'),
      await ask(kpx.controlSocket, '/explain?user=alice', 'POST'),
    ];
    expect(asked).toEqual([400, 400, 400, 404, 405]);
    expect(await explain(kpx, 'alice')).toMatchObject({ decision: 'start' });
  });
});
