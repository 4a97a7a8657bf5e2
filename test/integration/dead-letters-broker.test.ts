import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { askBroker, tellBroker } from '../../packages/broker/src/control/client.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf, type TestJob } from '../fixtures/jobs.js';
import { idsOf, type Kpx } from '../fixtures/kpx.js';
import { answerAt } from '../fixtures/other-broker.js';
import { installKpx, publish, runKpxctl, startKpx } from './installed-kpx.js';

const ADMIN_GROUP = 'kpx-admin';
const QUEUE = 'kpx.dead-letter';
const NINE_MIB = 9 * 1024 * 1024;

const depth = async (kpx: Kpx) => (await kpx.vhost.queueDepth(QUEUE))?.messages ?? 0;
const parked = async (kpx: Kpx, ...jobs: TestJob[]) => {
  await publish(kpx, ...jobs);
  await eventually('the jobs are parked', async () => (await depth(kpx)) === jobs.length);
};

/** RabbitMQ counts how often somebody has looked, from 4.3 on twice. */
const withoutLooks = (text: string) => text.replace(/("?x-(?:delivery|acquired)-count"?:? *)\d+/g, '$1N');

/** A running broker with dead letters of mallory and eve. */
async function withParked(): Promise<Kpx> {
  const kpx = await startKpx({ broker: { policy: { deny: ['mallory', 'eve'] } } });
  await parked(kpx, jobOf('mallory', 'm1'), jobOf('mallory', 'm2'), jobOf('eve', 'e1'));
  return kpx;
}

const run = (kpx: Kpx, ...args: string[]) => runKpxctl(['dead-letters', ...args, '--config', kpx.brokerConfigFile]);

const listed = async (kpx: Kpx, ...args: string[]): Promise<{ id: string; job: string }[]> =>
  (await run(kpx, 'list', '--json', ...args)).stdout
    .split('\n')
    .filter(Boolean)
    .map((line: string): { id: string; job: string } => JSON.parse(line));

