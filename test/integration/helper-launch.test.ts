import { chmodSync, copyFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { EXECUTORS_PER_PAGE, ExecutorState, SpawnOutcome, StopMode } from '@kpx/protocol';
import { describe, expect, it } from 'vitest';
import { CROWD, PEOPLE } from '../fixtures/accounts.js';
import { eventually } from '../fixtures/eventually.js';
import { HelperConnection } from '../fixtures/helper-connection.js';
import { type HelperInstallation, idsOf } from '../fixtures/helper-installation.js';
import { argumentsOf, childrenOf, executorEnvironmentOf, isGone, processesOfUids, statOf } from '../fixtures/process.js';
import { installHelper, rawAccounts, refusal, startHelper, waitingLookUp } from './installed-helper.js';

const withExecutor = (executor: Record<string, unknown>) => startHelper({ config: { executor } });

/** Ends only by force. */
const STUBBORN = ['/bin/sh', '-c', 'trap "" TERM; while :; do /usr/bin/sleep 1000; done'];

const A_WHILE = '/usr/bin/sleep 0.3';

/** A helper whose setpriv takes its time, and then does as told. Homes exist already, or they would be made with it. */
async function withSlowStart(then: string, executor: Record<string, unknown> = {}, takesTime = A_WHILE) {
  const installation = installHelper({ config: { executor } });
  await installation.startHelper();
  const before = await HelperConnection.greeted(installation.socket);
  for (const user of ['alice', 'bob']) expect(await before.prepare(user)).toMatchObject({ kind: 'userPrepared' });
  await installation.endHelper();
  await installation.startHelper({ wrap: installation.inPlaceOf('/usr/bin/setpriv', `${takesTime}; ${then}`) });
  return { installation, connection: await HelperConnection.greeted(installation.socket) };
}

const pidOf = ({ helper }: HelperInstallation) => helper?.pid ?? 0;
const childrenWith = (installation: HelperInstallation, argument: string) => {
  const found = childrenOf(pidOf(installation)).filter((child) => argumentsOf(child).includes(argument));
  return found.length > 0 && found;
};
const gone = (...pids: number[]) => eventually(`${pids} are gone`, () => pids.every(isGone));
const ended = ({ helperLog }: HelperInstallation, osUser: string, from = 0) =>
  helperLog.line({ event: 'executor ended', os_user: osUser }, { from });

/** A shell sets its traps some time after its exec: no signal may come before. */
const ignoresTerm = (pid: number) => eventually(`${pid} ignores SIGTERM`, () => childrenOf(pid).length > 0);

describe('SpawnExecutor', () => {
  it('starts one process, however many ask for it at once', async () => {
    const { connection, installation } = await startHelper();
    const answers = await Promise.all(Array.from({ length: 20 }, () => connection.spawn('alice')));
    const outcomes = answers.map((answer) => (answer.kind === 'executorSpawned' ? answer.body.outcome : answer));
    expect(outcomes.filter((outcome) => outcome === SpawnOutcome.started)).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === SpawnOutcome.alreadyRunning)).toHaveLength(19);
    const pids = new Set(answers.map((answer) => answer.kind === 'executorSpawned' && answer.body.executor.mainPid));
    expect(childrenOf(pidOf(installation))).toEqual([...pids]);
  });

  it('answers with what runs', async () => {
    const { connection } = await startHelper();
    const before = Date.now();
    const executor = await connection.spawned('alice');
    expect(executor).toEqual({
      osUser: 'alice',
      uid: idsOf('alice').uid,
      knimeUsers: ['alice'],
      state: ExecutorState.running,
      sinceMs: expect.any(Number),
      mainPid: expect.any(Number),
      lastExit: '',
      cpuMs: 0,
    });
    expect(executor.sinceMs).toBeGreaterThanOrEqual(before);
    expect(executor.sinceMs).toBeLessThanOrEqual(Date.now());
    await expect.poll(() => argumentsOf(executor.mainPid)).toEqual(['/usr/bin/sleep', 'infinity']);
  });

  it('starts it again after its end', async () => {
    const { connection, installation } = await startHelper();
    const first = await connection.spawned('alice');
    process.kill(first.mainPid, 'SIGKILL');
    await ended(installation, 'alice');
    expect(await connection.spawn('alice')).toMatchObject({ body: { outcome: SpawnOutcome.started } });
    expect((await connection.spawned('alice')).mainPid).not.toBe(first.mainPid);
  });

  it('says how a command ended that can no longer be run, or is gone', async () => {
    const installation = installHelper();
    const command = `${installation.srv}/command`;
    copyFileSync('/usr/bin/sleep', command);
    installation.writeHelperConfig({ executor: { command: [command, 'infinity'] } });
    await installation.startHelper();
    const connection = await HelperConnection.greeted(installation.socket);
    chmodSync(command, 0o600);
    expect(await connection.spawn('alice')).toEqual(refusal('HOST_FAILED', 'the executor ended at once: exit 126'));
    rmSync(command);
    expect(await connection.spawn('alice')).toEqual(refusal('HOST_FAILED', 'the executor ended at once: exit 127'));
    expect(await connection.list()).toMatchObject({
      body: { executors: [{ state: ExecutorState.exited, lastExit: 'exit 127', mainPid: 0 }] },
    });
  });

  it('says how a command ended that ended at once: in the answer, or in the list when it was seen running', async () => {
    const { connection, installation } = await withExecutor({ command: ['/bin/sh', '-c', 'exit 3'] });
    for (let round = 0; round < 10; round++) {
      const from = installation.helperLog.lines.length;
      const answer = await connection.spawn('alice');
      expect(await ended(installation, 'alice', from)).toMatchObject({ last_exit: 'exit 3' });
      if (answer.kind === 'error') expect(answer).toEqual(refusal('LAUNCH_FAILED', 'the executor ended at once: exit 3'));
      else expect(answer).toMatchObject({ body: { outcome: SpawnOutcome.started, executor: { osUser: 'alice' } } });
      expect(await connection.list()).toMatchObject({ body: { executors: [{ state: ExecutorState.exited, lastExit: 'exit 3' }] } });
    }
    expect(childrenOf(pidOf(installation))).toEqual([]);
  });

  // The second is what setpriv is between its change of uid and its exec, for longer than it takes to look.
  it.each([
    ['root', 'exit 9'],
    [
      'setpriv',
      'd=$(dirname $real); umask 022; mkdir -p $d/user; cp /bin/sh $d/user/setpriv; exec $real --reuid=$2 -- $d/user/setpriv -c "sleep 0.3; exit 9"',
    ],
  ])('does not say that it runs while it is still %s', async (_what, then) => {
    const { connection, installation } = await withSlowStart(then);
    expect(await connection.spawn('alice')).toEqual(refusal('LAUNCH_FAILED', 'the executor ended at once: exit 9'));
    expect(childrenOf(pidOf(installation))).toEqual([]);
  });

  it('refuses an unknown profile', async () => {
    const { connection, installation } = await startHelper();
    expect(await connection.spawn('alice', 'large')).toEqual(refusal('PROFILE_UNKNOWN', 'there is no executor profile "large"'));
    expect(childrenOf(pidOf(installation))).toEqual([]);
  });

  it('refuses when the MSGQ file is no longer what it must be, without saying what is in it', async () => {
    const { connection, installation } = await startHelper();
    chmodSync(installation.msgqFile, 0o644);
    expect(await connection.spawn('alice')).toEqual(refusal('DIRECTORY_UNSAFE', `${installation.msgqFile} has mode 644, expected 600`));
    chmodSync(installation.msgqFile, 0o600);
    writeFileSync(installation.msgqFile, 'guest:secret\n');
    const refused = await connection.spawn('alice');
    expect(refused).toEqual(refusal('HOST_FAILED', `${installation.msgqFile} does not hold one line that starts with amqp://`));
    expect(readdirSync(installation.workspaces)).toEqual([]); // nothing made for a start that cannot be
    expect(JSON.stringify(refused)).not.toContain('secret');
    expect(childrenOf(pidOf(installation))).toEqual([]);
  });

  it('uses the MSGQ URL of the moment: a new password needs no restart', async () => {
    const { connection, installation } = await startHelper();
    await connection.spawned('alice');
    writeFileSync(installation.msgqFile, 'amqps://executor:new@127.0.0.1/knime');
    const { mainPid } = await connection.spawned('bob');
    expect((await executorEnvironmentOf(mainPid)).KNIME_EXECUTOR_MSGQ).toBe('amqps://executor:new@127.0.0.1/knime');
  });
});

