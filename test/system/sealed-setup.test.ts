import { parse } from 'smol-toml';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { BootedKpx } from '../fixtures/booted/kpx.js';
import { declareKnimeTopology, KNIME_EXCHANGE, KNIME_QUEUE } from '../fixtures/knime/topology.js';
import { withKpx } from './kpx-of-file.js';
import { bootedMachine, bootedRabbitmq, dropIn } from './shared-machine.js';

/* The accounts' RabbitMQ as `kpxctl sealed setup --apply` makes it: what it takes over from the server, and who may connect to it. */

const machine = bootedMachine();
const rabbitmq = bootedRabbitmq();

const UNIT = 'kpx-rabbitmq.service';
const BROKER = 'kpx-broker.service';
const SETUP_TIMEOUT_MS = 240_000;
const NFT = '/usr/sbin/nft';
const [AMQP, MANAGEMENT, DISTRIBUTION, EPMD] = [5_673, 15_673, 25_673, 4_370];
const MANAGEMENT_URL = `http://${rabbitmq.host}:${rabbitmq.managementPort}`;
const SEALED = {
  enabled: true,
  node: 'booted',
  urls: [`amqp://kpx-broker@127.0.0.1:${AMQP}`],
  management_url: `http://127.0.0.1:${MANAGEMENT}`,
  management_password_file: '/etc/kpx/sealed-password',
};

let kpx: BootedKpx;

const setup = async (...args: string[]) =>
  (await machine.run(['/usr/bin/kpxctl', 'sealed', 'setup', ...args], { timeoutMs: SETUP_TIMEOUT_MS })).stdout;

async function doctor(name: string) {
  const { stdout } = await machine.run(['/usr/bin/kpxctl', 'doctor', '--json'], { timeoutMs: SETUP_TIMEOUT_MS, allowFailure: true });
  const { checks } = JSON.parse(stdout) as { checks: { name: string; result: string; seen: string; fix?: string }[] };
  return checks.find((check) => check.name === name);
}

/** A broker that knows the server's management API, and may use it. */
const configure = (sealed: object = {}, accounts: object = {}, executor: object = {}) =>
  kpx.configure({
    broker: { amqp: { management_urls: [MANAGEMENT_URL] }, sealed: { ...sealed } },
    helper: { accounts: { ...accounts }, executor: { sealed: 'enabled' in sealed, node: 'booted', ...executor } },
  });

const tagged = (tags: string) => rabbitmq.api('PUT', `users/${rabbitmq.users.broker.name}`, { ...rabbitmq.users.broker, tags });

/** The lines of a step that an operator has to write. */
const tablesIn = (said: string) => parse(said.slice(said.indexOf('[sealed]')).split(/\n\S/)[0] ?? '') as { sealed: object };

beforeAll(async () => {
  const end = await withKpx({}, async (installed) => {
    kpx = installed;
    await configure();
    await tagged('management');
    await setup('--apply');
  });
  return async () => {
    await machine.run(['/usr/bin/systemctl', 'disable', '--now', UNIT], { allowFailure: true });
    await machine.run([NFT, 'delete', 'table', 'inet', 'kpx_rabbitmq'], { allowFailure: true });
    for (const path of [`/etc/systemd/system/${UNIT}`, '/etc/kpx/rabbitmq', '/etc/kpx/sealed-password', '/var/lib/kpx-rabbitmq'])
      await machine.remove(path);
    await machine.systemctl('daemon-reload');
    await rabbitmq.createUsers();
    await end();
  };
}, SETUP_TIMEOUT_MS);

