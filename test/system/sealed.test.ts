import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createInterface, type Interface } from 'node:readline';
import { decodeResponse, encodeRequest, PROTOCOL_VERSION, type Request, type Response, StopMode } from '@kpx/protocol';
import { afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { openConnection } from '../fixtures/amqp.js';
import { type BootedKpx, SOCKET, unitOf } from '../fixtures/booted/kpx.js';
import { eventually } from '../fixtures/eventually.js';
import { refusal } from '../integration/installed-helper.js';
import { withKpx } from './kpx-of-file.js';
import { bootedLdap, bootedMachine, bootedRabbitmq } from './shared-machine.js';

/*
 * Sealed executors where PID 1 starts them: where the password is from PrepareUser to SpawnExecutor and while the executor runs, and what may
 * happen to it. The test is the broker: there is one connection to the helper at a time.
 */

const machine = bootedMachine();
const rabbitmq = bootedRabbitmq();
const ldap = bootedLdap();
/** Nobody else's. */
const USER = 'sealed';
const UID = 23_040;
const NAME = `kpx.host1.${USER}`;
const DIRECTORY = '/run/kpx/executors';
const FILE = `${DIRECTORY}/${USER}.password`;
const MSGQ_FILE = '/etc/kpx/executor-msgq';
const CONFIG = '/etc/kpx/privhelper.toml';
const TEMPLATE = `amqp://{user}:{password}@${rabbitmq.host}:${rabbitmq.amqpPort}/{vhost}`;

/** Executors do nothing. */
const DROP_INS = '/etc/systemd/system/kpx-executor@.service.d';

let kpx: BootedKpx;
let broker: Broker;

/** A connection to a helper of its own, past the Hello, as the broker's account. */
class Broker {
  #lastId = 0;
  readonly #peer: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  /** As it came. */
  heard = '';

  private constructor(peer: ChildProcess) {
    this.#peer = peer;
    const lines: Interface = createInterface({ input: peer.stdout ?? process.stdin });
    this.#answers = lines[Symbol.asyncIterator]();
  }

  static async connected(): Promise<Broker> {
    await eventually('no helper serves anybody', async () => {
      const units = ['list-units', '--plain', '--no-legend', '--state=activating,active,deactivating', 'kpx-privhelper@*'];
      return (await machine.systemctl(...units)).trim() === '';
    });
    const argv = ['/usr/bin/node', `${machine.facts.checkout}/test/fixtures/booted/attacker.mjs`];
    const connected = new Broker(await machine.start(argv, { user: 'kpx-broker' }));
    await connected.ask('hello', { version: PROTOCOL_VERSION });
    return connected;
  }

  async ask(verb: string, body: object): Promise<Response> {
    this.#peer.stdin?.write(`${encodeRequest({ id: ++this.#lastId, verb, body } as Request).toString('hex')}\n`);
    const { value } = await this.#answers.next();
    const packet = Buffer.from(value, 'hex');
    this.heard += packet.toString('latin1');
    return decodeResponse(packet);
  }

  async hash(user = USER): Promise<string> {
    const answer = await this.ask('prepareUser', { knimeUser: user });
    if (answer.kind !== 'userPrepared') throw new Error(JSON.stringify(answer));
    return answer.body.passwordHash ?? '';
  }

  spawn = (user = USER) => this.ask('spawnExecutor', { knimeUser: user, profile: 'default' });

  /** The helper ends with it. */
  end(): void {
    this.#peer.stdin?.end();
  }
}

beforeAll(async () => {
  await ldap.addUser(USER, { uid: UID });
  await machine.writeFile(`${DROP_INS}/10-test.conf`, '[Service]\nExecStart=\nExecStart=/usr/bin/sleep infinity\nWorkingDirectory=/\n');
  await machine.systemctl('daemon-reload');
  const end = await withKpx({ helper: { executor: { sealed: true, node: 'host1' } } }, async (installed) => {
    kpx = installed;
    await machine.writeFile(MSGQ_FILE, `${TEMPLATE}\n`, { mode: 0o600 });
    await machine.systemctl('start', SOCKET); // and no broker: its place is taken here
    broker = await Broker.connected();
  });
  return async () => {
    broker.end();
    await end();
    await machine.remove(DROP_INS);
    await machine.systemctl('daemon-reload');
    await ldap.deleteUser(USER);
  };
});

afterEach(async () => {
  await machine.systemctl('stop', unitOf(USER));
  await machine.remove(FILE);
});

/** As after a crash of the broker, or an upgrade. */
async function anotherHelper(): Promise<void> {
  broker.end();
  broker = await Broker.connected();
}

const read = async (path: string) => (await machine.readFile(path)).trim();

function isHashOf(hash: string, password: string): boolean {
  const bytes = Buffer.from(hash, 'base64');
  const expected = createHash('sha256').update(bytes.subarray(0, 4)).update(password).digest();
  return bytes.length === 36 && bytes.subarray(4).equals(expected);
}

/** KNIME_EXECUTOR_MSGQ of the executor that runs. */
async function urlOfExecutor(user = USER): Promise<URL> {
  const { MainPID } = await machine.show(unitOf(user), 'MainPID');
  const [msgq = ''] = (await machine.readFile(`/proc/${MainPID}/environ`))
    .split('\0')
    .filter((text) => text.startsWith('KNIME_EXECUTOR_MSGQ='));
  return new URL(msgq.slice('KNIME_EXECUTOR_MSGQ='.length));
}

async function started(): Promise<string> {
  expect(await broker.spawn()).toMatchObject({ kind: 'executorSpawned', body: { executor: { osUser: USER, uid: UID } } });
  return (await urlOfExecutor()).password;
}

const stat = async (path: string) => (await machine.run(['/usr/bin/stat', '--format=%a %U %G %F', path])).stdout.trim();

describe('the password of a sealed executor', () => {
  it("is in a file of root's on a tmpfs until the start, then in the executor's environment, and lets it into RabbitMQ", async () => {
    await kpx.mark();
    const hash = await broker.hash();
    expect(await stat(FILE)).toBe('600 root root regular file');
    expect((await machine.run(['/usr/bin/stat', '--file-system', '--format=%T', FILE])).stdout.trim()).toBe('tmpfs');
    const prepared = await read(FILE);
    expect(isHashOf(hash, prepared)).toBe(true);
    await rabbitmq.api('PUT', `vhosts/${NAME}`);
    await rabbitmq.api('PUT', `users/${NAME}`, { password_hash: hash, tags: '' });
    onTestFinished(async () => {
      await rabbitmq.api('DELETE', `vhosts/${NAME}`);
      await rabbitmq.api('DELETE', `users/${NAME}`);
    });
    await rabbitmq.api('PUT', `permissions/${NAME}/${NAME}`, { configure: '', write: '.*', read: '.*' });
    expect(await started()).toBe(prepared);
    expect(await machine.exists(FILE)).toBe(false);
    expect(await stat(`${DIRECTORY}/${USER}.env`)).toBe('600 root root regular file');
    await (await openConnection((await urlOfExecutor()).href)).close();
    expect(await kpx.helperSays({ event: 'request', verb: 'prepareUser' })).toMatchObject({ decision: 'done', credential: 'made' });
    expect(await kpx.helperSays({ event: 'request', verb: 'spawnExecutor' })).toMatchObject({ decision: 'done', credential: 'used' });
  });

  it('is in no unit property, journal, audit file or argument, and not on the wire', async () => {
    const hash = await broker.hash();
    const password = await started();
    const properties = (await machine.run(['/usr/bin/systemctl', 'show', '--all', unitOf(USER), 'kpx-privhelper@*'])).stdout;
    const journal = (await machine.run(['/usr/bin/journalctl', '--no-pager', '--output=export', '--lines=2000'])).stdout;
    const audit = await machine.readFile('/var/log/kpx/audit.jsonl');
    const processes = (await machine.run(['/usr/bin/ps', '-eww', '-o', 'args'])).stdout;
    expect(audit).toContain('"credential":"used"');
    for (const text of [properties, journal, audit, processes, broker.heard]) expect(text).not.toContain(password);
    for (const text of [properties, journal, audit, processes]) expect(text).not.toContain(hash);
  });

  it('can be read by nobody but root while it waits, and not by the executor of another account', async () => {
    await broker.hash();
    for (const user of ['kpx-broker', 'ada'])
      expect((await machine.run(['/usr/bin/cat', FILE], { user, allowFailure: true })).stderr).toContain('Permission denied');
  });

  it('goes on where another helper serves the start, also after a daemon-reload', async () => {
    const hash = await broker.hash();
    await anotherHelper();
    await machine.systemctl('daemon-reload');
    expect(isHashOf(hash, await started())).toBe(true);
  });

  it('is made anew by each PrepareUser, so that one which has become stale is used by nobody', async () => {
    const stale = await broker.hash();
    await anotherHelper();
    const hash = await broker.hash();
    const password = await started();
    expect([stale, hash].map((each) => isHashOf(each, password))).toEqual([false, true]);
    expect(await machine.exists(FILE)).toBe(false);
  });

  it('stays while the executor runs, whoever asks: another helper answers another hash of it', async () => {
    const hash = await broker.hash();
    const password = await started();
    await anotherHelper();
    const again = await broker.hash();
    expect(again).not.toBe(hash);
    expect(isHashOf(again, password)).toBe(true);
    expect(await machine.exists(FILE)).toBe(false);
    expect(await broker.spawn()).toMatchObject({ kind: 'executorSpawned' });
    expect((await urlOfExecutor()).password).toBe(password);
  });

  it.each(['ivy@corp', 'jo\\corp'])('is found again while the executor of %s runs, whose name has to be encoded in a URL', async (name) => {
    onTestFinished(async () => void (await machine.systemctl('stop', unitOf(name))));
    const hash = await broker.hash(name);
    expect(await broker.spawn(name)).toMatchObject({ kind: 'executorSpawned', body: { executor: { osUser: name } } });
    const { username, pathname, password } = await urlOfExecutor(name);
    expect([username, pathname].map(decodeURIComponent)).toEqual([`kpx.host1.${name}`, `/kpx.host1.${name}`]);
    await anotherHelper();
    for (const each of [hash, await broker.hash(name)]) expect(isHashOf(each, password)).toBe(true);
    expect((await machine.run(['/usr/bin/find', DIRECTORY, '-name', '*.password'])).stdout).toBe('');
  });

  it('goes when no start has used it for a day, and the environment of an executor that runs stays', async () => {
    const aged = async (file: string, hours: number) => await machine.run(['/usr/bin/touch', '-m', `--date=${hours} hours ago`, file]);
    const clean = async () => await machine.run(['/usr/bin/systemd-tmpfiles', '--clean', '/usr/lib/tmpfiles.d/kpx.conf']);
    const hash = await broker.hash();
    await aged(FILE, 23);
    await clean();
    expect(isHashOf(hash, await started())).toBe(true);
    await aged(`${DIRECTORY}/${USER}.env`, 25);
    const other = `${DIRECTORY}/ada.password`;
    await broker.hash('ada');
    await aged(other, 25);
    await clean();
    expect(await machine.exists(other)).toBe(false);
    expect(await broker.spawn('ada')).toEqual(refusal('NOT_PREPARED', 'no password was prepared for a start of "ada"'));
    expect(isHashOf(await broker.hash(), (await urlOfExecutor()).password)).toBe(true);
  });

  it('is for one start: the next one is refused until it is prepared', async () => {
    await broker.hash();
    await started();
    await machine.systemctl('stop', unitOf(USER));
    expect(await broker.spawn()).toEqual(refusal('NOT_PREPARED', `no password was prepared for a start of "${USER}"`));
    await broker.hash();
    await started();
  });

  it('is not that of an executor with a shared user, which goes on, and of which no hash is answered', async () => {
    const config = await machine.readFile(CONFIG);
    const restored = async () => {
      await machine.writeFile(CONFIG, config, { mode: 0o600 });
      await machine.writeFile(MSGQ_FILE, `${TEMPLATE}\n`, { mode: 0o600 });
    };
    onTestFinished(restored);
    await machine.writeFile(CONFIG, config.replace('sealed = true', 'sealed = false'), { mode: 0o600 });
    await machine.writeFile(MSGQ_FILE, 'amqp://executor:shared@127.0.0.1/knime\n', { mode: 0o600 });
    await anotherHelper();
    expect(await broker.hash()).toBe('');
    expect(await started()).toBe('shared');
    await restored();
    await anotherHelper();
    expect(await broker.hash()).toBe('');
    expect(await broker.spawn()).toMatchObject({ kind: 'executorSpawned' });
    await broker.ask('stopExecutor', { knimeUser: USER, mode: StopMode.kill });
    await eventually('it has ended', async () => (await machine.show(unitOf(USER), 'ActiveState')).ActiveState !== 'active');
    await machine.run(['/usr/bin/systemctl', 'reset-failed', unitOf(USER)], { allowFailure: true });
    expect(isHashOf(await broker.hash(), await started())).toBe(true);
  });
});

describe('in place of the file with the password', () => {
  const OTHER = '/run/kpx-test-other';
  afterEach(() => machine.remove(OTHER));

  it("a link is replaced by PrepareUser and refused by SpawnExecutor: what it names is neither written, used nor removed (only root can make one: the directory is root's)", async () => {
    const text = 'x'.repeat(43);
    await machine.writeFile(OTHER, text, { mode: 0o600 });
    await machine.run(['/usr/bin/ln', '-s', OTHER, FILE]);
    const hash = await broker.hash();
    expect(await stat(FILE)).toBe('600 root root regular file');
    expect(isHashOf(hash, await read(FILE))).toBe(true);
    await machine.run(['/usr/bin/ln', '-sf', OTHER, FILE]);
    expect(await broker.spawn()).toEqual(refusal('DIRECTORY_UNSAFE', `${FILE} is a symbolic link`));
    expect(await read(OTHER)).toBe(text);
    expect((await machine.show(unitOf(USER), 'ActiveState')).ActiveState).not.toBe('active');
  });

  it.each([
    ['that others may read', 'DIRECTORY_UNSAFE', ['/usr/bin/chmod', '0644', FILE]],
    ['of somebody else', 'DIRECTORY_UNSAFE', ['/usr/bin/chown', `${UID}`, FILE]],
    ['that is empty', 'NOT_PREPARED', ['/usr/bin/truncate', '--size=0', FILE]],
    ['that is too long', 'NOT_PREPARED', ['/usr/bin/truncate', '--size=1M', FILE]],
  ] as const)('a file %s is not used', async (_what, code, command) => {
    await broker.hash();
    await machine.run([...command]);
    expect(await broker.spawn()).toEqual(refusal(code));
    expect((await machine.show(unitOf(USER), 'ActiveState')).ActiveState).not.toBe('active');
  });
});

it('says that the tmpfs is full, starts nothing, and goes on when there is room again', async () => {
  const FULL = `${DIRECTORY}/full`;
  broker.end();
  await eventually('the helper has ended', async () => {
    const units = await machine.systemctl('list-units', '--plain', '--no-legend', '--state=active', 'kpx-privhelper@*');
    return units.trim() === '';
  });
  await machine.run(['/usr/bin/mount', '-t', 'tmpfs', '-o', 'size=16k,mode=0700', 'tmpfs', DIRECTORY]);
  onTestFinished(async () => {
    broker.end();
    await machine.systemctl('stop', unitOf(USER));
    await eventually(
      'nobody uses it',
      async () => (await machine.run(['/usr/bin/umount', DIRECTORY], { allowFailure: true })).exitCode === 0,
    );
    broker = await Broker.connected();
  });
  broker = await Broker.connected();
  const fill = () => machine.run(['/usr/bin/dd', 'if=/dev/zero', `of=${FULL}`, 'bs=4k', 'count=8'], { allowFailure: true });
  await fill();
  expect(await broker.ask('prepareUser', { knimeUser: USER })).toEqual(refusal('DIRECTORY_FAILED', `${FILE}: ENOSPC`));
  await machine.remove(FULL);
  const hash = await broker.hash();
  await fill();
  expect(await broker.spawn()).toEqual(refusal('DIRECTORY_FAILED', `${DIRECTORY}/${USER}.env: ENOSPC`));
  expect((await machine.show(unitOf(USER), 'ActiveState')).ActiveState).not.toBe('active');
  await machine.remove(FULL);
  expect(isHashOf(hash, await started())).toBe(true); // nothing of it has been spent
});
