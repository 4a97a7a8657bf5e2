import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, expect, it } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { idsOf, type Kpx } from '../fixtures/kpx.js';
import { installHelper } from './installed-helper.js';
import { jobsDone, publish, runKpxctl, startKpx } from './installed-kpx.js';

const QUICK = { BOOT_MS: '50' };
/** How long a host is drained that is told until when, in seconds: longer than kpxctl and a restart of the broker take meanwhile. */
const DRAIN_S = 20;

const run = ({ brokerConfigFile }: Kpx, ...args: string[]) => runKpxctl([...args, '--config', brokerConfigFile]);

describe('kpxctl', () => {
  it('drains, and resumes: the job that waited is done', async () => {
    const kpx = await startKpx({ standIn: QUICK });
    expect(await run(kpx, 'drain')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^No executor is started any more\./) });
    await publish(kpx, jobOf('alice', 'a1'));
    const explained = async () => (await run(kpx, 'explain', 'alice')).stdout;
    await expect.poll(explained).toContain('waits until there is room: the host is being drained');
    expect(await run(kpx, 'resume', '--json')).toEqual({ code: 0, stdout: '{"draining":false}\n', stderr: '' });
    await jobsDone(kpx, 'alice', 1);
  });

  it.each(['SIGTERM', 'SIGKILL'] as const)('drains over a restart of the broker: %s', async (signal) => {
    const kpx = await startKpx({ standIn: QUICK });
    await run(kpx, 'drain');
    await kpx.endBroker(signal);
    await kpx.startBroker();
    await publish(kpx, jobOf('alice', 'a1'));
    const explained = async () => (await run(kpx, 'explain', 'alice')).stdout;
    await expect.poll(explained).toContain('waits until there is room: the host is being drained');
    expect(
      await kpx.brokerLog.line({ level: 40, msg: 'this host was being drained before the restart, and still is: kpxctl resume ends it' }),
    );
    await run(kpx, 'resume');
    await jobsDone(kpx, 'alice', 1);
    await kpx.endBroker(signal);
    await kpx.startBroker();
    expect(await explained()).not.toContain('drained');
  });

  it('drains until a time, with a reason that is told to everybody, and ends that by itself after a restart of the broker', {
    timeout: 120_000,
  }, async () => {
    const kpx = await startKpx({ standIn: QUICK });
    const end = Date.now() + DRAIN_S * 1_000;
    expect(await run(kpx, 'drain', '--until', `${DRAIN_S}s`, '--reason', 'a new KNIME')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^No executor is started any more until \d{4}-\d\d-\d\d \d\d:\d\d\. /),
    });
    await publish(kpx, jobOf('alice', 'a1'));
    const why = /the host is being drained until \d{4}-\d\d-\d\d \d\d:\d\d: a new KNIME/;
    for (const verb of [['explain', 'alice'], ['status']]) await expect.poll(async () => (await run(kpx, ...verb)).stdout).toMatch(why);
    await kpx.endBroker('SIGKILL');
    await kpx.startBroker();
    expect((await run(kpx, 'status')).stdout).toMatch(why);
    const [done] = await jobsDone(kpx, 'alice', 1, DRAIN_S * 2_000);
    expect(done?.at).toBeGreaterThanOrEqual(end);
    expect((await run(kpx, 'status')).stdout).not.toContain('drained');
    await kpx.endBroker();
    await kpx.startBroker();
    expect(kpx.brokerLog.lines.filter(({ draining }) => draining)).toEqual([]);
  });

  it.each([
    [['--until', '2020-01-01 00:00'], 64, /^until: the time is over: it is \d{4}-/],
    [['--until', '2999-01-01 00:00'], 64, /^until: more than a year ahead/],
    [['--until', 'tomorrow'], 64, /such as "18:00"/],
    [['--reason', ''], 64, /^reason: expected a line of 1 to 200 characters/],
    [['--reason', 'a\nb'], 64, /^reason: expected a line/],
  ] as const)('does not drain with %j', async (args, code, why) => {
    const kpx = await startKpx();
    expect(await run(kpx, 'drain', ...args)).toMatchObject({ code, stderr: expect.stringMatching(why) });
    expect((await run(kpx, 'status')).stdout).not.toContain('drained');
  });

  it('says of a drain that a restart will not know of it', async () => {
    const kpx = await startKpx();
    mkdirSync(`${dirname(kpx.controlSocket)}/draining`); // what is there is no file
    expect(await run(kpx, 'drain')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/\nA restart of the broker will not know of this: EISDIR/),
    });
    expect(await kpx.brokerLog.line({ msg: 'a restart of the broker will not know of this' })).toMatchObject({ draining: true });
  });

  it('has the configuration read again, and says what came of it', async () => {
    const kpx = await startKpx();
    expect((await run(kpx, 'reload')).stdout).toBe('Reloaded. Nothing has changed.\n');
    kpx.configureBroker({ policy: { max_executors: 2 }, helper: { socket: '/run/elsewhere.sock' } });
    expect((await run(kpx, 'reload')).stdout).toMatch(
      /^Reloaded\. Changed:\n[\s\S]* {2}policy\.max_executors: 40 -> 2\n[\s\S]*With a restart only: \[helper\]\n$/,
    );
    writeFileSync(kpx.brokerConfigFile, `[policy]\nmax_executers = 3\n[control]\nsocket = "${kpx.controlSocket}"\n`);
    expect(await run(kpx, 'reload')).toMatchObject({ code: 69, stderr: expect.stringContaining('did you mean "max_executors"?') });
  });

  it.each([[[]], [['--kill']]])('starts an executor without a job, and ends it (%j)', async (how) => {
    const kpx = await startKpx({ standIn: QUICK });
    expect(await run(kpx, 'start', 'alice')).toMatchObject({ code: 0, stdout: 'alice: the executor is being started\n' });
    await kpx.brokerLog.line({ user: 'alice', state: 'ready' });
    expect(await run(kpx, 'stop', 'alice', ...how)).toMatchObject({
      code: 0,
      stdout: `alice: the executor is ending (${how.length > 0 ? 'by force' : 'SIGTERM; by force in 90 s at most'}). The user's next job starts another one.\n`,
    });
    const none = { code: 69, stderr: 'there is no executor of "alice" on this host\n' };
    await expect.poll(() => run(kpx, 'stop', 'alice')).toMatchObject(none);
  });

  it('ends all executors once they are idle: one at work gets its jobs, and those that start later stay', async () => {
    const kpx = await startKpx({ standIn: QUICK, broker: { policy: { evict_idle_after: '3s' } } });
    for (const user of ['alice', 'bob']) {
      await publish(kpx, jobOf(user));
      await jobsDone(kpx, user, 1);
    }
    expect(await run(kpx, 'stop', '--all', '--when-idle')).toMatchObject({
      code: 0,
      stdout: '2 executors end after 3s without work. A job after that starts another one. kpxctl list shows which still run.\n',
    });
    await kpx.brokerLog.line({ user: 'alice', msg: 'ending an executor', reason: 'an operator wants it ended, and it is idle' });
    await expect.poll(async () => (await run(kpx, 'explain', 'alice')).stdout).toMatch(/^executor {3}none$/m);
    await publish(kpx, jobOf('alice', 'a2'));
    const [first, second] = await jobsDone(kpx, 'alice', 2);
    expect(second?.pid).not.toBe(first?.pid);
    expect((await run(kpx, 'explain', 'alice')).stdout).not.toContain('ended once it is idle');
  });

  it.each(['SIGTERM', 'SIGKILL'] as const)('ends executors once they are idle over a restart of the broker: %s', async (signal) => {
    const kpx = await startKpx({ standIn: QUICK, broker: { policy: { evict_idle_after: '5s' } } });
    for (const user of ['alice', 'bob']) {
      await publish(kpx, jobOf(user));
      await jobsDone(kpx, user, 1);
    }
    await run(kpx, 'stop', 'alice', '--when-idle');
    await kpx.endBroker(signal);
    await kpx.startBroker();
    await kpx.brokerLog.line({
      msg: 'an operator has ordered before the restart that these executors end once they are idle',
      executors: 1,
    });
    expect((await run(kpx, 'explain', 'alice')).stdout).toMatch(/^executor .*, ended once it is idle$/m);
    await kpx.brokerLog.line({ user: 'alice', msg: 'ending an executor', reason: 'an operator wants it ended, and it is idle' });
    expect((await run(kpx, 'explain', 'bob')).stdout).not.toContain('ended once it is idle');
  });

  it('ends none before the helper has said which executors run', async () => {
    const kpx = await startKpx();
    await kpx.endBroker();
    await kpx.endHelper();
    await kpx.startBroker({ wait: false });
    const notKnown = { code: 69, stderr: expect.stringContaining('The broker does not know yet which executors run') };
    await expect.poll(() => run(kpx, 'stop', '--all', '--when-idle')).toMatchObject(notKnown);
    expect(await run(kpx, 'stop', 'alice')).toMatchObject(notKnown);
  });

  it('says which way of ending executors is meant', async () => {
    const kpx = await startKpx();
    for (const [args, why] of [
      [[], 'Name a user, or say --all --when-idle.'],
      [['--all'], '--all needs --when-idle.'],
      [['alice', '--all', '--when-idle'], 'Name a user, or say --all --when-idle.'],
      [['alice', '--kill', '--when-idle'], 'take one of the two'],
    ] as const)
      expect([args, await run(kpx, 'stop', ...args)]).toEqual([
        args,
        expect.objectContaining({ code: 64, stderr: expect.stringContaining(why) }),
      ]);
    expect(await run(kpx, 'stop', 'alice', '--when-idle')).toMatchObject({
      code: 69,
      stderr: 'there is no executor of "alice" on this host\n',
    });
    expect((await run(kpx, 'stop', '--all', '--when-idle')).stdout).toBe('No executor runs here.\n');
  });

  it('says the place in line of a user for whom there is no room', async () => {
    const kpx = await startKpx({ standIn: QUICK, broker: { policy: { max_executors: 1 } } });
    await run(kpx, 'start', 'alice');
    await kpx.brokerLog.line({ user: 'alice', state: 'ready' });
    for (const [place, user] of ['bob', 'carol'].entries())
      expect((await run(kpx, 'start', user)).stdout).toBe(
        `${user} is in line, place ${place + 1}: 1 of 1 executors run (max_executors)\nIt stays in line until there is room, for a day at most; a restart of the broker forgets it. kpxctl start ${user} --cancel takes it back.\n`,
      );
    expect((await run(kpx, 'explain', 'carol')).stdout).toMatch(/^state {6}queued, place 2 in line$/m);
    expect((await run(kpx, 'show', 'carol')).stdout).toMatch(/^state {6}queued, place 2 in line, for \d+s$/m);
    // Nobody waits, as there is no job.
    expect((await run(kpx, 'status', '--check')).stdout).toMatch(/^All is well: 1 of 1 executors, nobody waits$/m);
    expect((await run(kpx, 'start', 'bob', '--cancel')).stdout).toBe('bob: no executor is started without a job any more.\n');
    expect(await run(kpx, 'start', 'bob', '--cancel')).toMatchObject({
      code: 69,
      stderr: 'no start of the executor of "bob" is planned or in line on this host\n',
    });
    await run(kpx, 'stop', 'alice');
    await kpx.brokerLog.line({ user: 'carol', state: 'ready' });
    expect(kpx.brokerLog.lines.filter(({ user, msg }) => user === 'bob' && msg === 'starting an executor')).toEqual([]);
  });

  it('works while broker.toml has a line that is no TOML, and says which', async () => {
    const kpx = await startKpx();
    writeFileSync(kpx.brokerConfigFile, `[policy]\nmax_executors = = 3\n[control]\nsocket = "${kpx.controlSocket}"\n[log]\n`);
    const said = expect.stringMatching(/broker\.toml: line 2[\s\S]*\nThe running broker has an earlier file in force: asking it at /);
    for (const verb of [['status'], ['list'], ['show', 'alice'], ['explain', 'alice'], ['drain'], ['resume'], ['dead-letters', 'list']])
      expect([verb, await run(kpx, ...verb)]).toEqual([verb, expect.objectContaining({ code: 0, stderr: said })]);
    expect(await run(kpx, 'reload')).toMatchObject({ code: 69, stderr: expect.stringContaining('line 2') });
    expect((await run(kpx, 'status')).stdout).toContain('a reload would refuse it:');
    // Without its own section the file says what it says by default, whatever else is wrong.
    writeFileSync(kpx.brokerConfigFile, 'max_executors = = 3\n');
    expect(await run(kpx, 'list')).toMatchObject({ code: 69, stderr: expect.stringContaining('/run/kpx-broker/control.sock') });
  });

  it('is used by nobody without a right to the socket, and judges names before it asks', async () => {
    const kpx = await startKpx();
    writeFileSync(`${kpx.etc}/public.toml`, `[control]\nsocket = "${kpx.controlSocket}"\n`, { mode: 0o644 });
    expect(await runKpxctl(['drain', '--config', `${kpx.etc}/public.toml`], idsOf('bob'))).toMatchObject({ code: 69 });
    // Who may not read where the socket is looks where it is by default.
    expect(await runKpxctl(['drain', '--config', kpx.brokerConfigFile], idsOf('bob'))).toMatchObject({
      code: 69,
      stderr: expect.stringContaining('/run/kpx-broker/control.sock'),
    });
    expect(await run(kpx, 'start', 'a  b')).toMatchObject({ code: 64 });
    expect(kpx.brokerLog.lines.filter(({ draining }) => draining !== undefined)).toEqual([]);
  });
});

it('kpxctl drives setup says in a sentence that systemd does not answer', async () => {
  const { configFile } = installHelper({ config: { executor: { launcher: 'systemd', command: [] } } });
  const { code, stdout, stderr } = await runKpxctl(['drives', 'setup', '--helper-config', configFile]);
  expect([code, stdout, stderr]).toEqual([69, '', expect.stringMatching(/^systemd does not answer: /)]);
  expect(stderr).not.toMatch(/^ +at /m);
});