describe("the job queue and the exchange in the accounts' virtual hosts", () => {
  const vhost = () => encodeURIComponent(kpx.vhost.vhost);
  const EXPECTED = {
    job_queue: { durable: true, arguments: { 'x-max-priority': 5, 'x-queue-type': 'classic' } },
    job_exchange: { type: 'topic', durable: false, arguments: { 'alternate-exchange': 'amq.fanout' } },
  };

  async function declaredOtherwise(): Promise<void> {
    await rabbitmq.api('DELETE', `queues/${vhost()}/${KNIME_QUEUE}`);
    await rabbitmq.api('DELETE', `exchanges/${vhost()}/${KNIME_EXCHANGE}`);
    await rabbitmq.api('PUT', `queues/${vhost()}/${KNIME_QUEUE}`, EXPECTED.job_queue);
    await rabbitmq.api('PUT', `exchanges/${vhost()}/${KNIME_EXCHANGE}`, EXPECTED.job_exchange);
    onTestFinished(async () => {
      await rabbitmq.api('DELETE', `queues/${vhost()}/${KNIME_QUEUE}`);
      await rabbitmq.api('DELETE', `exchanges/${vhost()}/${KNIME_EXCHANGE}`);
      await declareKnimeTopology(kpx.vhost.url('admin'));
      await configure();
    });
  }

  it('are to be as the server has them, which its management API says', async () => {
    await declaredOtherwise();
    await configure();
    const said = await setup();
    expect(said).toContain(`"${KNIME_QUEUE}" and "${KNIME_EXCHANGE}" are declared as the server has them`);
    const { sealed } = tablesIn(said);
    expect(sealed).toMatchObject(EXPECTED);
    await configure({ ...SEALED, ...EXPECTED });
    const then = await setup();
    expect(then).toMatch(/^ok +\/etc\/kpx\/broker\.toml: sealed\.enabled is true\. .* are declared as the server has them$/m);
    expect(then).not.toContain('job_queue');
  });

  it('are said where the configuration has them otherwise', async () => {
    await declaredOtherwise();
    await configure({ ...SEALED, job_queue: EXPECTED.job_queue });
    const said = await setup();
    expect(said).toMatch(/^by hand +\/etc\/kpx\/broker\.toml, job queue: the server has .*kpxctl sealed purge$/m);
    expect(said).toMatch(/^ +\[sealed\.job_exchange\]\n +type = "topic"\n +durable = false$/m);
    expect(said).not.toContain('[sealed.job_queue]');
  });

  it('are looked up by hand where the broker may not ask, or is not told whom', async () => {
    await tagged('');
    onTestFinished(() => tagged('management').then(() => {}));
    const byHand = 'rabbitmqctl list_queues name durable arguments';
    const said = await setup();
    expect(said).toContain('rabbitmqctl set_user_tags kpx-broker management');
    expect(said).toContain(byHand);
    expect(said).not.toContain(rabbitmq.users.broker.password);
    onTestFinished(() => configure());
    await kpx.configure();
    expect(await setup()).toMatch(
      /^by hand +\/etc\/kpx\/broker\.toml: then systemctl restart kpx-broker\. "knime-jobs" and .*list_queues/m,
    );
  });

  it('are not known as long as the server has none', async () => {
    onTestFinished(() => declareKnimeTopology(kpx.vhost.url('admin')));
    await rabbitmq.api('DELETE', `queues/${vhost()}/${KNIME_QUEUE}`);
    expect(await setup()).toContain(`The server has no "${KNIME_QUEUE}" yet.`);
  });
});

describe('where sealed.urls has it', () => {
  /** The state of what it makes, or of what it asks for before. */
  async function said(host: string): Promise<string[]> {
    onTestFinished(() => configure());
    await configure({ ...SEALED, urls: [`amqp://kpx-broker@${host}`] });
    const { stdout } = await machine.run(['/usr/bin/kpxctl', 'sealed', 'setup'], { allowFailure: true });
    return [...stdout.matchAll(/^(\S+(?: \S+)*) {2,}(sealed\.urls|RabbitMQ):/gm)].map(([, state, name]) => `${name} ${state}`);
  }

  it.each(['127.0.0.1:5673', 'localhost:5673'])('%s is made here', async (host) => {
    expect(await said(host)).toEqual(['RabbitMQ ok']);
  });

  // It listens on 127.0.0.1 alone.
  it.each(['[::1]:5673', '127.0.0.2:5673', '192.0.2.1:5673'])('%s is not', async (host) => {
    expect(await said(host)).toEqual(['sealed.urls fails']);
  });
});

/** Until the end of the test. A container cannot change it. */
async function alwaysSendSynCookies() {
  const [cookies, always] = ['/proc/sys/net/ipv4/tcp_syncookies', '/run/tcp_syncookies'];
  await machine.writeFile(always, '2\n');
  await machine.run(['/usr/bin/mount', '--bind', always, cookies]);
  onTestFinished(() => machine.run(['/usr/bin/umount', cookies]).then(() => {}));
}

