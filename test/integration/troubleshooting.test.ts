import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { freePorts } from '../fixtures/free-ports.js';
import { HelperConnection } from '../fixtures/helper-connection.js';
import { jobOf } from '../fixtures/jobs.js';
import { idsOf, Kpx } from '../fixtures/kpx.js';
import { readPage } from '../fixtures/page.js';
import { rawAccounts } from './installed-helper.js';
import { deadLetters, installKpx, jobsDone, publish, runBroker, runKpxctl, startKpx } from './installed-kpx.js';

/* Symptoms of docs/troubleshooting.md, each made on purpose: what is seen is what the page shows. */

const QUICK = { BOOT_MS: '50' };
const NEVER = { BOOT_MS: '600000' };
const IMPATIENT = { start_attempts: 2, backoff_initial: '1s', backoff_max: '5m' };

const PAGE = readPage('docs/troubleshooting.md');

/** One installation's names, numbers and directories are not another's. */
const comparable = (text: string) =>
  text
    .replaceAll(/kpx-test-\d+-\d+/g, 'kpx')
    .replaceAll(/\d+/g, '0')
    .replaceAll(/ +/g, ' ');

/** The line that has these words, as it was seen, is on the page as a whole. */
function expectWholeLine(seen: string, words: string): void {
  const line = seen.split('\n').find((each) => each.includes(words));
  expect(line, seen).toBeDefined();
  expect(comparable(PAGE)).toContain(comparable(line ?? ''));
}

/** What was seen has these words, and so has the page. */
function expectWords(seen: unknown, ...words: string[]): void {
  for (const each of words) {
    expect(seen).toContain(each);
    expect(PAGE).toContain(each);
  }
}

const explained = async (kpx: Kpx, user: string) => (await runKpxctl(['explain', user, '--config', kpx.brokerConfigFile])).stdout;
const status = async (kpx: Kpx) => (await runKpxctl(['status', '--config', kpx.brokerConfigFile])).stdout;

/** The reason and the detail of the only dead letter. */
async function parked(kpx: Kpx): Promise<string> {
  const [letter] = await deadLetters(kpx, 1);
  return `${letter?.headers['x-kpx-reason']}  ${letter?.headers['x-kpx-detail']}`;
}

describe('a job stays queued', () => {
  it('because there is no room, or the executor has it', async () => {
    const kpx = await startKpx({ standIn: QUICK, broker: { policy: { max_executors: 1 } } });
    await publish(kpx, jobOf('alice'));
    await kpx.brokerLog.line({ user: 'alice', state: 'ready' });
    expectWholeLine(await explained(kpx, 'bob'), 'executors run (max_executors)');
    expectWholeLine(await explained(kpx, 'alice'), 'the executor is ready');
  });

  it('because the executor boots, or others do', async () => {
    const kpx = await startKpx({ standIn: NEVER, broker: { policy: { max_starting: 1 } } });
    await publish(kpx, jobOf('alice'));
    await kpx.brokerLog.line({ user: 'alice', state: 'booting' });
    expectWholeLine(await explained(kpx, 'alice'), 'the executor is starting');
    expectWholeLine(await explained(kpx, 'bob'), 'executors are starting (max_starting)');
  });

  it('because a start has failed', async () => {
    const kpx = await startKpx({ standIn: { FAIL: '3' }, broker: { policy: { ...IMPATIENT, backoff_initial: '4m' } } });
    await publish(kpx, jobOf('alice'));
    await kpx.brokerLog.line({ user: 'alice', state: 'backoff' });
    expectWholeLine(await explained(kpx, 'alice'), '; tried again in');
  });

  it('no longer, when as many starts have failed as the policy tries', async () => {
    const kpx = await startKpx({ standIn: { FAIL: '3' }, broker: { policy: IMPATIENT } });
    await publish(kpx, jobOf('alice'));
    expectWholeLine(await parked(kpx), '2 starts failed, the last one: the executor ended before it was ready: exit 3');
  });

  it('because RabbitMQ is not there', async () => {
    const [nobody] = await freePorts(1);
    const kpx = await installKpx({ broker: { amqp: { urls: [`amqp://kpx-broker@127.0.0.1:${nobody}/knime`] } } });
    await kpx.startHelper();
    await kpx.startBroker({ wait: false });
    expectWords((await kpx.brokerLog.line({ msg: 'RabbitMQ cannot be used; trying again' })).reason, 'connect ECONNREFUSED');
    await kpx.brokerLog.line({ msg: 'connected to the helper' });
    // Between two attempts, not during one.
    const waiting = await eventually('it waits', async () => {
      const seen = await status(kpx);
      return seen.includes('next try at') && seen;
    });
    expectWholeLine(waiting, 'no connection to RabbitMQ since');
    expectWords(await explained(kpx, 'alice'), 'stays in RabbitMQ, until this broker is connected');
  });
});

