import { describe, expect, it, onTestFinished } from 'vitest';
import { type BootedKpx, type BootedKpxOptions, BROKER, unitOf } from '../fixtures/booted/kpx.js';
import { jobOf } from '../fixtures/jobs.js';
import { installPackage, startKpx } from './installed-kpx.js';
import { bootedMachine } from './shared-machine.js';

const machine = bootedMachine();

const PACKAGED_UNIT = '/usr/lib/systemd/system/kpx-executor@.service';
const BIG_UNIT = '/etc/systemd/system/kpx-executor-big@.service';
const bigUnitOf = (osUser: string) => `kpx-executor-big@${osUser}.service`;

/** As docs/tune.md has an administrator do it: a copy of the packaged unit under another name, with limits of its own. */
async function makeBigUnit(): Promise<void> {
  onTestFinished(async () => {
    await machine.remove(BIG_UNIT);
    await machine.systemctl('daemon-reload');
  });
  await installPackage();
  const packaged = await machine.readFile(PACKAGED_UNIT);
  await machine.writeFile(
    BIG_UNIT,
    packaged.replace('\n[Service]\n', '\n[Service]\nTasksMax=8000\nMemoryMax=16G\n').replace('\nTasksMax=4096\n', '\n'),
  );
  await machine.systemctl('daemon-reload');
}

const explain = async (user: string) => JSON.parse((await machine.run(['/usr/bin/kpxctl', 'explain', user, '--json'])).stdout);

/** Has the broker read another configuration; resolves with what it says has changed. */
async function reload(kpx: BootedKpx, options: BootedKpxOptions): Promise<unknown> {
  await kpx.configure(options);
  await kpx.mark();
  await machine.systemctl('reload', BROKER);
  return (await kpx.brokerSays({ msg: 'another configuration is in force' })).changed;
}

describe('a profile', () => {
  it('is another template unit, which a rule chooses; its executors are listed, taken up again and ended like any other', async () => {
    await makeBigUnit();
    const helper = { executor: { profiles: { big: 'kpx-executor-big@' } } };
    const rule = { name: 'physics', groups: ['physics'], profile: 'big' };
    const kpx = await startKpx({ helper, broker: { policy: { rule: [rule] } } });
    await machine.run(['/usr/sbin/kpx-privhelper', '--config', '/etc/kpx/privhelper.toml', '--check']);
    // ada is in physics, kim is not; both are known to LDAP alone.
    await kpx.publish(jobOf('ada', 'profiles-b1'), jobOf('kim', 'profiles-k1'));
    const [ada, kim] = await Promise.all([kpx.jobDone('ada', 'profiles-b1'), kpx.jobDone('kim', 'profiles-k1')]);
    expect(await machine.show(bigUnitOf('ada'), 'MainPID', 'Slice', 'TasksMax', 'MemoryMax')).toEqual({
      MainPID: `${ada.pid}`,
      Slice: 'kpx-executors.slice',
      TasksMax: '8000',
      MemoryMax: `${16 * 1024 ** 3}`,
    });
    expect(await machine.show(unitOf('ada'), 'ActiveState', 'MainPID')).toEqual({ ActiveState: 'inactive', MainPID: '0' });
    expect(await machine.show(unitOf('kim'), 'MainPID')).toEqual({ MainPID: `${kim.pid}` });

    await kpx.mark();
    await machine.systemctl('restart', BROKER);
    await kpx.inUse();
    await kpx.publish(jobOf('ada', 'profiles-b2'));
    expect(await kpx.jobDone('ada', 'profiles-b2')).toMatchObject({ pid: ada.pid });
    expect(await explain('ada')).toMatchObject({ decision: 'forward', rule: 'rule 1 "physics"', profile: 'big' });

    // One that does not become ready is ended by the helper.
    await machine.systemctl('stop', bigUnitOf('ada'));
    await kpx.configure({
      ...{ helper, standIn: { BOOT_MS: '60000' } },
      broker: { policy: { rule: [rule] }, executors: { start_timeout: '2s' } },
    });
    await kpx.mark();
    await machine.systemctl('restart', BROKER);
    await kpx.inUse();
    await kpx.publish(jobOf('ada', 'profiles-b3'));
    await kpx.brokerSays({ user: 'ada', state: 'backoff' });
    expect(await kpx.helperSays({ verb: 'stopExecutor', os_user: 'ada' })).toMatchObject({ decision: 'done', outcome: 'killed' });
    expect(await machine.show(unitOf('kim'), 'MainPID')).toEqual({ MainPID: `${kim.pid}` });
  });
});

describe('as root, beside the unit', () => {
  it('systemctl reload puts a good configuration in force and keeps the old one where the new one is wrong', async () => {
    const kpx = await startKpx();
    const { MainPID } = await machine.show(BROKER, 'MainPID');
    await kpx.publish(jobOf('ada', 'profiles-a1'));
    const first = await kpx.jobDone('ada', 'profiles-a1');
    expect(await reload(kpx, { broker: { policy: { max_executors: 1 } } })).toEqual(['policy.max_executors: 40 -> 1']);
    const why = '1 of 1 executors run (max_executors)';
    expect(await explain('leo')).toMatchObject({ decision: 'wait', why });
    const { stdout } = await machine.run(['/usr/bin/kpxctl', 'explain', 'leo']);
    expect(stdout).toContain(`a job now  waits until there is room: ${why}\n`);

    await kpx.configure({ broker: { policy: { max_starting: 0 } } });
    await kpx.mark();
    expect((await machine.run(['/usr/bin/systemctl', 'reload', BROKER], { allowFailure: true })).exitCode).toBe(1);
    expect(await kpx.brokerSays({ msg: 'the configuration is refused; the old one stays in force' })).toMatchObject({
      reason: expect.stringContaining('policy.max_starting'),
    });
    expect(await explain('leo')).toMatchObject({ decision: 'wait', why });
    await kpx.publish(jobOf('ada', 'profiles-a2'));
    expect(await kpx.jobDone('ada', 'profiles-a2')).toMatchObject({ pid: first.pid });
    expect(await machine.show(BROKER, 'MainPID', 'ActiveState')).toEqual({ MainPID, ActiveState: 'active' });
  });

  it('a signal drains the host, as the status says, and the next one ends it', async () => {
    const kpx = await startKpx();
    const drain = async () => await machine.systemctl('kill', '--kill-whom=main', '--signal=SIGUSR2', BROKER);
    const status = async () => (await machine.show(BROKER, 'StatusText')).StatusText;
    await drain();
    await expect
      .poll(status)
      .toBe('attention: no executor is started: the host is being drained; executors: 0, of which starting: 0; jobs held: 0');
    expect(await explain('mia')).toMatchObject({ decision: 'wait', why: 'the host is being drained' });
    await drain();
    await expect.poll(status).not.toContain('draining');
    await kpx.publish(jobOf('mia', 'profiles-m1'));
    await kpx.jobDone('mia', 'profiles-m1');
  });
});