it('is not made where each connection comes by a SYN cookie: the rules let none through', async () => {
  if (!(await machine.exists(NFT))) return expect(await setup()).toMatch(/^by hand +nftables: .*try passwords/m);
  await alwaysSendSynCookies();
  const { stdout } = await machine.run(['/usr/bin/kpxctl', 'sealed', 'setup'], { allowFailure: true });
  expect(stdout).toMatch(/^fails +SYN cookies: .*sysctl net\.ipv4\.tcp_syncookies=1/ms);
});

it("keeps the executors' URL until now beside the template, where executor.msgq_file says", async () => {
  const file = '/etc/kpx/my-msgq';
  const files = [file, `${file}.shared`];
  onTestFinished(async () => {
    for (const path of files) await machine.remove(path);
    await configure();
  });
  await machine.writeFile(file, 'amqp://former:secret@127.0.0.1/knime\n', { mode: 0o600 });
  await configure(SEALED, {}, { msgq_file: file });
  expect(await setup('--apply')).toContain(`is kept in ${file}.shared`);
  const [template, kept] = await Promise.all(files.map((path) => machine.readFile(path)));
  expect([template, kept]).toEqual([expect.stringContaining('{user}'), 'amqp://former:secret@127.0.0.1/knime\n']);
});

/** Listeners of the accounts' RabbitMQ, as ss has them: address and port. */
async function listeners(): Promise<string[]> {
  const { MainPID = '' } = await machine.show(UNIT, 'MainPID');
  const { stdout } = await machine.run(['/usr/bin/ss', '--no-header', '-ltnp']);
  const its = stdout.split('\n').filter((line) => line.includes(`pid=${MainPID},`));
  return its.flatMap((line) => line.match(/\S+:\d+(?= )/) ?? []).sort();
}

/** A setting of the accounts' RabbitMQ, as it is in force. */
async function inForce(key: string): Promise<string> {
  const env = ['HOME=/var/lib/kpx-rabbitmq', `ERL_EPMD_PORT=${EPMD}`];
  const rabbitmqctl = ['/usr/lib/rabbitmq/bin/rabbitmqctl', '--node', 'kpx-accounts@localhost', '--quiet'];
  const question = `application:get_env(rabbit, ${key}).`;
  return (await machine.run(['/usr/bin/env', ...env, ...rabbitmqctl, 'eval', question], { user: 'rabbitmq' })).stdout.trim();
}

