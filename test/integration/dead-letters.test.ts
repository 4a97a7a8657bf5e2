import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openConnection, withChannel } from '../fixtures/amqp.js';
import { eventually } from '../fixtures/eventually.js';
import { drainQueue, jobOf, publishJobs, type TestJob } from '../fixtures/jobs.js';
import { checkout, idsOf, Kpx, node } from '../fixtures/kpx.js';
import { childrenOf, statusOf } from '../fixtures/process.js';
import { rawAccounts } from './installed-helper.js';
import { installKpx, jobsDone, publish, startKpx } from './installed-kpx.js';
import { sharedRabbitmq } from './shared-rabbitmq.js';

const PROGRAM = join(checkout(), 'packages/kpxctl/dist/kpxctl.cjs');
const QUEUE = 'kpx.dead-letter';
const TEN_MB = 10 * 1024 * 1024;

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** `kpxctl dead-letters …` as root without a terminal, as a script of an administrator would. */
function start(kpx: Kpx, args: string[], options: object = {}) {
  const takesConfig = ['list', 'show', 'replay', 'drop'].includes(args[0] ?? '') && !args.includes('--config');
  const config = takesConfig ? ['--config', `${kpx.etc}/broker.toml`] : [];
  const child = spawn(node(), [PROGRAM, 'dead-letters', ...args, ...config], {
    env: {},
    cwd: '/',
    ...options,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended: Ended = { code: null, stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    ended.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    ended.stderr += text;
  });
  const end = new Promise<Ended>((resolve) => {
    child.once('close', (code) => resolve({ ...ended, code }));
  });
  return { child, end, said: ended };
}

const run = (kpx: Kpx, ...args: string[]) => start(kpx, args).end;

interface Listed {
  id: string;
  reason: string;
  user: string | null;
  job: string | null;
  bytes: number;
  [key: string]: unknown;
}

/** Where there are none, RabbitMQ 4.3 may hide some, and kpxctl says so: rabbitmq-versions.test.ts. */
const withoutHint = (text: string) =>
  text.replace(/(?:^| )RabbitMQ \d\S* hides a dead letter that was looked at, [^\n]*/, '').replace(/^\n$/, '');

async function listed(kpx: Kpx, ...filters: string[]): Promise<Listed[]> {
  const { code, stdout, stderr } = await run(kpx, 'list', '--json', ...filters);
  expect([code, withoutHint(stderr)]).toEqual([0, '']);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

const depth = async (kpx: Kpx, queue: string) => (await kpx.vhost.queueDepth(queue))?.messages ?? 0;
const depthBecomes = (kpx: Kpx, queue: string, count: number) =>
  eventually(`${count} messages in ${queue}`, async () => (await depth(kpx, queue)) === count);

/** `drop --all` on a terminal of its own, once it asks. */
async function askedOnTerminal(kpx: Kpx) {
  const pidFile = `${kpx.etc}/pid`;
  const command = `echo $$ > ${pidFile}; exec ${node()} ${PROGRAM} dead-letters drop --all --config ${kpx.etc}/broker.toml`;
  const terminal = spawn('/usr/bin/script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    env: { TERM: 'dumb', SHELL: '/bin/sh' },
  });
  let screen = '';
  terminal.stdout.setEncoding('utf8').on('data', (text: string) => {
    screen += text;
  });
  const end = new Promise((resolve) => terminal.once('close', resolve));
  await eventually('it asks', () => screen.includes('Type "drop 3" to go on: '));
  return { terminal, pid: Number(readFileSync(pidFile, 'utf8')), screen: () => screen, end };
}

/** kpx without a helper or broker that runs, and these dead letters: parked by a broker as it parks, each batch after the one before. */
async function withParked(...batches: TestJob[][]): Promise<Kpx> {
  const kpx = await installKpx({ broker: { policy: { deny: ['mallory', 'eve'] } } });
  await kpx.startBroker({ wait: false });
  await kpx.brokerLog.line({ msg: 'consuming' });
  let parked = 0;
  for (const jobs of batches) {
    await publish(kpx, ...jobs);
    parked += jobs.length;
    await depthBecomes(kpx, QUEUE, parked);
  }
  await kpx.endBroker();
  return kpx;
}

const nonsense = (body: string | Buffer, messageId = 'nonsense'): TestJob => ({ body: Buffer.from(body), properties: { messageId } });
/** For tests of an order: none are parked in the same millisecond. */
const inTurn = (jobs: TestJob[]) => jobs.map((job) => [job]);

const THREE = [jobOf('mallory', 'm1'), jobOf('eve', 'e1'), nonsense('{"user": 7}')];

describe('kpxctl dead-letters list', () => {
  it('shows each, oldest first, and how many there are for which reason', async () => {
    const kpx = await withParked(...inTurn(THREE));
    const { code, stdout } = await run(kpx, 'list');
    const lines = stdout.trimEnd().split('\n');
    expect(code).toBe(0);
    expect(lines[0]).toMatch(/^ID +PARKED +HOST +REASON +USER +JOB +DETAIL$/);
    expect(lines[1]).toMatch(/^[0-9a-f]{12} +20\d\d-\S+Z +\S+ +USER_DENIED +mallory +m1 +"mallory" is in policy\.deny$/);
    expect(lines[3]).toMatch(/USER_NOT_A_STRING +- +nonsense +the value of "user" is not a string$/);
    expect(lines.at(-1)).toBe('3 dead letters: USER_DENIED 2, USER_NOT_A_STRING 1');
    expect(await depth(kpx, QUEUE)).toBe(3);
  });

  it('is JSON lines for programs, filtered by user and reason, with the same ids each time', async () => {
    const kpx = await withParked(...inTurn(THREE));
    const all = await listed(kpx);
    expect(all.map(({ user, job, reason }) => [user, job, reason])).toEqual([
      ['mallory', 'm1', 'USER_DENIED'],
      ['eve', 'e1', 'USER_DENIED'],
      [null, 'nonsense', 'USER_NOT_A_STRING'],
    ]);
    expect(await listed(kpx)).toEqual(all);
    expect((await listed(kpx, '--user', 'Mallory')).map(({ job }) => job)).toEqual(['m1']);
    expect((await listed(kpx, '--reason', 'USER_DENIED')).map(({ job }) => job)).toEqual(['m1', 'e1']);
    expect(await listed(kpx, '--reason', 'USER_NOT_A_STRING', '--user', 'eve')).toEqual([]);
  });

  it('says that there are none where nothing was ever parked', async () => {
    const vhost = await sharedRabbitmq().createKnimeVhost();
    onTestFinished(() => vhost.delete());
    const kpx = new Kpx(vhost);
    onTestFinished(() => kpx.stop());
    expect(await vhost.queueDepth(QUEUE)).toBeUndefined();
    for (const args of [['list'], ['replay', '--all'], ['drop', '--all', '--yes']]) {
      const { code, stdout, stderr } = await run(kpx, ...args);
      expect([code, withoutHint(stdout), withoutHint(stderr)]).toEqual([0, 'No dead letters.\n', '']);
    }
  });

  it('lets nothing that the network has sent command the terminal', async () => {
    const kpx = await withParked([nonsense('{', '\u001b]0;owned\u0007\u202e')]);
    const { stdout } = await run(kpx, 'list');
    expect(stdout).toContain('\\u001b]0;owned\\u0007\\u202e');
    expect(stdout).not.toMatch(/[^\P{C}\n]/u);
    expect((await listed(kpx))[0]?.job).toBe('\u001b]0;owned\u0007\u202e');
  });

  it('looks at bodies of 10 MiB within bounded memory', async () => {
    const kpx = await withParked(Array.from({ length: 30 }, (_, count) => nonsense(Buffer.alloc(TEN_MB, ' '), `big-${count}`)));
    const { child, end } = start(kpx, ['list', '--json']);
    let peak = 0;
    const watch = setInterval(() => {
      for (const pid of [child.pid ?? 0, ...childrenOf(child.pid ?? 0)])
        peak = Math.max(peak, Number.parseInt(statusOf(pid)?.VmHWM ?? '0', 10));
    }, 10);
    const { code, stdout } = await end;
    clearInterval(watch);
    expect([code, stdout.trimEnd().split('\n').length]).toEqual([0, 30]);
    expect(peak).toBeGreaterThan(20_000);
    expect(peak).toBeLessThan(300_000); // kB; more than that is in the queue
  });
});

describe('kpxctl dead-letters show', () => {
  it('has headers, properties, the meaning of the reason, and the body with its numbers as they were', async () => {
    const body = '{"user":"mallory","number":12345678901234567890,"list":[1,{}]}';
    const kpx = await withParked([
      { body: Buffer.from(body), headers: { theirs: 'kept' }, properties: { messageId: 'm1', correlationId: 'c', expiration: '60000' } },
    ]);
    const [{ id } = { id: '' }] = await listed(kpx);
    const { code, stdout } = await run(kpx, 'show', id.slice(0, 5));
    expect(code).toBe(0);
    for (const text of ['The policy denies this user an executor: ', 'then kpxctl reload', /theirs +kept/, /correlationId +c/])
      expect(stdout).toMatch(text);
    expect(stdout).toMatch(/x-kpx-expiration +60000/);
    expect(stdout).toContain('{\n  "user": "mallory",\n  "number": 12345678901234567890,\n  "list": [\n    1,\n    {}\n  ]\n}\n');
    const json = JSON.parse((await run(kpx, 'show', id, '--json')).stdout);
    expect(json).toMatchObject({ id, body, headers: { theirs: 'kept' }, properties: { correlationId: 'c' } });
  });

  it('cuts a long body and says so', async () => {
    const kpx = await withParked([nonsense('x'.repeat(2 * 1024 * 1024))]);
    const [{ id } = { id: '' }] = await listed(kpx);
    const { stdout } = await run(kpx, 'show', id);
    expect(stdout).toContain('(cut: the first 65536 of 2097152 bytes; --json has all of it)');
    expect(stdout.length).toBeLessThan(70_000);
    expect(JSON.parse((await run(kpx, 'show', id, '--json')).stdout).body.length).toBe(2 * 1024 * 1024);
  });
});

describe('kpxctl dead-letters replay', () => {
  it('has a job done when the cause is gone, while the broker runs', async () => {
    const kpx = await startKpx({
      standIn: { BOOT_MS: '50' },
      broker: { policy: { start_attempts: 2, backoff_initial: '50ms', backoff_max: '100ms' } },
    });
    const job = jobOf('joined-later', 'j1', { workflow: 'ümläut' });
    await publish(kpx, { ...job, headers: { theirs: 'kept' } }, nonsense('{'));
    await depthBecomes(kpx, QUEUE, 2);
    rawAccounts().account('joined-later');
    await kpx.brokerLog.line({ user: 'joined-later', reason: 'the next job is a trial' });
    const { code, stdout } = await run(kpx, 'replay', '--reason', 'START_FAILED');
    expect([code, stdout]).toEqual([
      0,
      expect.stringMatching(/^replayed \S+ \S+ \S+ START_FAILED joined-later j1\nReplayed: 1 of 1 dead letter\.\n$/),
    ]);
    const [done] = await jobsDone(kpx, 'joined-later', 1);
    const bodySha256 = createHash('sha256').update(JSON.stringify(job.body)).digest('hex');
    expect(done).toMatchObject({ job: 'j1', messageId: 'j1', bodySha256, headers: { theirs: 'kept' } });
    expect((await listed(kpx)).map(({ reason }) => reason)).toEqual(['BODY_NOT_JSON']);
  });

  it('puts jobs back as they came: of kpx only which it is, and when it was replayed, and no time to live, which has passed', async () => {
    const kpx = await withParked([
      {
        ...jobOf('mallory', 'm1'),
        headers: { theirs: 1, canHandle: true, 'x-kpx-hops': 7 },
        properties: { messageId: 'm1', expiration: '60000', type: 'work', priority: 3, timestamp: 1_700_000_000 },
      },
    ]);
    await listed(kpx); // what RabbitMQ counts of each look is no header of the job either
    expect(await run(kpx, 'replay', '--user', 'mallory')).toMatchObject({ code: 0 });
    const [job] = await drainQueue(kpx.vhost.url('admin'), 'knime-jobs');
    expect(Object.keys(job?.headers ?? {}).sort()).toEqual(['theirs', 'x-kpx-id', 'x-kpx-mac', 'x-kpx-ref', 'x-kpx-replayed-at']);
    expect(job?.properties).toMatchObject({ messageId: 'm1', type: 'work', priority: 3, timestamp: 1_700_000_000, deliveryMode: 2 });
    expect([job?.properties.expiration, job?.json]).toEqual([undefined, { user: 'mallory', job: 'm1' }]);
    expect(await depth(kpx, QUEUE)).toBe(0);
  });

  it('takes those of a reason, of a user or of ids, and leaves the others', async () => {
    const kpx = await withParked(...inTurn([...THREE, jobOf('mallory', 'm2'), nonsense('[')]));
    expect(await run(kpx, 'replay', '--reason', 'USER_NOT_A_STRING')).toMatchObject({ code: 0 });
    expect((await listed(kpx)).map(({ job, reason }) => [job, reason])).toEqual([
      ['m1', 'USER_DENIED'],
      ['e1', 'USER_DENIED'],
      ['m2', 'USER_DENIED'],
      ['nonsense', 'BODY_NOT_JSON'],
    ]);
    const [m1, , , bracket] = await listed(kpx);
    expect(await run(kpx, 'replay', m1?.id ?? '', bracket?.id ?? '')).toMatchObject({ code: 0 });
    expect((await listed(kpx)).map(({ job }) => job)).toEqual(['e1', 'm2']);
    expect(await run(kpx, 'replay', '--all')).toMatchObject({ code: 0 });
    expect(await depth(kpx, QUEUE)).toBe(0);
    const back = await drainQueue(kpx.vhost.url('admin'), 'knime-jobs');
    expect(back.map(({ text }) => text).sort()).toEqual(
      [
        '{"user": 7}',
        '[',
        ...['mallory', 'eve'].map((user) => JSON.stringify({ user, job: `${user[0]}1` })),
        '{"user":"mallory","job":"m2"}',
      ].sort(),
    );
  });

  it('takes each job once, although the broker parks it again at once', async () => {
    const kpx = await startKpx();
    await publish(kpx, ...Array.from({ length: 50 }, (_, count) => nonsense('{', `n${count}`)));
    await depthBecomes(kpx, QUEUE, 50);
    const before = await listed(kpx);
    const { code, stdout } = await run(kpx, 'replay', '--all');
    expect([code, stdout]).toEqual([0, expect.stringContaining('Replayed: 50 of 50 dead letters.')]);
    await depthBecomes(kpx, QUEUE, 50);
    const after = await listed(kpx);
    expect(new Set(after.map(({ job }) => job)).size).toBe(50);
    for (const { id } of after) expect(before.map((letter) => letter.id)).not.toContain(id);
  });

  it('leaves dead letters where they are when the exchange leads nowhere', async () => {
    const kpx = await withParked(THREE);
    const connection = await openConnection(kpx.vhost.url('admin'));
    const channel = await connection.createChannel();
    await channel.unbindQueue('knime-jobs', 'knime-server2executorknime-jobs', 'new-work');
    await connection.close();
    const { code, stderr } = await run(kpx, 'replay', '--all');
    expect([code, stderr]).toEqual([69, expect.stringContaining('found no queue from exchange "knime-server2executorknime-jobs"')]);
    await depthBecomes(kpx, QUEUE, 3);
  });

  it('loses nothing when it is killed in the middle', { timeout: 120_000 }, async () => {
    const JOBS = 2_000;
    const kpx = await withParked(Array.from({ length: JOBS }, (_, count) => jobOf('mallory', `job-${count}`)));
    let begun = 0;
    for (const after of [1, 30, 100]) {
      const { child, end, said } = start(kpx, ['replay', '--all']);
      await eventually(`${after} jobs replayed`, () => said.stdout.split('\n').length > after);
      child.kill('SIGKILL');
      expect(await end).toMatchObject({ code: null });
      begun += said.stdout.split('\n').length - 1;
      expect(begun).toBeLessThan(JOBS);
    }
    const jobs = async (queue: string) =>
      (await drainQueue(kpx.vhost.url('admin'), queue)).map(({ json }) => (json as { job: string }).job);
    const total = async () => (await depth(kpx, QUEUE)) + (await depth(kpx, 'knime-jobs'));
    await eventually('everything is back', async () => (await total()) >= JOBS);
    const [dead, back] = [await jobs(QUEUE), await jobs('knime-jobs')];
    expect(new Set([...dead, ...back]).size).toBe(JOBS);
    expect(dead.length).toBeGreaterThan(0);
    expect(back.length).toBeGreaterThan(100);
    // In both places: what had been confirmed and not acknowledged yet, of one handful at each kill.
    expect(dead.length + back.length - JOBS).toBeLessThanOrEqual(3 * 8);
  });
});

describe('kpxctl dead-letters drop', () => {
  it('removes nothing without a terminal to ask on, unless told --yes', async () => {
    const kpx = await withParked(THREE);
    expect(await run(kpx, 'drop', '--all')).toMatchObject({ code: 64, stderr: expect.stringContaining('--yes') });
    expect(await depth(kpx, QUEUE)).toBe(3);
    const { code, stdout } = await run(kpx, 'drop', '--user', 'eve', '--yes');
    expect([code, stdout]).toEqual([
      0,
      expect.stringMatching(/^dropped \S+ \S+ \S+ USER_DENIED eve e1 .*\nDropped: 1 of 1 dead letter\.\n$/),
    ]);
    expect((await listed(kpx)).map(({ job }) => job)).toEqual(['m1', 'nonsense']);
    expect(await depth(kpx, 'knime-jobs')).toBe(0);
  });

  it.each([
    ['drop 3', 0],
    ['yes', 3],
    ['', 3],
  ])('asks on a terminal, as nobody and no longer as root: answer "%s"', async (answer, left) => {
    const kpx = await withParked(THREE);
    const { terminal, pid, screen, end } = await askedOnTerminal(kpx);
    const [withoutRoot = 0] = childrenOf(pid);
    const status = statusOf(withoutRoot);
    expect(status?.NoNewPrivs).toBe('1');
    expect([status?.Uid, status?.Gid, status?.Groups?.trim()]).toEqual(['65534\t65534\t65534\t65534', '65534\t65534\t65534\t65534', '']);
    expect(BigInt(`0x${status?.CapEff}`)).toBe(0n);
    terminal.stdin.write(`${answer}\r`);
    expect(await end).toBe(0);
    expect(screen()).toContain('3 dead letters: USER_DENIED 2, USER_NOT_A_STRING 1');
    expect(screen()).toContain(left === 0 ? 'Dropped: 3 of 3 dead letters.' : 'Nothing was dropped.');
    await depthBecomes(kpx, QUEUE, left);
  });

  it('gives root up where Node refuses to, as Debian 13’s does', async () => {
    const kpx = await withParked(THREE);
    const refusing = ['--require', join(checkout(), 'test/fixtures/nodes/refuses-ids.cjs')];
    const argv = [...refusing, PROGRAM, 'dead-letters', 'list', '--config', kpx.brokerConfigFile];
    const { stdout, stderr } = await promisify(execFile)(node(), argv, { env: {}, cwd: '/' });
    expect(stderr).toBe('');
    expect(stdout).toContain('3 dead letters: USER_DENIED 2, USER_NOT_A_STRING 1');
  });

  it('leaves nothing behind when it is killed: the next one need not wait', async () => {
    const kpx = await withParked(THREE);
    const { pid } = await askedOnTerminal(kpx);
    const [withoutRoot = 0] = childrenOf(pid);
    process.kill(pid, 'SIGKILL');
    await eventually('what had no root has ended as well', () => statusOf(withoutRoot) === undefined);
    expect((await listed(kpx)).length).toBe(3);
  });

  it('takes Ctrl-C for a no', async () => {
    const kpx = await withParked(THREE);
    const { terminal, screen, end } = await askedOnTerminal(kpx);
    terminal.stdin.write('\u0003');
    expect(await end).toBe(0);
    expect(screen()).toContain('Nothing was dropped.');
    await depthBecomes(kpx, QUEUE, 3);
  });

  it('ends when RabbitMQ is lost while it asks', async () => {
    const kpx = await withParked(THREE);
    const { screen, end } = await askedOnTerminal(kpx);
    expect(await kpx.vhost.closeConnections('broker')).toBe(2); // one takes jobs, one publishes
    expect(await end).toBe(69);
    expect(screen()).toMatch(/The connection to RabbitMQ was lost .* still in kpx\.dead-letter/);
    await depthBecomes(kpx, QUEUE, 3);
  });
});

describe('several operators', () => {
  it('wait for each other, so that each sees everything', async () => {
    const kpx = await withParked(Array.from({ length: 200 }, (_, count) => jobOf('mallory', `job-${count}`)));
    const lists = await withChannel(kpx.vhost.url('admin'), async (channel) => {
      await channel.assertQueue('kpx.dead-letter.lock', { exclusive: true, durable: false }); // as a command that is at work
      const started = [1, 2, 3].map(() => start(kpx, ['list', '--json']));
      const waits = ({ stderr }: Ended) => stderr.startsWith('Another kpxctl dead-letters command is at work');
      await eventually('all three wait', () => started.every(({ said }) => waits(said)));
      return started;
    });
    const ended = await Promise.all(lists.map(({ end }) => end));
    for (const { code, stdout } of ended) expect([code, stdout.trimEnd().split('\n').length]).toEqual([0, 200]);
  });

  it('may look as often as they like: no look counts towards a limit of RabbitMQ', { timeout: 120_000 }, async () => {
    const kpx = await withParked(THREE);
    const before = await listed(kpx);
    for (let look = 0; look < 25; look++) await listed(kpx);
    expect(await listed(kpx)).toEqual(before);
    const letters = await drainQueue(kpx.vhost.url('admin'), QUEUE);
    expect(letters.length).toBe(3);
    for (const { headers } of letters) expect(Number(headers['x-delivery-count'] ?? 0)).toBeLessThanOrEqual(10);
  });
});

describe('what cannot be done is said in a line or two, with an exit code', () => {
  it('ids that are unknown, ambiguous or none at all', async () => {
    const kpx = await withParked(THREE);
    const [{ id } = { id: '' }] = await listed(kpx);
    for (const verb of [['show'], ['replay'], ['drop', '--yes']]) {
      expect(await run(kpx, ...verb, '0000ffff0000')).toMatchObject({
        code: 66,
        stderr: expect.stringMatching(/^There is no dead letter 0000ffff0000/),
      });
      expect(await run(kpx, ...verb, 'm1')).toMatchObject({
        code: 64,
        stderr: expect.stringContaining("'m1' is invalid for argument 'ID'"),
      });
    }
    // One that is unknown keeps the others from being touched as well.
    expect(await run(kpx, 'replay', id, '0000ffff0000')).toMatchObject({ code: 66 });
    expect(await run(kpx, 'replay', '--user', 'nobody-here')).toMatchObject({
      code: 66,
      stderr: expect.stringContaining('No dead letter matches'),
    });
    expect(await listed(kpx)).toHaveLength(3);
  });

  it.each([
    [[], 'Usage: kpxctl dead-letters'],
    [['lst'], "unknown command 'lst'"],
    [['replay'], 'replay takes either --all'],
    [['drop', '--all', '--user', 'x', '--yes'], 'drop takes either --all'],
    [['list', '--yes'], "unknown option '--yes'"],
    [['show'], "missing required argument 'ID'"],
    [['show', 'abcd', 'abce'], 'too many arguments'],
    [['list', 'abcd'], 'too many arguments'],
  ])('wrong usage: %j', async (args, message) => {
    const kpx = await installKpx();
    expect(await run(kpx, ...args)).toMatchObject({ code: 64, stderr: expect.stringContaining(message) });
  });

  it('a wrong password, a virtual host or a file that it may not use', async () => {
    const kpx = await installKpx();
    writeFileSync(`${kpx.etc}/wrong-password`, 'wrong\n');
    const refused = await run(kpx, 'list', '--password-file', `${kpx.etc}/wrong-password`);
    expect(refused).toMatchObject({ code: 77, stderr: expect.stringContaining('ACCESS_REFUSED') });
    expect(refused.stderr).toContain(`${kpx.etc}/wrong-password`);
    expect(refused.stderr.trimEnd().split('\n').length).toBe(2);
    expect(await run(kpx, 'list', '--password-file', '/nowhere')).toMatchObject({
      code: 78,
      stderr: expect.stringContaining('/nowhere: ENOENT'),
    });
    const asAlice = await start(kpx, ['list'], idsOf('alice')).end;
    expect(asAlice).toMatchObject({ code: 77, stderr: expect.stringContaining('broker.toml cannot be read: EACCES') });
    chmodSync(`${kpx.etc}/amqp-password`, 0o600);
    const asBroker = await start(kpx, ['list'], idsOf('kpx-broker')).end;
    expect(asBroker).toMatchObject({ code: 77, stderr: expect.stringContaining('amqp-password: EACCES') });
    const elsewhere = readFileSync(`${kpx.etc}/broker.toml`, 'utf8').replace(kpx.vhost.vhost, 'no-such-vhost');
    writeFileSync(`${kpx.etc}/elsewhere.toml`, elsewhere);
    expect(await run(kpx, 'list', '--config', `${kpx.etc}/elsewhere.toml`)).toMatchObject({
      code: 77,
      stderr: expect.stringContaining('NOT_ALLOWED - vhost no-such-vhost not found'),
    });
  });

  it('a RabbitMQ that is not there: the next URL is tried', async () => {
    const kpx = await withParked(THREE);
    const text = readFileSync(`${kpx.etc}/broker.toml`, 'utf8');
    const url = kpx.vhost.urlWithoutPassword('broker');
    const dead = 'amqp://kpx-broker@127.0.0.1:1/x';
    writeFileSync(`${kpx.etc}/dead.toml`, text.replace(url, dead));
    expect(await run(kpx, 'list', '--config', `${kpx.etc}/dead.toml`)).toMatchObject({
      code: 69,
      stderr: expect.stringMatching(/^RabbitMQ cannot be used: 127\.0\.0\.1:1: connect ECONNREFUSED.*\n.*\n$/),
    });
    writeFileSync(`${kpx.etc}/two.toml`, text.replace(JSON.stringify(url), `${JSON.stringify(dead)}, ${JSON.stringify(url)}`));
    expect(await run(kpx, 'list', '--config', `${kpx.etc}/two.toml`)).toMatchObject({ code: 0 });
  });

  it('a configuration that is wrong or missing', async () => {
    const kpx = await installKpx();
    expect(await run(kpx, 'list', '--config', '/nowhere.toml')).toMatchObject({
      code: 78,
      stderr: '/nowhere.toml: there is no such file\n',
    });
  });

  it('runs under the broker’s account, too', async () => {
    const kpx = await withParked(THREE);
    expect(await start(kpx, ['list', '--json'], idsOf('kpx-broker')).end).toMatchObject({ code: 0, stderr: '' });
  });
});

describe('the queue of dead letters', () => {
  it('takes new ones while one operator looks', async () => {
    const kpx = await startKpx();
    const jobs = Array.from({ length: 300 }, (_, count) => nonsense('{', `n${count}`));
    const [, ...lists] = await Promise.all([publishJobs(kpx.vhost.url('publisher'), jobs), run(kpx, 'list'), run(kpx, 'list')]);
    for (const { code } of lists) expect(code).toBe(0);
    await depthBecomes(kpx, QUEUE, 300);
    expect(new Set((await listed(kpx)).map(({ job }) => job)).size).toBe(300);
  });
});

it('the catalogue explains every reason', async () => {
  const kpx = await installKpx();
  const { code, stdout } = await run(kpx, 'reasons');
  expect(code).toBe(0);
  for (const [reason] of readFileSync(join(checkout(), 'docs/operate.md'), 'utf8').matchAll(/^\| `[A-Z_]+`(, `[A-Z_]+`)* \|/gm)) {
    for (const [, name] of reason.matchAll(/`([A-Z_]+)`/g)) expect(stdout).toMatch(new RegExp(`^${name}\n    \\S`, 'm'));
  }
});
