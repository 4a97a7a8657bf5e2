import { chmodSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { idsOf, type Kpx } from '../fixtures/kpx.js';
import { answerAt } from '../fixtures/other-broker.js';
import { installKpx, jobsDone, publish, runKpxctl, startKpx } from './installed-kpx.js';

const QUICK = { BOOT_MS: '50' };
/** Of an executor: a number once it is known. */
const USE = expect.toSatisfy((value: unknown) => value === null || typeof value === 'number');
const STAMP = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);

const run = ({ brokerConfigFile }: Kpx, ...args: string[]) => runKpxctl([...args, '--config', brokerConfigFile]);

const linesOf = (text: string): string[] => text.trimEnd().split('\n');

/** alice has an executor, bob waits for one, and one name has no account. */
async function threeUsers(): Promise<Kpx> {
  const policy = { max_executors: 1, start_attempts: 1, backoff_max: '5m', rule: [{ name: 'science', users: ['alice'], idle_stop: '1h' }] };
  const kpx = await startKpx({ standIn: QUICK, broker: { policy } });
  await publish(kpx, jobOf('nobody-has-this-account', 'n1'));
  await kpx.brokerLog.line({ user: 'nobody-has-this-account', state: 'broken' });
  await publish(kpx, jobOf('alice', 'a1'));
  await jobsDone(kpx, 'alice', 1);
  await publish(kpx, jobOf('bob', 'b1'));
  await expect.poll(async () => (await run(kpx, 'list')).stdout).toMatch(/^bob .* queued, place 1 .* 1 /m);
  return kpx;
}

describe('kpxctl list', () => {
  it('has a line for each user, those in trouble first, with account, state, since when, jobs held, and why', async () => {
    const kpx = await threeUsers();
    const { code, stdout, stderr } = await run(kpx, 'list');
    expect([code, stderr]).toEqual([0, '']);
    const [heading, ...lines] = linesOf(stdout);
    expect(heading).toMatch(/^USER +ACCOUNT +UID +STATE +FOR +HELD +IDLE +CPU +MEMORY +PROFILE +RULE +WHY$/);
    expect(lines).toEqual([
      expect.stringMatching(
        /^nobody-has-this-account +- +- +given up +\d+s +0 +- +- +- +default +- +START_FAILED: 1 starts failed.*ACCOUNT_UNKNOWN/,
      ),
      expect.stringMatching(/^bob +- +- +queued, place 1 +\d+s +1 +- +- +- +default +- +1 of 1 executors run \(max_executors\)$/),
      expect.stringMatching(
        new RegExp(
          `^alice +alice +${idsOf('alice').uid} +ready +\\d+s +0 +(-|\\d+s) +(-|\\d+%) +- +default +rule 1 "science" +the executor is ready$`,
        ),
      ),
    ]);
  });

  it('is an object a line for programs, of one state or in another order', async () => {
    const kpx = await threeUsers();
    const listed = async (...args: string[]) =>
      linesOf((await run(kpx, 'list', '--json', ...args)).stdout).map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(await listed('--state', 'ready')).toEqual([
      {
        ...{
          user: 'alice',
          os_user: 'alice',
          uid: idsOf('alice').uid,
          pid: kpx.done('alice')[0]?.pid,
          state: 'ready',
          place: null,
          since: STAMP,
        },
        ...{
          profile: 'default',
          rule: 'rule 1 "science"',
          held: 0,
          idle: USE,
          cpu: USE,
          memory: null,
          cause: null,
          planned: null,
          why: 'the executor is ready',
        },
      },
    ]);
    expect((await listed()).map(({ user }) => user)).toEqual(['nobody-has-this-account', 'bob', 'alice']);
    expect((await listed('--sort', 'user')).map(({ user }) => user)).toEqual(['alice', 'bob', 'nobody-has-this-account']);
    expect((await listed('--sort', 'held')).map(({ user }) => user)).toEqual(['bob', 'alice', 'nobody-has-this-account']);
    expect((await listed('--sort', 'since')).map(({ user }) => user)).toEqual(['nobody-has-this-account', 'alice', 'bob']);
    expect(await run(kpx, 'list', '--state', 'refused')).toMatchObject({ code: 0, stdout: 'No user is in the state "refused" here.\n' });
    expect(await run(kpx, 'list', '--state', 'gone')).toMatchObject({ code: 64, stderr: expect.stringContaining('Allowed choices are') });
  });

  it('has users first whose executors end soon after they are ready, though they have no trouble at the moment', async () => {
    const kpx = await installKpx();
    const facts = { groups: [], rule: 'none', profile: 'default', state: 'idle', executor: 'none', held: 0, decision: 'start', why: '' };
    const users = [
      { ...facts, user: 'alice', since: null, os_user: null },
      { ...facts, user: 'bob', since: null, os_user: null, cause: 'ends_soon' },
    ];
    await answerAt(kpx.controlSocket, { '/status': { doing: '', executors: [], users, jobs: {}, capacity: {} } });
    expect(linesOf((await run(kpx, 'list')).stdout).slice(1)).toEqual([expect.stringMatching(/^bob /), expect.stringMatching(/^alice /)]);
  });

  it('has the executors that ran before the broker did, of whom no user is known', async () => {
    const kpx = await startKpx({ standIn: QUICK });
    expect(await run(kpx, 'list')).toMatchObject({ code: 0, stdout: 'No executor runs here, and no user has jobs here.\n' });
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
    await kpx.endBroker();
    await kpx.startBroker();
    const pid = kpx.done('alice')[0]?.pid;
    const line = async () => JSON.parse((await run(kpx, 'list', '--json')).stdout || '{}');
    await expect.poll(line).toMatchObject({ user: 'alice', os_user: 'alice', pid, state: 'ready', since: STAMP, held: 0, why: '' });
  });
});