describe("the settings of the accounts' RabbitMQ", () => {
  const OF_ANOTHER = '/etc/rabbitmq/conf.d/90-another.conf';
  const LOOPBACK = [AMQP, MANAGEMENT, DISTRIBUTION].map((port) => `127.0.0.1:${port}`).sort();

  it('are not those of another RabbitMQ of this machine, and doctor knows a unit of before', { timeout: SETUP_TIMEOUT_MS }, async () => {
    await configure(SEALED);
    onTestFinished(() => configure());
    onTestFinished(() => machine.remove(OF_ANOTHER));
    await machine.writeFile(OF_ANOTHER, 'listeners.tcp.2 = 0.0.0.0:45672\nmanagement.tcp.ip = 0.0.0.0\n');
    await machine.run(['/usr/bin/systemctl', 'restart', UNIT], { timeoutMs: SETUP_TIMEOUT_MS });
    expect(await listeners()).toEqual(LOOPBACK);
    const look = () => doctor("accounts' RabbitMQ settings");
    expect(await look()).toMatchObject({ result: 'ok' });
    const file = `/etc/systemd/system/${UNIT}`;
    const now = await machine.readFile(file);
    await machine.writeFile(file, now.replace(/^Environment=RABBITMQ_CONFIG_FILES=.*\n/m, ''));
    await machine.systemctl('daemon-reload');
    const { result, fix = '' } = (await look()) ?? {};
    expect([result, fix]).toEqual(['warn', expect.stringContaining('kpxctl sealed setup --apply')]);
    await setup('--apply');
    expect(await look()).toMatchObject({ result: 'ok' });
    expect(await machine.readFile(file)).toBe(now);
    expect(await listeners()).toEqual(LOOPBACK);
    // As after a run that ended before PID 1 had read the unit.
    await machine.run(['/usr/bin/touch', '--date=now + 1 minute', file]);
    expect(await setup()).toMatch(/^to do +kpx-rabbitmq\.service: /m);
    await machine.systemctl('daemon-reload');
    expect(await setup()).toMatch(/^ok +kpx-rabbitmq\.service: /m);
  });

  it('go on where an operator has written them into the file of setup, and its own win', { timeout: SETUP_TIMEOUT_MS }, async () => {
    const [file, kept, own, plugins] = ['rabbitmq.conf', 'conf.d/00-kept.conf', 'conf.d/bounds.conf', 'enabled_plugins'].map(
      (name) => `/etc/kpx/rabbitmq/${name}`,
    ) as [string, string, string, string];
    const [made, enabled] = [await machine.readFile(file), await machine.readFile(plugins)];
    onTestFinished(async () => {
      for (const path of [kept, own]) await machine.remove(path);
      await machine.writeFile(plugins, enabled);
      await machine.run(['/usr/bin/systemctl', 'restart', UNIT], { timeoutMs: SETUP_TIMEOUT_MS });
    });
    await machine.writeFile(file, made.replace(/^vm_memory.*$/m, 'vm_memory_high_watermark.absolute = 3GB').replace('1GB', '2GB'));
    await machine.writeFile(plugins, '[rabbitmq_management,rabbitmq_prometheus].\n');
    await machine.writeFile(own, 'disk_free_limit.absolute = 4GB\n');
    const goesOn = `goes on in ${kept}: vm_memory_high_watermark.absolute = 3GB`;
    expect(await setup()).toContain(goesOn);
    expect([await machine.exists(kept), await machine.readFile(file)]).toEqual([false, expect.stringContaining('3GB')]);
    expect(await setup('--apply')).toContain(goesOn);
    expect(await machine.readFile(file)).toBe(made);
    expect(await machine.readFile(plugins)).toContain('rabbitmq_prometheus');
    expect([await inForce('vm_memory_high_watermark'), await inForce('disk_free_limit')]).toEqual(['{ok,{absolute,"3GB"}}', '{ok,"4GB"}']);
    expect(await setup()).toMatch(/^ok +\/etc\/kpx\/rabbitmq\/rabbitmq\.conf: /m);
  });
});

