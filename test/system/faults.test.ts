import { describe, expect, it, onTestFinished } from 'vitest';
import { BROKER, SOCKET, unitOf, WORKSPACES } from '../fixtures/booted/kpx.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { startKpx } from './installed-kpx.js';
import { bootedLdap, bootedMachine, dropIn, ON_EACH_DEBIAN } from './shared-machine.js';

const machine = bootedMachine();
const ldap = bootedLdap();

/** Quick to give up, so that a test does not have to wait. */
const IMPATIENT = { policy: { start_attempts: 2, backoff_initial: '200ms', backoff_max: '1s' } };

const mainPid = async (unit: string) => Number((await machine.show(unit, 'MainPID')).MainPID);

async function helperPid(): Promise<number> {
  const { stdout } = await machine.run(['/usr/bin/pgrep', '--full', 'kpx-privhelper.cjs']);
  return Number(stdout.trim());
}

describe('the broker', ON_EACH_DEBIAN, () => {
  it.each(['restarted', 'killed'])('%s: executors live on, and it takes them up again', async (what) => {
    const kpx = await startKpx();
    await kpx.publish(jobOf('ada', `${what}-1`));
    const first = await kpx.jobDone('ada', `${what}-1`);
    const before = await mainPid(BROKER);
    await kpx.mark();
    if (what === 'restarted') await machine.systemctl('restart', BROKER);
    else await machine.systemctl('kill', '--signal=SIGKILL', BROKER);
    await kpx.inUse();
    expect(await mainPid(BROKER)).not.toBe(before);
    await kpx.publish(jobOf('ada', `${what}-2`));
    expect(await kpx.jobDone('ada', `${what}-2`)).toMatchObject({ pid: first.pid });
  });
});

describe('the helper', ON_EACH_DEBIAN, () => {
  it('killed in the middle of a request: the request is made again by the next one', async () => {
    const kpx = await startKpx();
    // The look-up of the account hangs for as long as SSSD does.
    await machine.systemctl('kill', '--kill-whom=all', '--signal=SIGSTOP', 'sssd.service');
    onTestFinished(() => machine.systemctl('kill', '--kill-whom=all', '--signal=SIGCONT', 'sssd.service').then(() => {}));
    await kpx.mark();
    await kpx.publish(jobOf('ria', 'r1'));
    await expect.poll(async () => (await machine.run(['/usr/bin/pgrep', '--exact', 'getent'], { allowFailure: true })).exitCode).toBe(0);
    await machine.run(['/usr/bin/kill', '-KILL', `${await helperPid()}`]);
    expect(await kpx.brokerSays({ msg: 'lost the helper; connecting again' })).toMatchObject({ level: 40 });
    await kpx.brokerSays({ msg: 'executor', user: 'ria', state: 'backoff' });
    await machine.systemctl('kill', '--kill-whom=all', '--signal=SIGCONT', 'sssd.service');
    await kpx.jobDone('ria', 'r1');
    expect(await machine.show(SOCKET, 'ActiveState', 'NConnections')).toEqual({ ActiveState: 'active', NConnections: '1' });
  });
});