describe('RabbitMQ cannot be used', () => {
  const reasonOf = async (kpx: Kpx) => {
    await kpx.startBroker({ wait: false });
    return (await kpx.brokerLog.line({ msg: 'RabbitMQ cannot be used; trying again' })).reason;
  };

  it('because its name cannot be resolved', async () => {
    const kpx = await installKpx({ broker: { amqp: { urls: ['amqp://kpx-broker@rabbit.invalid/knime'] } } });
    expectWords(await reasonOf(kpx), 'getaddrinfo EAI_AGAIN');
  });

  it('because the user may not', async () => {
    const kpx = await installKpx();
    await kpx.vhost.setPermissions('broker', { configure: '^$', write: '^$', read: '^$' });
    expectWords(await reasonOf(kpx), 'ACCESS_REFUSED');
  });
});

it('a job finds no place: the queue is full, as a policy has it', async () => {
  const kpx = await startKpx();
  const definition = { 'max-length': 1, overflow: 'reject-publish' };
  const policy = { pattern: '^kpx\\.dead-letter$', definition, 'apply-to': 'queues' };
  await kpx.vhost.server.api('PUT', `policies/${kpx.vhost.vhost}/full`, policy);
  const refused = async () => {
    await publish(kpx, { body: 'no job' });
    return kpx.brokerLog.lines.find(({ msg }) => msg === 'RabbitMQ has not taken a job')?.reason;
  };
  expectWords(await eventually('a job is refused', refused), 'RabbitMQ refused a place in');
});

describe('an executor does not come up', () => {
  it('because it never connects', async () => {
    const kpx = await startKpx({ standIn: NEVER, broker: { executors: { start_timeout: '1s' }, policy: IMPATIENT } });
    await publish(kpx, jobOf('alice'));
    expectWords(await parked(kpx), 'the executor was not ready within');
  });

  it('because the file with its way to RabbitMQ has something else in it', async () => {
    const kpx = await startKpx({ broker: { policy: IMPATIENT } });
    writeFileSync(kpx.msgqFile, '\n');
    await publish(kpx, jobOf('alice'));
    await kpx.brokerLog.line({ user: 'alice', state: 'backoff' });
    const words = 'does not hold one line that starts with amqp:// or amqps://';
    // Between two attempts: the broker is about to make the next one.
    const between = await eventually('it is explained', async () => {
      const text = await explained(kpx, 'alice');
      return text.includes(words) && text;
    });
    expectWords(between, 'goes back to the queue, for another host', words);
  });
});