describe('max_executors', () => {
  it('is a ceiling for what runs, not for what has ended', async () => {
    const { connection, installation } = await withExecutor({ max_executors: 2 });
    const { mainPid } = await connection.spawned('alice');
    await connection.spawned('bob');
    expect(await connection.spawn('carol')).toEqual(refusal('LIMIT_REACHED', 'max_executors of the helper is 2'));
    expect(await connection.spawn('alice')).toMatchObject({ body: { outcome: SpawnOutcome.alreadyRunning } });
    process.kill(mainPid, 'SIGKILL');
    await ended(installation, 'alice');
    expect(await connection.spawn('carol')).toMatchObject({ body: { outcome: SpawnOutcome.started } });
    expect(await connection.spawn('alice')).toEqual(refusal('LIMIT_REACHED'));
  });

  it('counts an executor once while it is being started', async () => {
    const { connection } = await withSlowStart('exec $real "$@"', { max_executors: 2 });
    const answers = await Promise.all(['alice', 'bob'].map((user) => connection.spawn(user)));
    expect(answers).toMatchObject(Array(2).fill({ body: { outcome: SpawnOutcome.started } }));
  });

  it('is reached exactly when all are asked for at once', async () => {
    const { connection, installation } = await withExecutor({ max_executors: 10 });
    const answers = await Promise.all(CROWD.map((user) => connection.spawn(user)));
    expect(answers.filter(({ kind }) => kind === 'executorSpawned')).toHaveLength(10);
    expect(answers.filter(({ kind }) => kind === 'error')).toEqual(Array(10).fill(refusal('LIMIT_REACHED')));
    expect(childrenOf(pidOf(installation))).toHaveLength(10);
  });
});