describe('an executor', () => {
  it('that is killed: the broker sees it, and the next job starts it again', ON_EACH_DEBIAN, async () => {
    const kpx = await startKpx();
    await kpx.publish(jobOf('sam', 's1'));
    const first = await kpx.jobDone('sam', 's1');
    await kpx.mark();
    await machine.systemctl('kill', '--signal=SIGKILL', unitOf('sam'));
    expect(await kpx.brokerSays({ user: 'sam', state: 'backoff' })).toMatchObject({ reason: expect.stringContaining('signal SIGKILL') });
    await kpx.publish(jobOf('sam', 's2'));
    expect((await kpx.jobDone('sam', 's2')).pid).not.toBe(first.pid);
  });

  it('that has ended cleanly is no failure: the next job starts it again at once', async () => {
    const kpx = await startKpx();
    await kpx.publish(jobOf('sam', 's3'));
    await kpx.jobDone('sam', 's3');
    await kpx.mark();
    await machine.systemctl('stop', unitOf('sam'));
    expect(await kpx.brokerSays({ user: 'sam', state: 'idle' })).toMatchObject({ reason: 'the executor ended: no failure is known' });
    await kpx.publish(jobOf('sam', 's4'));
    await kpx.jobDone('sam', 's4');
  });

  it('that ends at once: tried again, then its jobs are parked with how it ended; its own words stay in the journal', async () => {
    const kpx = await startKpx({ broker: IMPATIENT, standIn: { FAIL: '42' } });
    await kpx.publish(jobOf('tess', 't1'));
    const [parked] = await kpx.deadLetters(1);
    expect(parked?.headers).toMatchObject({ 'x-kpx-reason': 'START_FAILED', 'x-kpx-detail': expect.stringContaining('exit 42') });
    expect(parked?.headers['x-kpx-detail']).not.toContain('told to fail');
    await machine.waitForJournal('its words', [`--unit=${unitOf('tess')}`], ({ MESSAGE }) => MESSAGE === 'executor: told to fail');
  });

  it.each([
    [
      'a program that is not there',
      '[Service]\nExecStart=\nExecStart=/opt/knime/missing\n',
      'exit 203, the program of ExecStart= cannot be run',
    ],
    ['a working directory that is not there', '[Service]\nWorkingDirectory=/nowhere\n', 'exit 200'],
  ])('whose drop-in names %s: handed back, for another host, with systemd’s exit code', ON_EACH_DEBIAN, async (_what, text, code) => {
    await dropIn(machine, unitOf('uma'), text);
    const kpx = await startKpx({ broker: IMPATIENT });
    await kpx.publish(jobOf('uma', 'u1'));
    const reason = `HOST_FAILED: kpx-executor@uma.service did not start: result exit-code, ${code}: see journalctl`;
    expect(await kpx.brokerSays({ user: 'uma', state: 'backoff' })).toMatchObject({ reason: expect.stringContaining(reason) });
    const waiting = async () => (await kpx.vhost.queueDepth('kpx.delay.knime-jobs.2000ms'))?.messages;
    await expect.poll(waiting, { timeout: 10_000 }).toBe(1);
    expect(await kpx.helperSays({ verb: 'spawnExecutor', code: 'HOST_FAILED' })).toMatchObject({ os_user: 'uma', decision: 'refused' });
  });

  it.each(['root', 'ben'])(
    'whose drop-in names another account, %s: ended at once, parked, and it is said whose it was',
    async (account) => {
      const uidOf = async (name: string) => (await machine.run(['/usr/bin/id', '--user', name])).stdout.trim();
      // The stand-in would end by itself, soon: its workspace is another's.
      await dropIn(machine, unitOf('uma'), `[Service]\nUser=${account}\nExecStart=\nExecStart=/usr/bin/sleep infinity\n`);
      const kpx = await startKpx({ broker: IMPATIENT });
      await kpx.publish(jobOf('uma', 'u3'));
      const [parked] = await kpx.deadLetters(1);
      const detail = `LAUNCH_FAILED: kpx-executor@uma.service ran as uid ${await uidOf(account)}, expected ${await uidOf('uma')}, and has been ended`;
      expect(parked?.headers['x-kpx-detail']).toContain(detail);
      await expect.poll(() => mainPid(unitOf('uma'))).toBe(0);
    },
  );

  it('whose drop-in has a typo: systemd says so, and the executor runs without it', ON_EACH_DEBIAN, async () => {
    await dropIn(machine, unitOf('uma'), '[Service]\nMemoryMx=8G\n');
    const kpx = await startKpx();
    await kpx.publish(jobOf('uma', 'u1'));
    await kpx.jobDone('uma', 'u1');
    const said = ({ MESSAGE }: { MESSAGE: string }) => MESSAGE.includes('MemoryMx');
    await machine.waitForJournal('the typo', [], said);
  });

  it(
    'whose drop-in adds a second ExecStart= cannot be loaded: handed back, and the message says where to look',
    ON_EACH_DEBIAN,
    async () => {
      await dropIn(machine, unitOf('uma'), '[Service]\nExecStart=/opt/knime/another\n');
      const kpx = await startKpx({ broker: IMPATIENT });
      await kpx.publish(jobOf('uma', 'u2'));
      const reason =
        "HOST_FAILED: systemd cannot load kpx-executor@uma.service (bad-setting): see systemctl status 'kpx-executor@uma.service'";
      expect(await kpx.brokerSays({ user: 'uma', state: 'backoff' })).toMatchObject({ reason: expect.stringContaining(reason) });
    },
  );
});

