import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, expect, it } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { idsOf, type Kpx } from '../fixtures/kpx.js';
import { jobsDone, publish, runKpxctl, startKpx } from './installed-kpx.js';

const QUICK = { BOOT_MS: '50' };

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

  it('says the place in line of a user for whom there is no room', async () => {
    const kpx = await startKpx({ standIn: QUICK, broker: { policy: { max_executors: 1 } } });
    await run(kpx, 'start', 'alice');
    await kpx.brokerLog.line({ user: 'alice', state: 'ready' });
    for (const [place, user] of ['bob', 'carol'].entries())
      expect((await run(kpx, 'start', user)).stdout).toBe(`${user} is in line, place ${place + 1}: 1 of 1 executors run (max_executors)\n`);
    expect((await run(kpx, 'explain', 'carol')).stdout).toMatch(/^state {6}queued, place 2 in line$/m);
    expect((await run(kpx, 'show', 'carol')).stdout).toMatch(/^state {6}queued, place 2 in line, for \d+s$/m);
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
