import { describe, expect, it } from 'vitest';
import { withChannel } from '../fixtures/amqp.js';
import { LDAP_GROUPS, LDAP_USERS } from '../fixtures/booted/ldap.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import { bootedLdap, bootedMachine, takeKnimeVhost } from './shared-machine.js';

const machine = bootedMachine();
const ldap = bootedLdap();
const NODE_MAJOR_MIN = 20;

describe('the booted machine', () => {
  it('runs systemd, with every service of the boot started', async () => {
    expect(await machine.readFile('/proc/1/comm')).toBe('systemd\n');
    // By name: of a test before this one, a unit may have failed that is not the boot's.
    const failed = await machine.systemctl('list-units', '--failed', '--plain', '--no-legend');
    expect(failed.split('\n').filter((line) => line !== '' && !line.startsWith('kpx-'))).toEqual([]);
    expect(['running\n', 'degraded\n']).toContain(await machine.systemctl('is-system-running').catch(() => 'degraded\n'));
    const services = ['slapd.service', 'sssd.service', 'rabbitmq-server.service'];
    for (const service of services)
      expect(await machine.show(service, 'ActiveState', 'SubState')).toEqual({ ActiveState: 'active', SubState: 'running' });
  });

  it('has no network but its loopback, which it shares with the tests', async () => {
    const { stdout } = await machine.run(['/usr/bin/readlink', '/proc/self/ns/net']);
    expect(stdout).toBe((await machine.run(['/usr/bin/readlink', '/proc/1/ns/net'])).stdout);
    const links = await machine.run(['/usr/sbin/ip', '-oneline', 'link', 'show', 'up']);
    expect(links.stdout.trimEnd().split('\n')).toEqual([expect.stringContaining('lo:')]);
  });

  it('has the checkout, which it cannot write to, the stand-in executor, and a Node that runs it', async () => {
    const { checkout, packages } = machine.facts;
    expect(await machine.exists(`${checkout}/package.json`)).toBe(true);
    expect((await machine.run(['/usr/bin/touch', `${checkout}/package.json`], { allowFailure: true })).stderr).toContain('Read-only');
    expect((await machine.run(['/usr/bin/ls', packages])).stdout).toMatch(/^kpx_.*\.deb$/m);
    const ends = await machine.run(['/opt/knime/knime', '-nosplash'], { allowFailure: true, user: 'ada' });
    expect(ends.stderr).toContain('-data WORKSPACE is missing');
    const { stdout: version } = await machine.run(['/usr/bin/node', '--print', 'process.versions.node']);
    expect(Number.parseInt(version, 10)).toBeGreaterThanOrEqual(NODE_MAJOR_MIN);
  });
});

describe('its people', () => {
  it('are all in LDAP, and nowhere else', async () => {
    const passwd = await machine.readFile('/etc/passwd');
    for (const [name, uid] of Object.entries(LDAP_USERS)) {
      const { stdout } = await machine.run(['/usr/bin/getent', 'passwd', name]);
      expect(stdout).toBe(`${name}:*:${uid}:${uid}:${name}:/home/${name}:/bin/bash\n`);
      const groups = Object.entries(LDAP_GROUPS).flatMap(([group, { members }]) => (members.includes(name) ? [group] : []));
      expect(await ldap.groupsOf(name)).toEqual([name, ...groups.sort()]);
      expect(passwd).not.toContain(`:${uid}:`);
    }
  });

  it.each(['ada', 'ivy@corp', 'jo\\corp'])('run programs: %s', async (user) => {
    const { stdout } = await machine.run(['/usr/bin/id', '--user', '--name'], { user });
    expect(stdout).toBe(`${user}\n`);
    const groups = await machine.run(['/usr/bin/id', '--groups', '--name', '--zero'], { user });
    expect(groups.stdout.split('\0').filter(Boolean).sort()).toEqual((await ldap.groupsOf(user)).sort());
    expect((await machine.run(['/usr/bin/env'], { user })).stdout).toContain(`HOME=/home/${user}\n`);
  });

  it('are what a unit runs as', async () => {
    const run = ['/usr/bin/systemd-run', '--quiet', '--wait', '--pipe', '--uid=ben', '/usr/bin/id', '--groups', '--name'];
    expect((await machine.run(run)).stdout).toBe('ben physics chem\n');
  });

  it.each(['nina', 'nina\\corp (a*)'])('come and go: %s', async (name) => {
    expect(await ldap.isKnown(name)).toBe(false);
    await ldap.addUser(name, { uid: 21_001, groups: ['physics', 'guests'] });
    expect(await ldap.groupsOf(name)).toEqual([name, 'guests', 'physics']);
    await ldap.removeFromGroup(name, 'guests');
    await ldap.addToGroup(name, 'chem');
    expect(await ldap.groupsOf(name)).toEqual([name, 'chem', 'physics']);
    await ldap.deleteUser(name);
    expect(await ldap.isKnown(name)).toBe(false);
    const { stdout } = await machine.run(['/usr/bin/getent', 'group', 'physics']);
    expect(stdout.trimEnd().split(/[:,]/).sort()).toEqual(['*', '30001', 'ada', 'ben', 'physics']);
  });
});