describe('a user', () => {
  it('who is deleted from LDAP while their executor runs, with account_lost = "warn": it goes on, can be stopped, is not started again', async () => {
    await ldap.addUser('leaver', { uid: 22_001 });
    const kpx = await startKpx({ broker: { ...IMPATIENT, policy: { ...IMPATIENT.policy, account_lost: 'warn' } } });
    await kpx.publish(jobOf('leaver', 'l1'));
    const first = await kpx.jobDone('leaver', 'l1');
    await ldap.deleteUser('leaver');
    await kpx.publish(jobOf('leaver', 'l2'));
    expect((await kpx.jobDone('leaver', 'l2')).pid).toBe(first.pid);
    await kpx.mark();
    await machine.systemctl('restart', BROKER);
    await kpx.inUse();
    await kpx.publish(jobOf('leaver', 'l3'));
    await kpx.jobDone('leaver', 'l3');
    await machine.systemctl('stop', unitOf('leaver'));
    await kpx.brokerSays({ user: 'leaver', state: 'idle' });
    await kpx.publish(jobOf('leaver', 'l4'));
    const [parked] = await kpx.deadLetters(1);
    expect(parked).toMatchObject({ json: { job: 'l4' } });
    expect(parked?.headers['x-kpx-detail']).toContain('ACCOUNT_UNKNOWN: there is no account "leaver" on this machine');
  });
});

describe('the name service', ON_EACH_DEBIAN, () => {
  it('stopped: running executors are not affected, new users wait and are served when it is back', async () => {
    // Two failures of the user's own kind would be enough to park the job.
    const kpx = await startKpx({ broker: { policy: { backoff_initial: '100ms', backoff_max: '200ms', start_attempts: 2 } } });
    await kpx.publish(jobOf('vic', 'v1'));
    await kpx.jobDone('vic', 'v1');
    // Stopped alone it would still answer from its cache in shared memory.
    await machine.run(['/usr/sbin/sss_cache', '--everything']);
    await machine.systemctl('stop', 'sssd.service');
    onTestFinished(() => machine.systemctl('start', 'sssd.service').then(() => {}));
    await machine.run(['/usr/bin/find', '/var/lib/sss/mc', '-type', 'f', '-delete']);
    await kpx.publish(jobOf('vic', 'v2'), jobOf('wes', 'w1'));
    await kpx.jobDone('vic', 'v2');
    for (let attempt = 0; attempt < 3; attempt++) {
      const said = await kpx.brokerSays({ user: 'wes', state: 'backoff' });
      expect(said).toMatchObject({ reason: expect.stringContaining('ACCOUNT_LOOKUP_FAILED: the name service does not answer') });
      await kpx.mark();
    }
    await machine.systemctl('start', 'sssd.service');
    await kpx.jobDone('wes', 'w1');
  });
});

describe('a file system', () => {
  it('that is full under the workspace parent: said so, and the jobs go on when there is room', async () => {
    const kpx = await startKpx({ broker: { policy: { backoff_initial: '500ms', backoff_max: '1s', start_attempts: 100 } } });
    await machine.systemctl('stop', BROKER);
    await machine.run(['/usr/bin/mount', '-t', 'tmpfs', '-o', 'size=1M,nr_inodes=2,mode=0755', 'kpx-full', WORKSPACES]);
    onTestFinished(() => machine.run(['/usr/bin/umount', '--lazy', WORKSPACES], { allowFailure: true }).then(() => {}));
    await machine.run(['/usr/bin/touch', `${WORKSPACES}/last-inode`]);
    await kpx.mark();
    await machine.systemctl('start', BROKER);
    await kpx.inUse();
    await kpx.publish(jobOf('xena', 'x1'));
    expect(await kpx.brokerSays({ user: 'xena', state: 'backoff' })).toMatchObject({
      reason: expect.stringContaining(`DIRECTORY_FAILED: ${WORKSPACES}/xena: ENOSPC`),
    });
    await machine.run(['/usr/bin/mount', '-o', 'remount,size=100M,nr_inodes=1000', WORKSPACES]);
    await kpx.jobDone('xena', 'x1');
    await kpx.stop();
  });

  it('that is read-only under the home parent: said so, nothing half made, and the jobs go on when it is writable', async () => {
    const kpx = await startKpx({ broker: { policy: { backoff_initial: '500ms', backoff_max: '1s', start_attempts: 100 } } });
    await machine.systemctl('stop', BROKER);
    await machine.run(['/usr/bin/mount', '-t', 'tmpfs', '-o', 'ro,size=10M,mode=0755', 'kpx-read-only', '/home']);
    onTestFinished(() => machine.run(['/usr/bin/umount', '--lazy', '/home'], { allowFailure: true }).then(() => {}));
    await kpx.mark();
    await machine.systemctl('start', BROKER);
    await kpx.inUse();
    await kpx.publish(jobOf('yan', 'y1'));
    expect(await kpx.brokerSays({ user: 'yan', state: 'backoff' })).toMatchObject({
      reason: expect.stringContaining('DIRECTORY_FAILED: /home/yan: EROFS'),
    });
    expect((await machine.run(['/usr/bin/ls', '-A', '/home'])).stdout).toBe('');
    // The helper has a view of the mounts of its own, from its start: the next connection sees the change.
    await machine.run(['/usr/bin/mount', '-o', 'remount,rw', '/home']);
    await machine.systemctl('restart', BROKER);
    await kpx.jobDone('yan', 'y1');
    await kpx.stop();
  });
});

