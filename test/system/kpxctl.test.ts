import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type BootedKpx, BROKER, unitOf } from '../fixtures/booted/kpx.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { withKpx } from './kpx-of-file.js';
import { bootedLdap, bootedMachine, ON_EACH_DEBIAN } from './shared-machine.js';

/* What kpxctl has from systemd: the journal, units and control groups. The rest of it: test/integration/kpxctl-list.test.ts and its neighbours. */

const machine = bootedMachine();
const ldap = bootedLdap();
/** Nobody else's. The dot means something where it is not taken literally. */
const USER = 'log.ger';
const OTHER = 'logxger';
const UID = 23_020;
/** Whose executor cannot be started. */
const FAILING = 'log.fails';
const DROP_IN = `/etc/systemd/system/${unitOf(USER)}.d`;
const SAID = 'the executor itself has said this';
const FORGED = 'somebody else would have it said';

let kpx: BootedKpx;

const kpxctl = (args: string[], user?: string) => machine.run(['/usr/bin/kpxctl', ...args], { allowFailure: true, ...(user && { user }) });

beforeAll(async () => {
  await ldap.addUser(USER, { uid: UID });
  await ldap.addUser(OTHER, { uid: UID + 1 });
  await ldap.addUser(FAILING, { uid: UID + 2 });
  await machine.writeFile(`${DROP_IN}/says.conf`, `[Service]\nExecStartPre=/usr/bin/echo "${SAID}"\n`);
  await machine.systemctl('daemon-reload');
  const endKpx = await withKpx({}, async (installed) => {
    kpx = installed;
    await kpx.start();
    await kpx.publish(jobOf(USER, 'l1'));
    await kpx.jobDone(USER, 'l1');
    await kpx.publish(jobOf(OTHER, 'o1'));
    await machine.run(['/usr/bin/logger', '--journald'], { user: OTHER, input: `MESSAGE=${FORGED}\nKPX_OS_USER=${USER}\n` });
    await machine.run(['/usr/bin/journalctl', '--sync']);
  });
  return async () => {
    await endKpx();
    await machine.remove(DROP_IN);
    await machine.systemctl('daemon-reload');
    for (const user of [USER, OTHER, FAILING]) await ldap.deleteUser(user);
  };
});

it('kpxctl show names the unit of an executor', async () => {
  const { stdout } = await kpxctl(['show', USER, '--json']);
  expect(JSON.parse(stdout)).toMatchObject({ unit: unitOf(USER), account: { os_user: USER, uid: UID } });
  expect((await kpxctl(['show', USER])).stdout).toContain(`\nunit       ${unitOf(USER)}\n`);
});

it('kpxctl has what systemd says of a broker that does not run, and where the reason is', async () => {
  await machine.systemctl('stop', BROKER);
  const { exitCode, stderr } = await kpxctl(['status']);
  await kpx.mark();
  await machine.systemctl('start', BROKER);
  await kpx.inUse();
  expect([exitCode, stderr]).toEqual([
    69,
    expect.stringMatching(/\nthe broker does not run \(systemd: inactive\): journalctl -u kpx-broker\.service has the reason\n$/),
  ]);
});