describe('kpxctl show', () => {
  it('tells of a user: account, state, executor, limits, jobs, what the next one would meet, and the past', async () => {
    const kpx = await threeUsers();
    const { code, stdout, stderr } = await run(kpx, 'show', 'alice');
    expect([code, stderr]).toEqual([0, '']);
    const { uid } = idsOf('alice');
    for (const line of [
      /^user {7}alice$/m,
      new RegExp(`^account {4}alice, uid ${uid}$`, 'm'),
      /^state {6}ready, for \d+s$/m,
      new RegExp(`^executor {3}pid ${kpx.done('alice')[0]?.pid}, ready, runs for \\d+s(, \\d+ % of a processor)?$`, 'm'),
      /^limits {5}.*held_per_user 256, start_attempts 1, idle_stop 1h$/m,
      /^jobs {7}0 held; [1-9]\d* forwarded, 0 deferred, 0 parked by this broker$/m,
      /^a job now {2}goes to the executor at once: the executor is ready$/m,
      /^changes of state\n {2}\S+Z {2}queued\n {2}\S+Z {2}starting {2}.*\n {2}\S+Z {2}booting .*\n {2}\S+Z {2}ready /m,
    ])
      expect(stdout).toMatch(line);
  });

  it('has failed starts and the last parked job, and for programs all of it as one object', async () => {
    const kpx = await threeUsers();
    const { stdout } = await run(kpx, 'show', 'nobody-has-this-account');
    expect(stdout).toMatch(
      /^account {4}there is no account "nobody-has-this-account" on this machine; only the helper knows whether accounts\.map/m,
    );
    expect(stdout).toMatch(/^last parked \S+Z START_FAILED: 1 starts failed/m);
    expect(stdout).toMatch(/^failed starts\n {2}\S+Z {2}given up {6}1 starts failed, the last one: ACCOUNT_UNKNOWN: /m);
    expect(JSON.parse((await run(kpx, 'show', 'bob', '--json')).stdout)).toMatchObject({
      ...{ user: 'bob', state: 'queued', since: STAMP, decision: 'wait', process: null, account: null, unit: null },
      jobs: { held: 1, forwarded: 0, deferred: 0, parked: 0 },
      changes: [{ at: STAMP, state: 'queued', why: '1 of 1 executors run (max_executors)' }],
      failures: [],
      last_parked: null,
    });
  });

  it('remembers a user whose executor has ended, and where it ran', async () => {
    const kpx = await startKpx({ standIn: QUICK });
    await publish(kpx, jobOf('Alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
    await run(kpx, 'stop', 'Alice');
    const shown = async () => JSON.parse((await run(kpx, 'show', 'Alice', '--json')).stdout);
    await expect.poll(shown).toMatchObject({ process: null, account: { os_user: 'alice', uid: idsOf('alice').uid }, state: 'idle' });
    expect((await shown()).changes.map(({ state }: { state: string }) => state)).toEqual(
      expect.arrayContaining(['starting', 'booting', 'ready', 'idle']),
    );
  });
});

describe.each([[['list']], [['show', 'alice']]])('kpxctl %s', (command) => {
  it('says in a sentence that no broker answers, that it may not ask, and that the broker is older', async () => {
    const kpx = await installKpx();
    writeFileSync(`${kpx.etc}/public.toml`, `[control]\nsocket = "${kpx.controlSocket}"\n`, { mode: 0o644 });
    const asked = (ids: object = {}) => runKpxctl([...command, '--config', `${kpx.etc}/public.toml`], ids);
    expect(await asked()).toEqual({
      code: 69,
      stdout: '',
      stderr: expect.stringMatching(/^no broker answers: there is no socket at .*\n$/),
    });
    await answerAt(kpx.controlSocket, { '/status': { doing: 'consuming', executors: [], users: [] } });
    chmodSync(kpx.controlSocket, 0o600);
    expect(await asked()).toEqual({
      code: 69,
      stdout: '',
      stderr: expect.stringMatching(/^The broker is older than this kpxctl.*systemctl restart kpx-broker.*\n$/),
    });
    expect(await asked(idsOf('bob'))).toEqual({
      code: 69,
      stdout: '',
      stderr: `no permission to use ${kpx.controlSocket}: ask as root, or as a member of kpx-admin\n`,
    });
  });
});

describe('what a broker says', () => {
  it('commands no terminal', async () => {
    const kpx = await installKpx();
    const hostile = '\u001b]0;owned\u0007\u009b2J\u202e';
    const shown = '\\u001b]0;owned\\u0007\\u009b2J\\u202e';
    const user = {
      ...{ user: hostile, groups: [hostile], rule: hostile, profile: hostile, state: hostile, executor: hostile, held: 0 },
      ...{ decision: 'forward', why: hostile, since: '2026-11-23T12:00:00.000Z', os_user: hostile },
    };
    const changes = [{ at: '2026-11-23T12:00:00.000Z', state: hostile, why: hostile }];
    const status = { doing: hostile, executors: [], users: [user], jobs: {}, capacity: {} };
    const problems = [{ code: hostile, level: 'trouble', what: hostile, next: hostile }];
    await answerAt(kpx.controlSocket, {
      '/status': { ...status, verdict: { level: 'trouble', headline: hostile, problems } },
      '/configuration': { [hostile]: hostile },
      '/user?user=alice': {
        ...user,
        ...{ process: null, account: { os_user: hostile, uid: 1 }, limits: {}, jobs: {}, changes, failures: changes },
        last_parked: { at: hostile, reason: hostile, detail: hostile },
      },
    });
    for (const args of [['list'], ['list', '--json'], ['show', 'alice'], ['show', 'alice', '--json'], ['status'], ['status', '--json']]) {
      const { stdout, stderr } = await run(kpx, ...args);
      expect([args, `${stdout}${stderr}`]).toEqual([args, expect.stringContaining(shown)]);
      expect(stdout).not.toMatch(/[^\P{C}\n]/u);
    }
  });
});