describe('kpxctl dead-letters, through the running broker', () => {
  it('is for members of kpx-admin, who may not read RabbitMQ’s password', async () => {
    execFileSync('/usr/sbin/groupadd', [ADMIN_GROUP]);
    onTestFinished(() => void execFileSync('/usr/sbin/groupdel', [ADMIN_GROUP]));
    const gid = Number(execFileSync('/usr/bin/getent', ['group', ADMIN_GROUP], { encoding: 'utf8' }).split(':')[2]);
    const kpx = await installKpx({ broker: { policy: { deny: ['mallory', 'eve'] } } });
    const admit = () => {
      chownSync(dirname(kpx.controlSocket), idsOf('kpx-broker').uid, gid);
      chmodSync(dirname(kpx.controlSocket), 0o2710); // as in systemd/kpx.tmpfiles
    };
    admit();
    await kpx.start();
    await parked(kpx, jobOf('mallory', 'm1'), jobOf('mallory', 'm2'), jobOf('eve', 'e1'));
    writeFileSync(`${kpx.etc}/public.toml`, `[control]\nsocket = "${kpx.controlSocket}"\n`, { mode: 0o644 });
    const asBob = (ids: object, ...args: string[]) =>
      runKpxctl(['dead-letters', ...args, '--config', `${kpx.etc}/public.toml`], { ...idsOf('bob'), ...ids });
    const admin = { gid };
    expect((await asBob(admin, 'list')).stdout).toMatch(/\n3 dead letters: USER_DENIED 3\n$/);
    const [{ id } = { id: '' }] = await listed(kpx, '--user', 'eve');
    expect((await asBob(admin, 'show', id)).stdout).toMatch(/^ {2}user +eve$/m);
    expect(await asBob(admin, 'drop', '--user', 'mallory', '--yes')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^dropped .*\ndropped .*\nDropped: 2 of 2 dead letters\.\n$/),
    });
    await kpx.brokerLog.line({ msg: 'an operator replays or drops dead letters', way: 'drop', user: 'mallory', count: 2 });
    await kpx.reload({ policy: { deny: [] } });
    admit();
    expect(await asBob(admin, 'replay', id)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/\nReplayed: 1 of 1 dead letter\.\n$/),
    });
    expect(await depth(kpx)).toBe(0);
    expect(await asBob({}, 'list')).toMatchObject({ code: 78, stdout: '' });
  });

  it('says the same as without the broker', async () => {
    const kpx = await withParked();
    const [{ id } = { id: '' }] = await listed(kpx);
    for (const args of [['list'], ['list', '--json', '--user', 'eve'], ['show', id], ['show', id, '--json']]) {
      const through = await run(kpx, ...args);
      expect(through.code).toBe(0);
      const direct = await run(kpx, ...args, '--direct');
      expect(withoutLooks(direct.stdout)).toBe(withoutLooks(through.stdout));
    }
    for (const args of [
      ['show', 'abcdef'],
      ['drop', 'abcdef', '--yes'],
      ['replay', '--user', 'carol'],
    ]) {
      const through = await run(kpx, ...args);
      expect(through).toMatchObject({ code: 66, stderr: expect.stringContaining('See: kpxctl dead-letters list') });
      expect(await run(kpx, ...args, '--direct')).toEqual(through);
    }
  });

  it('settles those that were shown and are still there, once, and none that came later', async () => {
    const kpx = await withParked();
    const look = async () => (await askBroker(kpx.controlSocket, '/dead-letters?user=mallory')) as { choice: string };
    const drop = async (choice: string) =>
      (await tellBroker(kpx.controlSocket, `/dead-letters/drop?choice=${choice}`)) as { done: { job: string }[]; problem: string | null };
    const { choice } = await look();
    const [{ id } = { id: '' }] = (await listed(kpx)).filter(({ job }) => job === 'm1');
    expect((await run(kpx, 'drop', id, '--yes')).code).toBe(0);
    await publish(kpx, jobOf('mallory', 'm3'));
    await eventually('one more', async () => (await depth(kpx)) === 3);
    expect(await drop(choice)).toMatchObject({ done: [{ job: 'm2' }], problem: null });
    expect((await listed(kpx)).map(({ job }) => job).sort()).toEqual(['e1', 'm3']);
    await expect(drop(choice)).rejects.toMatchObject({ status: 410, message: expect.stringContaining('look again') });
  });

  it('refuses what is no question about dead letters, and a body that is too large for an answer', async () => {
    const kpx = await withParked();
    for (const path of ['/dead-letter', '/dead-letter?id=xyz', '/dead-letters?id=ab', '/dead-letters?user=a&user=b', '/dead-letters?all=1'])
      await expect(askBroker(kpx.controlSocket, path)).rejects.toMatchObject({ status: 400 });
    for (const path of ['/dead-letters/drop', '/dead-letters/drop?choice=1', '/dead-letters/drop?user=mallory'])
      await expect(tellBroker(kpx.controlSocket, path)).rejects.toMatchObject({ status: 400 });
    await expect(askBroker(kpx.controlSocket, '/dead-letters/drop?choice=1')).rejects.toMatchObject({ status: 405 });
    expect(await depth(kpx)).toBe(3);
    const ids = Array.from({ length: 200 }, (_, count) => count.toString(16).padStart(64, '0'));
    expect(await run(kpx, 'replay', ...ids)).toMatchObject({ code: 64, stderr: expect.stringContaining('say --direct') });
    await publish(kpx, { body: Buffer.alloc(NINE_MIB, ' '), properties: { messageId: 'large' } });
    await eventually('the large one', async () => (await depth(kpx)) === 4);
    const [{ id } = { id: '' }] = await listed(kpx, '--reason', 'BODY_TOO_LARGE');
    expect(await run(kpx, 'show', id)).toMatchObject({
      code: 69,
      stderr: expect.stringMatching(/hands out at most 8388608: say --direct\.\n$/),
    });
    expect((await run(kpx, 'show', id, '--direct')).code).toBe(0);
  });

  it('says that the broker is older', async () => {
    const kpx = await installKpx();
    await answerAt(kpx.controlSocket, { '/configuration': {} });
    expect(await run(kpx, 'list')).toMatchObject({ code: 69, stderr: expect.stringMatching(/^The broker is older than this kpxctl/) });
    expect(await run(kpx, 'list', '--direct')).toMatchObject({ code: 0, stdout: 'No dead letters.\n' });
  });
});