describe('who connects', async () => {
  const CONNECT = `require('node:net').connect(process.argv[1], '127.0.0.1').once('connect', () => process.exit(0)).once('error', ({ code }) => {
  console.log(code);
  process.exit(1);
})`;
  /** "connected", or the error. */
  async function connecting(user: string, port: number): Promise<string> {
    const { exitCode, stdout } = await machine.run(['/usr/bin/node', '--eval', CONNECT, `${port}`], { user, allowFailure: true });
    return exitCode === 0 ? 'connected' : stdout.trim();
  }

  const PORTS_FILE = '/etc/kpx/rabbitmq/ports.nft';
  const RULES_OF_BEFORE = `table inet kpx_rabbitmq
delete table inet kpx_rabbitmq
table inet kpx_rabbitmq {
  chain output {
    type filter hook output priority filter; policy accept;
    oifname "lo" tcp dport ${MANAGEMENT} meta skuid != { root, kpx-broker } reject with tcp reset
  }
}
`;
  const REFUSED = 'ECONNREFUSED';
  const YES = 'connected';
  /** In a machine with nft; one of people, one of a service, one that owns nothing. */
  const TABLE = [
    ['root', YES, YES, YES, YES],
    ['kpx-broker', YES, YES, REFUSED, REFUSED],
    ['rabbitmq', REFUSED, REFUSED, YES, YES],
    ['ada', YES, REFUSED, REFUSED, REFUSED],
    ['nobody', YES, REFUSED, REFUSED, REFUSED],
    ['daemon', REFUSED, REFUSED, REFUSED, REFUSED],
  ] as const;

  it("is by nft's rules alone: without them the port of the management API is open to all", async () => {
    const hasNft = await machine.exists(NFT);
    if (hasNft) {
      await machine.run([NFT, 'delete', 'table', 'inet', 'kpx_rabbitmq']);
      onTestFinished(() => machine.run([NFT, '--file', '/etc/kpx/rabbitmq/ports.nft']).then(() => {}));
    }
    for (const port of [AMQP, MANAGEMENT, DISTRIBUTION, EPMD]) expect([port, await connecting('daemon', port)]).toEqual([port, YES]);
    await configure(SEALED);
    onTestFinished(() => configure());
    const { result, fix = '' } = (await doctor("accounts' RabbitMQ ports")) ?? {};
    if (!hasNft) return expect([result, fix]).toEqual(['warn', expect.stringContaining('apt install nftables')]);
    expect([result, fix]).toEqual(['fail', `${NFT} --file /etc/kpx/rabbitmq/ports.nft`]);
    await machine.run(fix.split(' '));
    expect((await doctor("accounts' RabbitMQ ports"))?.result).toBe('ok');
    await alwaysSendSynCookies();
    expect(await doctor("accounts' RabbitMQ ports")).toMatchObject({ result: 'fail', fix: expect.stringContaining('tcp_syncookies=1') });
  });

  /** Resolves with the rules, which are there again when the test ends. */
  async function withRulesAsTheyAre(): Promise<string> {
    const now = await machine.readFile(PORTS_FILE);
    onTestFinished(async () => {
      await machine.writeFile(PORTS_FILE, now);
      await machine.run([NFT, '--file', PORTS_FILE]);
      await configure();
    });
    return now;
  }

  it.each([
    ['the file and those in force are', true, 'kpxctl sealed setup --apply'],
    ['those in force are', false, `${NFT} --file ${PORTS_FILE}`],
  ])('is not said to be right where %s rules of before', { timeout: SETUP_TIMEOUT_MS }, async (_, isFileOld, command) => {
    if (!(await machine.exists(NFT))) return expect(await setup()).toMatch(/^by hand +nftables: .*try passwords/m);
    const now = await withRulesAsTheyAre();
    await configure(SEALED);
    const look = () => doctor("accounts' RabbitMQ ports");
    expect(await look()).toMatchObject({ result: 'ok' });
    await machine.writeFile(PORTS_FILE, RULES_OF_BEFORE);
    await machine.run([NFT, '--file', PORTS_FILE]);
    if (!isFileOld) await machine.writeFile(PORTS_FILE, now);
    expect(await look()).toMatchObject({ result: 'warn', fix: expect.stringContaining(command) });
    await machine.run([...(isFileOld ? ['/usr/bin/kpxctl', 'sealed', 'setup', '--apply'] : command.split(' '))], {
      timeoutMs: SETUP_TIMEOUT_MS,
    });
    expect(await look()).toMatchObject({ result: 'ok' });
  });

  it('is judged by the account, port by port', async () => {
    if (!(await machine.exists(NFT))) return expect(await setup()).toMatch(/^by hand +nftables: .*try passwords/m);
    for (const [user, ...expected] of TABLE) {
      const seen = await Promise.all([AMQP, MANAGEMENT, DISTRIBUTION, EPMD].map((port) => connecting(user, port)));
      expect([user, ...seen]).toEqual([user, ...expected]);
    }
  });

  it('is also the account of a service where accounts.min_uid has executors of it', { timeout: SETUP_TIMEOUT_MS }, async () => {
    if (!(await machine.exists(NFT))) return expect(await setup()).toMatch(/^by hand +nftables: .*try passwords/m);
    await withRulesAsTheyAre();
    await configure({}, { min_uid: 1 });
    await setup('--apply');
    expect([await connecting('daemon', AMQP), await connecting('daemon', MANAGEMENT)]).toEqual([YES, REFUSED]);
  });

  describe('while another account listens and RabbitMQ is away', () => {
    /** Ends once one of six is connected. */
    const SIX = `for (let count = 0; count < 6; count++) require('node:net').connect(process.argv[1], '127.0.0.1').once('connect', () => process.exit(0))`;
    const connects = (port: number, seconds: number) =>
      machine.run(['/usr/bin/timeout', `${seconds}`, '/usr/bin/node', '--eval', SIX, `${port}`], { allowFailure: true });

    it.each([
      ['a long', 511],
      ['a short', 1],
    ])('gets no connection, with %s backlog', { timeout: SETUP_TIMEOUT_MS }, async (_, backlog) => {
      if (!(await machine.exists(NFT))) return expect(await setup()).toMatch(/^by hand +nftables: .*try passwords/m);
      const unit = (verb: string) => machine.run(['/usr/bin/systemctl', verb, UNIT], { timeoutMs: SETUP_TIMEOUT_MS });
      await unit('stop');
      onTestFinished(() => unit('start').then(() => {}));
      const listen = `for (const port of [${AMQP}, ${MANAGEMENT}]) require('node:net').createServer().listen({ port, host: '127.0.0.1', backlog: ${backlog} })`;
      const posing = ['/usr/bin/systemd-run', '--quiet', '--collect', '--unit=poses', '--uid=ada', '/usr/bin/node', '--eval', listen];
      await machine.run(posing);
      onTestFinished(() => machine.systemctl('stop', 'poses').then(() => {}));
      const listening = async () => (await machine.run(['/usr/bin/ss', '--no-header', '-ltn'])).stdout;
      for (const port of [AMQP, MANAGEMENT]) await expect.poll(listening).toContain(`127.0.0.1:${port}`);
      for (const port of [AMQP, MANAGEMENT]) expect([port, (await connects(port, 3)).exitCode]).toEqual([port, 124]);
      await machine.run([NFT, 'delete', 'table', 'inet', 'kpx_rabbitmq']);
      onTestFinished(() => machine.run([NFT, '--file', '/etc/kpx/rabbitmq/ports.nft']).then(() => {}));
      for (const port of [AMQP, MANAGEMENT]) expect([port, (await connects(port, 20)).exitCode]).toEqual([port, 0]);
    });
  });

  it('is not kept out by an account that connects again and again: it gets some at once, and then some a second', async () => {
    if (!(await machine.exists(NFT))) return expect(await setup()).toMatch(/^by hand +nftables: .*try passwords/m);
    const many = `for (let count = 0; count < 400; count++) require('node:net').connect(${AMQP}, '127.0.0.1').on('error', () => {})`;
    await machine.run(['/usr/bin/systemd-run', '--quiet', '--collect', '--unit=many', '--uid=ada', '/usr/bin/node', '--eval', many]);
    onTestFinished(() => machine.run(['/usr/bin/systemctl', 'stop', 'many'], { allowFailure: true }).then(() => {}));
    const waiting = async () => (await machine.run(['/usr/bin/ss', '--no-header', '-tn', 'state', 'syn-sent'])).stdout.split('\n').length;
    await expect.poll(waiting).toBeGreaterThan(200);
    for (const user of ['kpx-broker', 'nobody']) expect([user, await connecting(user, AMQP)]).toEqual([user, YES]);
  });
});