describe('a job is parked', () => {
  it.each([
    ['root', 'it has the uid or gid of root'],
    ['nobody-at-all', 'there is no account'],
  ])('because the account of %s is refused', async (user, words) => {
    const kpx = await startKpx({ broker: { policy: IMPATIENT } });
    await publish(kpx, jobOf(user));
    expectWords(await parked(kpx), words);
  });

  it('because there is no home, and none is made', async () => {
    const { name } = rawAccounts().account('never-at-home');
    const kpx = await startKpx({ helper: { directories: { create_home: false } }, broker: { policy: IMPATIENT } });
    await publish(kpx, jobOf(name));
    expectWords(await parked(kpx), 'does not exist and create_home is off');
  });

  it('because the home is somebody else’s', async () => {
    const kpx = await startKpx({ broker: { policy: IMPATIENT } });
    const { name, home } = rawAccounts().account('not-at-home');
    mkdirSync(home, { mode: 0o700 });
    onTestFinished(() => rmdirSync(home));
    await publish(kpx, jobOf(name));
    expectWords(await parked(kpx), 'HOME_UNUSABLE', 'belongs to uid');
  });

  it('because a workspace is somebody else’s', async () => {
    const kpx = await startKpx({ broker: { policy: IMPATIENT } });
    mkdirSync(`${kpx.workspaces}/alice`, { mode: 0o700 });
    const { uid, gid } = idsOf('bob');
    chownSync(`${kpx.workspaces}/alice`, uid, gid);
    await publish(kpx, jobOf('alice'));
    expectWords(await parked(kpx), 'DIRECTORY_UNSAFE');
  });

  it('because the user is denied', async () => {
    const kpx = await startKpx({ broker: { policy: { deny: ['mallory'] } } });
    await publish(kpx, jobOf('mallory'));
    expectWholeLine(await parked(kpx), 'is in policy.deny');
  });
});

describe('what is not as it should be', () => {
  it('a file that root has put into a workspace', async () => {
    const kpx = await startKpx({ standIn: QUICK });
    await publish(kpx, jobOf('alice'));
    await jobsDone(kpx, 'alice', 1);
    const file = `${kpx.workspaces}/alice/from-the-old-one`;
    writeFileSync(file, '', { mode: 0o600 });
    const { stderr } = spawnSync('cat', [file], { ...idsOf('alice'), encoding: 'utf8' });
    expectWholeLine(stderr, 'Permission denied');
  });

  it('the account to which a name leads', async () => {
    const kpx = await startKpx({ standIn: QUICK, helper: { accounts: { map: { 'carol.smith': 'carol' } } } });
    await publish(kpx, jobOf('carol.smith'));
    await kpx.brokerLog.line({ user: 'carol.smith', state: 'ready' });
    expectWholeLine(await explained(kpx, 'carol.smith'), 'account "carol"');
  });

  it('another broker, which has the helper already', async () => {
    const first = await startKpx();
    // Under systemd the helper serves one connection, stand-alone sixteen.
    for (let count = 2; count <= 16; count++) await HelperConnection.greeted(first.socket);
    const second = new Kpx(first.vhost, { broker: { helper: { socket: first.socket } } });
    onTestFinished(() => second.stop());
    await second.startBroker({ wait: false });
    const { reason } = await second.brokerLog.line({ msg: 'the helper cannot be used; trying again' });
    expectWords(reason, 'the helper ended the connection before it said hello');
  });

  it('a rule beside the line that says there is none', async () => {
    const kpx = await installKpx();
    writeFileSync(kpx.brokerConfigFile, '[policy]\nrule = []\n[[policy.rule]]\nusers = ["*"]\n');
    expectWords(
      (await runBroker(['--config', kpx.brokerConfigFile, '--check'])).stderr,
      '"policy.rule" is there twice: take out line 2, "rule = []"',
    );
  });

  describe('the name service', () => {
    const ID = '/usr/bin/id';
    afterAll(() => void execFileSync('/usr/bin/umount', [ID]));

    it('does not tell the groups that a rule asks for', async () => {
      const kpx = await startKpx({ broker: { policy: { rule: [{ groups: ['analysts'], priority: 1 }] } } });
      execFileSync('/usr/bin/mount', ['--bind', '/usr/bin/false', ID]);
      await publish(kpx, jobOf('bob'));
      const { reason } = await kpx.brokerLog.line({ user: 'bob', state: 'backoff' });
      expectWords(reason, 'could not be looked up');
    });
  });
});
