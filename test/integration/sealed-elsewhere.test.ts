import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { parse } from 'smol-toml';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { OwnCa } from '../fixtures/certificates.js';
import { eventually } from '../fixtures/eventually.js';
import { freePorts } from '../fixtures/free-ports.js';
import { jobOf } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import type { Kpx } from '../fixtures/kpx.js';
import { addMachineAddress, MACHINE_ADDRESS } from '../fixtures/own-host.js';
import { blocksOf } from '../fixtures/page.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { answersTo, nameOf, startAccountsRabbitmq, takeClient } from '../fixtures/sealed-accounts.js';
import { jobsDone, publish, runKpxctl } from './installed-kpx.js';
import { installSealed } from './installed-sealed.js';

/* The accounts' RabbitMQ on another machine: AMQP and the management API by TLS, with a CA of its own, at an address that is not loopback. */

const ca = new OwnCa('kpx-accounts');
const other = new OwnCa('somebody-else');
const served = ca.issue(`IP:${MACHINE_ADDRESS}`);
const SOON = { start_attempts: 100, backoff_initial: '200ms', backoff_max: '500ms' };

let accounts: RabbitmqServer;
let [amqps, https] = [0, 0];
/** Certificate authorities, as an administrator changes them. */
let files: { broker: string; executors: string };

/** What docs/sealed.md has an administrator write, with the addresses and files of this test. */
function written(what: RegExp): string {
  const blocks = blocksOf('docs/sealed.md').filter(({ heading, text }) => heading === 'On another machine, by TLS' && what.test(text));
  expect(blocks).toHaveLength(1);
  const values = {
    'accounts.example.org:15671': `${MACHINE_ADDRESS}:${https}`,
    'accounts.example.org:5671': `${MACHINE_ADDRESS}:${amqps}`,
    'listeners.ssl.default = 5671': `listeners.ssl.default = ${MACHINE_ADDRESS}:${amqps}`,
    'management.ssl.port = 15671': `management.ssl.port = ${https}`,
    '/etc/rabbitmq/ca.pem': ca.file,
    '/etc/rabbitmq/server.pem': served.certificate,
    '/etc/rabbitmq/server.key': served.key,
  };
  return Object.entries(values)
    .reduce((text, [there, here]) => text.replaceAll(there, here), blocks[0]?.text ?? '')
    .trim();
}

beforeAll(async () => {
  addMachineAddress();
  [amqps = 0, https = 0] = await freePorts(2);
  const { 'listeners.tcp': _, ...settings } = Object.fromEntries(
    written(/^listeners\.tcp/)
      .split('\n')
      .map((line) => line.split(' = ') as [string, string]),
  );
  accounts = await startAccountsRabbitmq({ settings });
});
afterAll(() => accounts.remove());

async function installed(options: { broker?: string; executors?: string } = {}): Promise<Kpx> {
  const directory = mkdtempSync('/srv/kpx-cas-');
  onTestFinished(() => rmSync(directory, { recursive: true }));
  files = { broker: `${directory}/broker.pem`, executors: `${directory}/executors.pem` };
  // As where the server's RabbitMQ has another CA: one file for both.
  writeFileSync(files.broker, options.broker ?? readFileSync(other.file, 'utf8') + readFileSync(ca.file, 'utf8'));
  copyFileSync(options.executors ?? ca.file, files.executors);
  chmodSync(directory, 0o755);
  const { sealed } = parse(written(/^\[amqp\.tls\]/)) as { sealed: { urls: string[]; management_url: string } };
  return await installSealed(accounts, {
    standIn: { BOOT_MS: '50', RETRY_MS: '300' },
    msgq: written(/^amqps:/).replace('/etc/ssl/certs/kpx-accounts-ca.pem', files.executors),
    broker: {
      amqp: { tls: { ca_file: files.broker } },
      policy: SOON,
      sealed: { urls: sealed.urls, management_url: sealed.management_url },
    },
  });
}