describe('its RabbitMQ', () => {
  it('takes a job from the tests and shows it to the machine', async () => {
    const vhost = await takeKnimeVhost();
    await withChannel(vhost.url('publisher'), async (channel) => {
      channel.sendToQueue(KNIME_QUEUE, Buffer.from('{}'));
      await channel.waitForConfirms();
    });
    const list = ['/usr/sbin/rabbitmqctl', '--quiet', '--vhost', vhost.vhost, 'list_queues', '--no-table-headers', 'name', 'messages'];
    expect((await machine.run(list)).stdout).toBe(`${KNIME_QUEUE}\t1\n`);
  });
});

describe('a test', () => {
  it('runs programs with input, as root, in an environment of its own', async () => {
    process.env.KPX_TEST_SECRET = 'must not be seen';
    const { stdout } = await machine.run(['/usr/bin/env']);
    expect(
      Object.fromEntries(
        stdout
          .trimEnd()
          .split('\n')
          .map((line) => line.split('=')),
      ),
    ).toMatchObject({ HOME: '/root', LANG: 'C.UTF-8' });
    expect(stdout).not.toContain('KPX_');
    expect((await machine.run(['/usr/bin/cat'], { input: 'größer\n' })).stdout).toBe('größer\n');
    expect((await machine.run(['/usr/bin/pwd'])).stdout).toBe('/\n');
  });

  it('is told when a program fails or takes too long, and leaves none behind', async () => {
    await expect(machine.run(['/usr/bin/cat', '/nonexistent'])).rejects.toThrow(/exit code 1\n.*No such file/);
    expect(await machine.run(['/usr/bin/false'], { allowFailure: true })).toEqual({ exitCode: 1, stdout: '', stderr: '' });
    const killed = await machine.run(['/usr/bin/timeout', '--signal=KILL', '0.01', '/usr/bin/sleep', '12345'], { allowFailure: true });
    expect(killed.exitCode).toBe(137);
    await expect(machine.run(['/usr/bin/sleep', '12345'], { timeoutMs: 200 })).rejects.toThrow('not within 200 ms');
    expect((await machine.run(['/usr/bin/pgrep', '--full', 'sleep 12345'], { allowFailure: true })).stdout).toBe('');
  });

  it("writes, reads and removes the machine's files, with owners that only the machine knows", async () => {
    await machine.writeFile('/etc/kpx-test/below/file', 'a text\n', { mode: 0o640, owner: 'ada:physics' });
    const { stdout } = await machine.run(['/usr/bin/stat', '--format=%A %U %G', '/etc/kpx-test/below/file']);
    expect(stdout).toBe('-rw-r----- ada physics\n');
    expect(await machine.readFile('/etc/kpx-test/below/file')).toBe('a text\n');
    await machine.writeFile('/etc/kpx-test/below/file', 'another\n');
    expect(await machine.readFile('/etc/kpx-test/below/file')).toBe('another\n');
    await machine.remove('/etc/kpx-test');
    expect(await machine.exists('/etc/kpx-test')).toBe(false);
  });

  it('starts and stops services, and reads what they say in the journal', async () => {
    const unit = 'kpx-test.service';
    await machine.writeFile(`/run/systemd/system/${unit}`, '[Service]\nType=oneshot\nExecStart=/usr/bin/echo said once\n');
    await machine.systemctl('daemon-reload');
    const mark = `--after-cursor=${await machine.journalCursor()}`;
    const awaited = machine.waitForJournal('what it says', [mark, `--unit=${unit}`], ({ MESSAGE }) => MESSAGE.includes('said'));
    await machine.systemctl('start', unit);
    expect(await awaited).toMatchObject({ MESSAGE: 'said once', _SYSTEMD_UNIT: unit, _UID: '0' });
    const messages = (await machine.journal(mark, `_SYSTEMD_UNIT=${unit}`)).map(({ MESSAGE }) => MESSAGE);
    expect(messages).toEqual(['said once']);
    expect(await machine.show(unit, 'Result', 'Type')).toEqual({ Result: 'success', Type: 'oneshot' });
    await machine.remove(`/run/systemd/system/${unit}`);
    await machine.systemctl('daemon-reload');
    await expect(machine.waitForJournal('nothing', [mark, `--unit=${unit}`], () => false, 300)).rejects.toThrow('nothing');
    await expect(machine.systemctl('start', unit)).rejects.toThrow('not found');
  });
});