describe('StopExecutor', () => {
  it('asks the executor to end, and the list tells how it did', async () => {
    const { connection, installation } = await startHelper();
    const { mainPid } = await connection.spawned('alice');
    const { uid } = idsOf('alice');
    expect(await connection.stop('alice')).toMatchObject({ kind: 'executorStopped', body: { osUser: 'alice', uid } });
    expect(await ended(installation, 'alice')).toMatchObject({ uid, pid: mainPid, last_exit: 'signal SIGTERM' });
    const last = { osUser: 'alice', uid, state: ExecutorState.exited, mainPid: 0, lastExit: 'signal SIGTERM' };
    expect(await connection.list()).toMatchObject({ body: { executors: [last], more: false } });
  });

  it('ends by force what does not end when asked, children included', async () => {
    const { connection, installation } = await withExecutor({ command: STUBBORN });
    const { mainPid } = await connection.spawned('alice');
    await ignoresTerm(mainPid);
    expect(await connection.stop('alice', StopMode.graceful)).toMatchObject({ kind: 'executorStopped' });
    expect(await connection.list()).toMatchObject({ body: { executors: [{ state: ExecutorState.stopping, mainPid }] } });
    const children = await eventually('it goes on', () => childrenOf(mainPid).length > 0 && childrenOf(mainPid));
    expect(await connection.stop('alice', StopMode.kill)).toMatchObject({ kind: 'executorStopped' });
    expect(await ended(installation, 'alice')).toMatchObject({ last_exit: 'signal SIGKILL' });
    await gone(mainPid, ...children);
  });

  it('answers NOT_RUNNING for what kpx has not started, or what has ended', async () => {
    const { connection, installation } = await startHelper();
    expect(await connection.stop('alice')).toEqual(refusal('NOT_RUNNING', 'no executor of "alice" runs'));
    await connection.spawned('alice');
    await connection.stop('alice', StopMode.kill);
    await ended(installation, 'alice');
    expect(await connection.stop('alice', StopMode.kill)).toEqual(refusal('NOT_RUNNING'));
  });

  it('reaches the executor of an account that is gone by now', async () => {
    const accounts = rawAccounts();
    const { uid } = accounts.account('leaver');
    const { connection, installation } = await startHelper();
    const { mainPid } = await connection.spawned('leaver');
    accounts.remove();
    expect(await connection.prepare('leaver')).toEqual(refusal('ACCOUNT_UNKNOWN'));
    expect(await connection.stop('leaver')).toMatchObject({ kind: 'executorStopped', body: { osUser: 'leaver', uid } });
    expect(await ended(installation, 'leaver')).toMatchObject({ pid: mainPid, last_exit: 'signal SIGTERM' });
  });

  it('does not reach another user’s executor', async () => {
    const { connection } = await startHelper();
    const { mainPid } = await connection.spawned('bob');
    expect(await connection.stop('bob_temp', StopMode.kill)).toEqual(refusal('NOT_RUNNING'));
    expect(['R', 'S', 'D']).toContain(statOf(mainPid)?.state); // proc_pid_stat(5): no zombie, and there
  });
});

describe('an executor that does not become its user', () => {
  it('by the deadline is ended, and said to have been', async () => {
    const installation = installHelper();
    // Instead of setpriv, for executors only: the skeleton is copied with it, too.
    const hangs = 'case "$*" in *--init-groups*) exec /usr/bin/sleep 98765 ;; esac; exec $real "$@"';
    await installation.startHelper({ wrap: installation.inPlaceOf('/usr/bin/setpriv', hangs) });
    const connection = await HelperConnection.greeted(installation.socket);
    const start = connection.spawn('alice');
    const [child = 0] = await eventually('it hangs', () => childrenWith(installation, '98765'));
    expect(await start).toEqual(refusal('DEADLINE_EXCEEDED', 'the executor was not running in time and has been ended'));
    await gone(child);
    expect(await connection.list()).toMatchObject({ body: { executors: [{ osUser: 'alice', lastExit: 'signal SIGKILL' }] } });
  });
});