it('kpxctl dead-letters is for members of kpx-admin: the unit has the password, and may do it', async () => {
  await kpx.publish({ body: Buffer.from('{'), properties: { messageId: 'nonsense' } });
  await eventually('the job is parked', async () => ((await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages ?? 0) === 1);
  const gid = (await machine.run(['/usr/bin/getent', 'group', 'kpx-admin'])).stdout.split(':')[2];
  const asAdmin = ['/usr/bin/setpriv', `--reuid=${UID}`, `--regid=${gid}`, '--clear-groups', '--', '/usr/bin/kpxctl', 'dead-letters'];
  expect(JSON.parse((await machine.run([...asAdmin, 'list', '--json'])).stdout)).toMatchObject({
    reason: 'BODY_NOT_JSON',
    job: 'nonsense',
  });
  expect((await machine.run([...asAdmin, 'drop', '--all', '--yes'])).stdout).toMatch(/\nDropped: 1 of 1 dead letter\.\n$/);
  expect(await machine.run([...asAdmin, 'list', '--direct'], { allowFailure: true })).toMatchObject({
    exitCode: 77,
    stderr: expect.stringContaining('as a member of kpx-admin'),
  });
});

it('kpxctl dead-letters as root, where no broker runs, asks RabbitMQ as nobody, whichever Node it has', ON_EACH_DEBIAN, async () => {
  await kpx.publish({ body: Buffer.from('['), properties: { messageId: 'by-root' } });
  await eventually('the job is parked', async () => ((await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages ?? 0) === 1);
  onTestFinished(async () => {
    await kpx.mark();
    await machine.systemctl('start', BROKER);
    await kpx.inUse();
  });
  await machine.systemctl('stop', BROKER);
  const listed = await kpxctl(['dead-letters', 'list', '--json']);
  expect(listed).toMatchObject({ exitCode: 0, stderr: '' });
  expect(JSON.parse(listed.stdout)).toMatchObject({ reason: 'BODY_NOT_JSON', job: 'by-root' });
  expect((await kpxctl(['dead-letters', 'drop', '--all', '--yes'])).stdout).toMatch(/\nDropped: 1 of 1 dead letter\.\n$/);
});

describe('kpxctl logs', () => {
  it("has what the user's executor has written, and nothing that others would have it say", async () => {
    const { exitCode, stdout, stderr } = await kpxctl(['logs', USER]);
    expect([exitCode, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(new RegExp(` kpx-executor\\[\\d+\\]: ${SAID}$`, 'm'));
    expect(stdout).not.toContain(FORGED);
    expect((await kpxctl(['logs', '--lines', '1', USER])).stdout.trimEnd().split('\n')).toHaveLength(1);
    expect((await kpxctl(['logs', '--since', '2 days ago', USER])).stdout).toContain(SAID);
  });

  it('has what broker and helper say of the user, and of no other, with --kpx', async () => {
    const { exitCode, stdout } = await kpxctl(['logs', '--kpx', USER]);
    expect(exitCode).toBe(0);
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ program: 'kpx-broker', user: USER, state: 'ready' }),
        expect.objectContaining({ program: 'kpx-privhelper', knime_user: USER, verb: 'spawnExecutor', decision: 'done' }),
      ]),
    );
    for (const { user, knime_user } of lines) expect(user ?? knime_user).toBe(USER);
    const times = lines.map(({ time }) => time);
    expect(times[0] < times.at(-1)).toBe(true); // the oldest first
    const none = { exitCode: 66, stderr: 'journalctl has found nothing about "never-heard-of".\n' };
    expect(await kpxctl(['logs', '--kpx', 'never-heard-of'])).toMatchObject(none);
  });

  it('has what PID 1 says of a start that failed, and how much journald has dropped', async () => {
    const unit = unitOf(FAILING);
    onTestFinished(async () => {
      await machine.remove(`/etc/systemd/system/${unit}.d`);
      await machine.systemctl('daemon-reload');
      await machine.run(['/usr/bin/systemctl', 'reset-failed', unit], { allowFailure: true });
    });
    const settings = ['LogRateLimitIntervalSec=1s', 'LogRateLimitBurst=5', 'ExecStartPre=/usr/bin/seq 500', 'ExecStart='];
    const missing = ['ExecStart=/no/such/program', 'WorkingDirectory=/', 'EnvironmentFile='];
    await machine.writeFile(`/etc/systemd/system/${unit}.d/fails.conf`, `[Service]\n${[...settings, ...missing].join('\n')}\n`);
    await machine.systemctl('daemon-reload');
    const log = async () => (await kpxctl(['logs', FAILING, '--lines', '1000'])).stdout;
    // journald tells of dropped lines with the next one after the interval.
    await eventually('journald tells', async () => {
      await machine.run(['/usr/bin/systemctl', 'start', unit], { allowFailure: true });
      await machine.run(['/usr/bin/journalctl', '--sync']);
      return (await log()).includes('Suppressed');
    });
    const lines = (await log()).split('\n');
    expect(lines.some((line) => new RegExp(`systemd-journald\\[\\d+\\]: Suppressed \\d+ messages from ${unit}$`).test(line))).toBe(true);
    expect(lines.filter((line) => line.includes('status=203/EXEC')).length).toBeGreaterThan(0);
    expect(lines.filter((line) => line.includes('/no/such/program: No such file')).length).toBeGreaterThan(0);
    expect(lines.filter((line) => line.includes(unitOf(USER)))).toEqual([]);
  });

  it('goes on with what is written, and ends with Ctrl-C as with success', async () => {
    const following = await machine.start(['/usr/bin/kpxctl', 'logs', '--follow', USER]);
    let said = '';
    following.stdout?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const ended = new Promise((resolve) => following.once('exit', resolve));
    await eventually('it follows', () => said.includes(SAID));
    await machine.run(['/usr/bin/logger', '--journald'], { user: USER, input: `MESSAGE=and this\nKPX_OS_USER=${USER}\n` });
    await eventually('the new line', () => said.includes('and this'));
    // A terminal sends it to both, kpxctl and what it runs.
    await machine.run(['/usr/bin/pkill', '--signal', 'INT', '--full', '--', ' --follow ']);
    expect(await ended).toBe(0);
  });

  it('says that the journal may not be read, or that there is no journalctl', async () => {
    expect(await kpxctl(['logs', USER], OTHER)).toMatchObject({
      exitCode: 77,
      stdout: '',
      stderr: expect.stringMatching(/\nThe journal may not be read: run this as root, or as a member of the group systemd-journal\.\n$/),
    });
    const without = [
      '/usr/bin/systemd-run',
      '--collect',
      '--quiet',
      '--pipe',
      '--wait',
      '--property=InaccessiblePaths=/usr/bin/journalctl',
    ];
    expect(await machine.run([...without, '/usr/bin/kpxctl', 'logs', USER], { allowFailure: true })).toMatchObject({
      exitCode: 69,
      stderr: '/usr/bin/journalctl cannot be run (EACCES): the logs are where this system keeps them.\n',
    });
  });

  it('judges what it is given, and says where journalctl refuses it', async () => {
    expect(await kpxctl(['logs', '--lines', '0', USER])).toMatchObject({
      exitCode: 64,
      stderr: expect.stringContaining('Expected 1 to 1000000.'),
    });
    expect(await kpxctl(['logs', '--since', '--vacuum-size=1', USER])).toMatchObject({
      exitCode: 69,
      stderr: expect.stringMatching(/^Failed to parse timestamp: --vacuum-size=1\njournalctl has ended with exit code 1\.\n$/),
    });
  });

  it('finds the account by the map of the helper where the broker knows none, and says so to others', async () => {
    const [file, boss] = ['/etc/kpx/kpxctl-test-mapped.toml', 'Log Boss'];
    onTestFinished(() => machine.remove(file));
    await machine.writeFile(file, `${await machine.readFile('/etc/kpx/privhelper.toml')}\n[accounts.map]\n"${boss}" = "${USER}"\n`);
    const { exitCode, stdout, stderr } = await kpxctl(['logs', '--helper-config', file, boss]);
    expect([exitCode, stderr]).toEqual([0, '']);
    expect(stdout).toContain(SAID);
    const own = `The broker knows no account of "${USER}2" yet: taking "${USER}2", the user's own name, whatever accounts.map of privhelper.toml says.\n`;
    expect((await kpxctl(['logs', '--helper-config', '/nonexistent', `${USER}2`])).stderr).toContain(own);
  });

  it('takes the account of the user’s name where the broker knows of none, or does not answer', async () => {
    const why = 'No executor of "Nobody.here" is known, and there is no account "nobody.here".';
    expect(await kpxctl(['logs', 'Nobody.here'])).toMatchObject({ exitCode: 66, stderr: expect.stringContaining(why) });
    await machine.systemctl('stop', BROKER);
    const { exitCode, stdout, stderr } = await kpxctl(['logs', 'Log.ger']);
    await kpx.mark();
    await machine.systemctl('start', BROKER);
    await kpx.inUse();
    expect([exitCode, stderr]).toEqual([
      0,
      expect.stringMatching(/^The broker does not say .*no broker answers.*: taking "log\.ger"\.\n$/),
    ]);
    expect(stdout).toContain(SAID);
  });
});