describe('kpxctl doctor, of the limits of units', () => {
  const NAME = 'room for virtual hosts';

  it('finds those that setup has made enough', async () => {
    await configure(SEALED);
    onTestFinished(() => configure());
    const found = await doctor(NAME);
    expect(found).toMatchObject({ result: 'ok' });
    expect(found?.seen).toMatch(
      /vhosts_max = 200 .*kpx-broker\.service has LimitNOFILE=1024 of \d+.*kpx-rabbitmq\.service has .*TasksMax=2048 of \d+$/,
    );
  });

  it.each([
    [UNIT, 'LimitNOFILE', '1000'],
    [UNIT, 'TasksMax', '40'],
    [BROKER, 'LimitNOFILE', '210'],
    [BROKER, 'TasksMax', '20'],
  ])('fails %s with %s=%s, and says the line that ends it', async (unit, limit, value) => {
    await configure(SEALED);
    onTestFinished(() => configure());
    await dropIn(machine, unit, `[Service]\n${limit}=${value}\n`);
    const { result, seen, fix = '' } = (await doctor(NAME)) ?? {};
    expect([result, seen]).toEqual(['fail', expect.stringContaining(`${unit} has ${limit}=${value}, and needs `)]);
    const [line = ''] = /[A-Za-z]+=\d+/.exec(fix) ?? [];
    await dropIn(machine, unit, `[Service]\n${line}\n`);
    expect((await doctor(NAME))?.result).toBe('ok');
  });
});