describe('/run/kpx', () => {
  it('removed: the broker says what is missing, and two commands fix it; nothing is lost', async () => {
    const kpx = await startKpx({ broker: { policy: { backoff_initial: '500ms', backoff_max: '1s', start_attempts: 100 } } });
    await machine.remove('/run/kpx');
    await kpx.publish(jobOf('emil', 'e1'));
    expect(await kpx.brokerSays({ user: 'emil', state: 'backoff' })).toMatchObject({
      reason: expect.stringMatching(/DIRECTORY_FAILED: .*\/run\/kpx/),
    });
    await kpx.mark();
    await machine.systemctl('restart', '--no-block', BROKER); // it would wait for the helper
    expect(await kpx.brokerSays({ msg: 'the helper cannot be used; trying again' })).toMatchObject({
      reason: expect.stringContaining('there is no socket at /run/kpx/privhelper.sock'),
    });
    await machine.run(['/usr/bin/systemd-tmpfiles', '--create', 'kpx.conf']);
    await machine.systemctl('restart', SOCKET);
    await kpx.jobDone('emil', 'e1');
  });
});

describe('PID 1', ON_EACH_DEBIAN, () => {
  it('executed anew in the middle of a start: that is the fault of the host, and none of the attempts of the user', async () => {
    const kpx = await startKpx({ broker: { policy: { start_attempts: 1, backoff_initial: '200ms' } } });
    const reached = '/run/kpx-test-reexec';
    onTestFinished(() => machine.remove(reached));
    // The start waits here, until PID 1 has been executed anew.
    await dropIn(machine, unitOf('sam'), `[Service]\nExecStartPre=+/bin/sh -c 'test -e ${reached} || { touch ${reached}; sleep 5; }'\n`);
    await kpx.publish(jobOf('sam', 'reexec'));
    await eventually('the start is under way', () => machine.exists(reached));
    await machine.run(['/usr/bin/systemctl', 'daemon-reexec'], { allowFailure: true }); // it may see its own connection end
    expect(await kpx.helperSays({ verb: 'spawnExecutor', decision: 'refused' })).toMatchObject({
      code: 'HOST_FAILED',
      reason: expect.stringContaining('result success, no process'),
    });
    await kpx.jobDone('sam', 'reexec', 60_000);
    expect((await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages).toBe(0);
  });

  it('executed anew while executors start: none is started twice, no job is parked, and each is done', async () => {
    const kpx = await startKpx();
    const users = ['ada', 'quin', 'ria', 'sam'];
    for (const user of users) {
      await kpx.publish(jobOf(user, `reexec-${user}`));
      await machine.run(['/usr/bin/systemctl', 'daemon-reexec'], { allowFailure: true }); // it may see its own connection end
    }
    // A start that is in the way of it is one that failed: tried again, while the job may wait in a delay queue.
    const done = await Promise.all(users.map((user) => kpx.jobDone(user, `reexec-${user}`, 60_000)));
    for (const [index, user] of users.entries()) expect(done[index]?.pid).toBe(await mainPid(unitOf(user)));
    expect((await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages).toBe(0);
  });
});