const asked = (user: string, job: string, replyTo: string) => {
  const { body, properties } = jobOf(user, job);
  return { body, properties: { ...properties, replyTo, correlationId: `id-of-${job}` } };
};

const NOT_TRUSTED = /the accounts' management API at https:.* CA that is not trusted here: see amqp\.tls\.ca_file/;

/** Done and answered, once. */
async function isDone(kpx: Kpx, client: string, user: string, job: string): Promise<void> {
  await jobsDone(kpx, user, 1);
  const answers = await answersTo(kpx, client, 1);
  expect(answers.map(({ json, properties }) => [(json as { job: string }).job, properties.correlationId])).toEqual([[job, `id-of-${job}`]]);
  expect(kpx.done(user).map((done) => done.job)).toEqual([job]);
  expect((await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages).toBe(0);
}

describe("with the accounts' RabbitMQ on another machine", () => {
  it('a job is done and answered, and all that is connected there is by TLS', async () => {
    const kpx = await (await installed()).start();
    const client = await takeClient(kpx);
    await publish(kpx, asked('alice', 'a1', client));
    await isDone(kpx, client, 'alice', 'a1');
    const { env } = kpx.started('alice') as unknown as { env: Record<string, string> };
    const url = new URL(env.KNIME_EXECUTOR_MSGQ ?? '');
    expect([url.protocol, url.host, url.search]).toEqual(['amqps:', `${MACHINE_ADDRESS}:${amqps}`, `?cacertfile=${files.executors}`]);
    const all = () => accounts.api<{ user: string; ssl: boolean }[]>('GET', 'connections');
    const told = await eventually('both connections are told', async () => {
      const seen = await all();
      return [nameOf('alice'), accounts.users.broker.name].every((name) => seen.some(({ user }) => user === name)) && seen;
    });
    expect(told.filter(({ ssl }) => !ssl)).toEqual([]);
    const { stdout } = await runKpxctl(['doctor', '--json', '--config', kpx.brokerConfigFile, '--helper-config', kpx.configFile]);
    const { checks } = JSON.parse(stdout) as { checks: { name: string; result: string }[] };
    const results = Object.fromEntries(checks.map(({ name, result }) => [name, result]));
    expect(results).toMatchObject({
      'sealed template': 'ok',
      "accounts' RabbitMQ": 'ok',
      "accounts' administrator": 'ok',
      "accounts' guest": 'ok',
    });
  });

  it('no job is taken, and later no executor started, while the broker does not trust its CA: the reason says so, and jobs wait', async () => {
    const kpx = await installed({ broker: readFileSync(other.file, 'utf8') });
    await kpx.startHelper();
    await kpx.startBroker({ wait: false });
    const client = await takeClient(kpx);
    await publish(kpx, asked('alice', 'a1', client));
    const none = await kpx.brokerLog.line({ msg: "no jobs are taken: the accounts' RabbitMQ cannot be used; trying again" });
    expect(none.reason).toMatch(NOT_TRUSTED);
    expect((await kpx.vhost.queueDepth(KNIME_QUEUE))?.messages).toBe(1);
    copyFileSync(ca.file, files.broker);
    await isDone(kpx, client, 'alice', 'a1');
    copyFileSync(other.file, files.broker);
    await publish(kpx, asked('bob', 'b1', client));
    const { reason } = await kpx.brokerLog.line({ user: 'bob', state: 'backoff' });
    expect(reason).toMatch(/SEALED_UNAVAILABLE: /);
    expect(reason).toMatch(NOT_TRUSTED);
    copyFileSync(ca.file, files.broker);
    await isDone(kpx, client, 'bob', 'b1');
  });

  it('a job waits while executors do not trust its CA, and is done when they do', async () => {
    const kpx = await (await installed({ executors: other.file })).start();
    const client = await takeClient(kpx);
    await publish(kpx, asked('alice', 'a1', client));
    await kpx.brokerLog.line({ user: 'alice', state: 'backoff' });
    expect(kpx.done('alice')).toEqual([]);
    copyFileSync(ca.file, files.executors);
    await isDone(kpx, client, 'alice', 'a1');
  });
});