describe('ListExecutors', () => {
  it('comes in pages that fit a packet, in a stable order', async () => {
    const { connection } = await startHelper();
    const everybody = [...PEOPLE].slice(0, EXECUTORS_PER_PAGE + 2);
    expect(await connection.list()).toMatchObject({ body: { executors: [], more: false } });
    await Promise.all(everybody.map((user) => connection.spawned(user)));
    const pages = [await connection.list(1), await connection.list(2), await connection.list(3)];
    const names = pages.map((page) => (page.kind === 'executorPage' ? page.body.executors.map(({ osUser }) => osUser as string) : page));
    everybody.sort();
    expect(names).toEqual([everybody.slice(0, EXECUTORS_PER_PAGE), everybody.slice(EXECUTORS_PER_PAGE), []]);
    expect(pages).toMatchObject([{ body: { more: true } }, { body: { more: false } }, { body: { more: false } }]);
  });
});

describe('executors that have ended', () => {
  it('are reaped, however they ended (defect: children are never reaped)', async () => {
    const { connection, installation } = await startHelper();
    const pids = (await Promise.all(CROWD.map((user) => connection.spawned(user)))).map(({ mainPid }) => mainPid);
    pids.forEach((pid, index) => void process.kill(pid, index % 2 === 0 ? 'SIGKILL' : 'SIGTERM'));
    for (const user of CROWD) await ended(installation, user);
    expect(childrenOf(pidOf(installation)).map(statOf)).toEqual([]);
    await gone(...pids);
  });
});

describe('when the helper ends', () => {
  it('by SIGTERM, its executors have ended before it, and it exits with 0', async () => {
    const { connection, installation } = await startHelper();
    const pids = (await Promise.all(['alice', 'bob', 'carol'].map((user) => connection.spawned(user)))).map(({ mainPid }) => mainPid);
    expect(await installation.endHelper('SIGTERM')).toBe(0);
    expect(pids.every(isGone)).toBe(true);
    for (const os_user of ['alice', 'bob', 'carol']) {
      expect(installation.helperLog.lines).toContainEqual(expect.objectContaining({ event: 'executor ended', os_user }));
    }
    expect(await connection.closed).toBe('the peer closed the connection');
  });

  it('by SIGTERM, an executor that does not end when asked is ended by force, and no other is started meanwhile', async () => {
    const installation = installHelper({ config: { executor: { command: STUBBORN } } });
    const lookUp = waitingLookUp(installation, 'bob');
    await installation.startHelper({ wrap: lookUp.wrap });
    const connection = await HelperConnection.greeted(installation.socket);
    const { mainPid } = await connection.spawned('alice');
    await ignoresTerm(mainPid);
    connection.spawn('bob').catch(() => {}); // nobody waits for the answer
    const goOn = await lookUp.begun();
    const code = installation.endHelper('SIGTERM');
    await connection.closed;
    await goOn();
    expect(await code).toBe(0);
    expect(isGone(mainPid)).toBe(true);
    const { lines } = installation.helperLog;
    expect(lines).toContainEqual(expect.objectContaining({ os_user: 'bob', code: 'LAUNCH_FAILED', reason: 'the helper is about to end' }));
    expect(lines).toContainEqual(expect.objectContaining({ os_user: 'alice', last_exit: 'signal SIGKILL' }));
  });

  it('by SIGTERM in the middle of many starts, none of them is left', async () => {
    const { connection, installation } = await startHelper();
    const pid = pidOf(installation);
    const starts = CROWD.map((user) => connection.spawn(user).catch(() => undefined));
    await eventually('some have been started', () => childrenOf(pid).some((child) => argumentsOf(child)[0] === '/usr/bin/sleep'));
    const seen = childrenOf(pid);
    expect(await installation.endHelper('SIGTERM')).toBe(0);
    await Promise.all(starts);
    await gone(...seen);
    const { uid } = idsOf('u01');
    await eventually('no executor is left', () => processesOfUids(uid, uid + CROWD.length - 1).length === 0);
  });

  it('by SIGTERM, an executor that is about to become its user does not outlive it', async () => {
    const { connection, installation } = await withSlowStart('exec $real "$@"', {}, '/usr/bin/sleep infinity');
    const start = connection.spawn('alice').catch((error: Error) => error.message);
    const [child = 0] = await eventually('setpriv runs', () => childrenWith(installation, '--reuid'));
    const reached = childrenOf(child);
    expect(await installation.endHelper('SIGTERM')).toBe(0);
    await gone(child, ...reached);
    expect(await start).toBe('no answer to spawnExecutor: the peer closed the connection');
  });

  it('by SIGKILL, its executors end by the parent death signal', async () => {
    const { connection, installation } = await startHelper();
    const executors = await Promise.all(['alice', 'bob'].map((user) => connection.spawned(user)));
    await installation.endHelper('SIGKILL');
    await gone(...executors.map(({ mainPid }) => mainPid));
  });
});
