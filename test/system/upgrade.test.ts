import { PROTOCOL_VERSION } from '@kpx/protocol';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { BootedKpx, BROKER, SOCKET, unitOf } from '../fixtures/booted/kpx.js';
import { type Format, OTHER_PROTOCOL, packageOfOtherVersion } from '../fixtures/booted/other-version.js';
import { BootedRpm } from '../fixtures/booted/rpm.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { removePackages, startKpx } from './installed-kpx.js';
import { bootedMachine } from './shared-machine.js';

/* Up to a version that speaks another version of the wire, and back down, by each package, with executors at work. */

const machine = bootedMachine();
const rpm = new BootedRpm(machine);

const TEST_TIMEOUT_MS = 240_000;
const DPKG_TIMEOUT_MS = 90_000;
/** Jobs of each user that wait while an upgrade runs. */
const BACKLOG = 10;
/** Their accounts are used here alone. */
const USERS = ['uma', 'vic'];

const lines = (text: string) => text.split('\n').filter(Boolean);

/** One of the ways to install kpx. `unpack`: programs and units are replaced, and nothing is restarted yet; `finish`: what remains. */
interface Way {
  readonly current: () => Promise<string>;
  install(file: string): Promise<unknown>;
  unpack(file: string): Promise<unknown>;
  finish(file: string): Promise<unknown>;
}

const dpkg = (...args: string[]) =>
  machine.run(['/usr/bin/dpkg', '--force-confdef', '--force-confold', ...args], { timeoutMs: DPKG_TIMEOUT_MS });

const WAYS: Record<Format, Way> = {
  deb: {
    current: () => BootedKpx.packageFile(machine),
    install: (file) => dpkg('--install', file),
    unpack: (file) => dpkg('--unpack', file),
    finish: () => dpkg('--configure', 'kpx'),
  },
  rpm: {
    current: () => rpm.packageFile(),
    install: (file) => rpm.install(file),
    unpack: (file) => rpm.install(file, '--noscripts'),
    finish: (file) => rpm.install(file, '--replacepkgs'),
  },
};

const mainPid = async (unit: string) => Number((await machine.show(unit, 'MainPID')).MainPID);

/** The unit of the helper that serves the broker now. */
async function helperUnit(): Promise<string> {
  const [unit = ''] = lines(await machine.systemctl('list-units', '--plain', '--no-legend', '--state=running', 'kpx-privhelper@*'));
  return unit.split(' ')[0] ?? '';
}

describe.each(['deb', 'rpm'] as const)('with the .%s', { timeout: TEST_TIMEOUT_MS }, (format) => {
  const way = WAYS[format];
  const other = `/var/tmp/kpx-other.${format}`;
  let current = '';

  beforeAll(async () => {
    await machine.run(['/usr/bin/dd', 'status=none', `of=${other}`], { input: await packageOfOtherVersion(format) });
    current = await way.current();
  });
  afterAll(() => machine.remove(other));

  /** Others install the .deb by themselves where nothing is installed. */
  async function justInstalled(): Promise<void> {
    await removePackages();
    onTestFinished(removePackages);
    await way.install(current);
  }

  it('goes up to another version of the wire and back down: no job is lost, none is done twice, and executors go on', async () => {
    await justInstalled();
    const kpx = await startKpx();
    await kpx.publish(...USERS.map((user) => jobOf(user, 'first')));
    const pids = new Map(await Promise.all(USERS.map(async (user) => [user, (await kpx.jobDone(user, 'first')).pid] as const)));
    const jobs = ['first'];
    for (const [file, protocol] of [[other, OTHER_PROTOCOL] as const, [current, PROTOCOL_VERSION] as const]) {
      const programs = [await mainPid(BROKER), await mainPid(await helperUnit())];
      await kpx.mark();
      const add = (job: string) => jobs.push(job) && kpx.publish(...USERS.map((user) => jobOf(user, job)));
      for (let index = 0; index < BACKLOG; index++) await add(`before-${protocol}-${index}`);
      let over = false;
      const going = way.install(file).finally(() => {
        over = true;
      });
      while (!over) {
        const expected = jobs.length - BACKLOG;
        await add(`while-${jobs.length}`);
        await eventually('jobs are being done', async () => over || (await kpx.done('uma')).length > expected, DPKG_TIMEOUT_MS);
      }
      await going;
      await kpx.inUse();
      await add(`after-${protocol}`);
      for (const user of USERS) await kpx.jobsDone(user, jobs.length, 60_000);
      const replaced = [await mainPid(BROKER), await mainPid(await helperUnit())];
      expect(new Set([...programs, ...replaced]).size).toBe(4);
      // Which of the two runs now.
      const speaks = /^var PROTOCOL_VERSION = ?(\d+);$/m.exec(await machine.readFile('/usr/lib/kpx/kpx-broker.cjs'))?.[1];
      expect(speaks).toBe(`${protocol}`);
    }
    for (const user of USERS) {
      const done = await kpx.done(user);
      expect(done.map(({ job }) => job).sort()).toEqual(jobs.toSorted());
      expect(new Set(done.map(({ pid }) => pid))).toEqual(new Set([pids.get(user)]));
      expect(await machine.show(unitOf(user), 'MainPID')).toEqual({ MainPID: `${pids.get(user)}` });
    }
    expect((await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages).toBe(0);
    expect(await machine.systemctl('is-enabled', BROKER, SOCKET)).toBe('enabled\nenabled\n');
  });

  it('says up and down that broker and helper are of different versions while one is unpacked and not in use, and what to do; jobs wait', async () => {
    await justInstalled();
    const kpx = await startKpx();
    await kpx.publish(jobOf('uma', 'first'));
    const { pid } = await kpx.jobDone('uma', 'first');
    const steps = [
      { file: other, broker: PROTOCOL_VERSION, helper: OTHER_PROTOCOL, late: 'wes' },
      { file: current, broker: OTHER_PROTOCOL, helper: PROTOCOL_VERSION, late: 'vic' },
    ];
    for (const { file, broker, helper, late } of steps) {
      await way.unpack(file);
      await kpx.mark();
      // The broker that runs is still the one of before, and its next helper is not.
      await machine.systemctl('kill', '--signal=SIGKILL', await helperUnit());
      const { reason } = await kpx.brokerSays({ msg: 'the helper cannot be used; trying again' });
      expect(reason).toContain(`the helper speaks version ${helper} of the protocol, the broker version ${broker}`);
      expect(reason).toContain('systemctl restart kpx-broker');
      const status = async () => (await machine.show(BROKER, 'StatusText')).StatusText;
      await expect.poll(status).toContain(`the broker version ${broker}`);
      await kpx.publish(jobOf('uma', `with ${helper}`), jobOf(late, 'first'));
      await kpx.jobDone('uma', `with ${helper}`); // her executor needs no helper
      await way.finish(file);
      await kpx.inUse();
      await kpx.jobDone(late, 'first', 60_000);
    }
    expect((await kpx.done('uma')).map((job) => job.pid)).toEqual([pid, pid, pid]);
    expect((await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages).toBe(0);
  });
});
