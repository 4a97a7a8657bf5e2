import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type BootedKpx, BROKER, unitOf } from '../fixtures/booted/kpx.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { startKpx } from './installed-kpx.js';
import { bootedLdap, bootedMachine, dropIn } from './shared-machine.js';

/*
 * Where the lines of kpx's programs go: the journal, with a priority, and the audit log's own file.
 */

const machine = bootedMachine();
const ldap = bootedLdap();
const AUDIT_FILE = '/var/log/kpx/audit.jsonl';
/** Nobody else's. */
const USERS = { lotte: 23_101, luise: 23_102, lydia: 23_103 };

beforeAll(async () => {
  for (const [user, uid] of Object.entries(USERS)) await ldap.addUser(user, { uid });
  return async () => {
    for (const user of Object.keys(USERS)) await ldap.deleteUser(user);
  };
});

/** An id of its own, so that no job of a run before counts as done. */
async function doJob(kpx: BootedKpx, user: string) {
  const job = randomUUID();
  await kpx.publish(jobOf(user, job));
  return await kpx.jobDone(user, job);
}

const auditFile = async () =>
  (await machine.readFile(AUDIT_FILE))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('the audit log', () => {
  it('is in a file that root alone reads, whatever a noisy executor pushes out of the journal', async () => {
    const limits = '/etc/systemd/journald.conf.d/20-test.conf';
    const restartJournal = () => machine.systemctl('restart', 'systemd-journald.service');
    await machine.writeFile(limits, '[Journal]\nSystemMaxUse=8M\nSystemMaxFileSize=1M\nRuntimeMaxUse=8M\nRuntimeMaxFileSize=1M\n');
    await restartJournal();
    onTestFinished(async () => {
      await machine.remove(limits);
      await restartJournal();
    });
    // Without limits of the unit's own journald would drop most of it.
    const noise = 'ExecStart=\nExecStart=/usr/bin/seq --format=%.200f 60000\nLogRateLimitIntervalSec=30s\nLogRateLimitBurst=1000000\n';
    await dropIn(machine, unitOf('lotte'), `[Service]\n${noise}`);
    const kpx = await startKpx();
    const begin = (await auditFile()).length;
    const linesOfLotte = async () => (await auditFile()).slice(begin).filter(({ knime_user }) => knime_user === 'lotte');
    await kpx.publish(jobOf('lotte'));
    const [asked] = await eventually('the helper was asked, and has answered', async () => {
      const lines = await linesOfLotte();
      return lines.length >= 2 && lines;
    });
    await eventually('the journal has lost that line', async () => {
      // From systemd 257 on the noise of a user fills journals of the user's own; the oldest goes first, once it is not written to any more.
      await machine.run(['/usr/bin/journalctl', '--rotate']);
      const entries = await machine.journal('--identifier=kpx-privhelper');
      return !entries.some(({ MESSAGE }) => MESSAGE.includes(`"time":"${asked?.time}"`)); // others may have the identifier, too
    });
    expect((await linesOfLotte()).slice(0, 2)).toMatchObject([
      { event: 'received', verb: 'spawnExecutor' },
      { event: 'request', decision: 'done', os_user: 'lotte' },
    ]);
    for (const user of ['lotte', 'kpx-broker']) {
      for (const argv of [
        ['/usr/bin/ls', '/var/log/kpx'],
        ['/usr/bin/cat', AUDIT_FILE],
      ]) {
        const { exitCode, stderr } = await machine.run(argv, { user, allowFailure: true });
        expect([exitCode === 0, stderr]).toEqual([false, expect.stringContaining('Permission denied')]);
      }
    }
    expect((await machine.run(['/usr/bin/stat', '--format=%a %U:%G', '/var/log/kpx', AUDIT_FILE])).stdout).toBe(
      '700 root:root\n600 root:root\n',
    );
  });

  it('loses no line when logrotate is there', async () => {
    const kpx = await startKpx();
    await doJob(kpx, 'luise');
    const before = (await auditFile()).length;
    // As on Fedora, whose logrotate.conf names parts by dates.
    await machine.run(['/bin/sh', '-c', 'printf "dateext\\ninclude /etc/logrotate.d/kpx\\n" > /run/dated.conf']);
    await machine.run(['/usr/sbin/logrotate', '--force', '/run/dated.conf']);
    await doJob(kpx, 'lydia');
    expect((await auditFile()).map(({ knime_user }) => knime_user)).toContain('lydia');
    const { stdout } = await machine.run(['/usr/bin/wc', '--lines', `${AUDIT_FILE}.1`]);
    expect(Number(stdout.split(' ')[0])).toBeGreaterThanOrEqual(before);
  });
});

describe('the chain of the audit log', () => {
  const HEAD = '/run/kpx/audit/head';

  it('holds over helpers that PID 1 has started, ended and killed, and over what logrotate has moved', async () => {
    const kpx = await startKpx();
    await doJob(kpx, 'luise');
    await kpx.mark();
    await machine.systemctl('kill', '--signal=KILL', 'kpx-privhelper@*.service');
    await kpx.helperSays({ msg: 'serving one connection' });
    await doJob(kpx, 'lydia');
    await machine.run(['/usr/sbin/logrotate', '--force', '/etc/logrotate.d/kpx']);
    await doJob(kpx, 'luise');
    const { stdout } = await machine.run(['/usr/bin/kpxctl', 'audit', 'verify', '--json'], { allowFailure: true });
    const { findings, head, parts } = JSON.parse(stdout) as {
      findings: { kind: string; problem: boolean }[];
      head: object;
      parts: string[];
    };
    expect(findings.filter(({ problem }) => problem)).toEqual([]);
    expect(findings.map(({ kind }) => kind)).toContain('cut by kill');
    expect(head).toEqual({ seq: expect.any(Number), hash: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(parts.slice(-2)).toEqual(['audit.jsonl.1', 'audit.jsonl']);
    // The broker's account could make up all hashes anew. It can write neither the log nor the head.
    for (const file of [AUDIT_FILE, HEAD]) {
      const { exitCode } = await machine.run(['/usr/bin/tee', '--append', file], { user: 'kpx-broker', allowFailure: true });
      expect([file, exitCode]).not.toEqual([file, 0]);
    }
    expect((await machine.run(['/usr/bin/stat', '--format=%a %U:%G', HEAD])).stdout).toBe('600 root:root\n');
    expect(await machine.run(['/usr/bin/kpxctl', 'audit', 'verify'], { user: 'kpx-broker', allowFailure: true })).toMatchObject({
      exitCode: 77,
    });
  });
});

describe('the journal', () => {
  it('has each line of helper and broker as JSON, with the priority of its level', async () => {
    const cursor = await machine.journalCursor();
    const kpx = await startKpx();
    await kpx.publish(jobOf('root'));
    await kpx.brokerSays({ msg: 'job parked' });
    const PRIORITY: Record<string, string> = { 10: '7', 20: '7', 30: '6', 40: '4', 50: '3', 60: '2' };
    for (const program of ['kpx-privhelper', 'kpx-broker']) {
      const entries = await machine.journal(`--identifier=${program}`, `--after-cursor=${cursor}`);
      const lines = entries.map(({ MESSAGE, PRIORITY: priority }) => ({ line: JSON.parse(MESSAGE), priority }));
      for (const { line, priority } of lines) expect([line.msg, priority]).toEqual([line.msg, PRIORITY[line.level]]);
      expect(new Set(lines.map(({ priority }) => priority))).toEqual(new Set(['6', '4']));
    }
  });

  it('that was ended costs the broker its log once: it ends, and is started anew', async () => {
    const kpx = await startKpx();
    const { NRestarts: before } = await machine.show(BROKER, 'NRestarts');
    const journald = ['systemd-journald.socket', 'systemd-journald-dev-log.socket', 'systemd-journald.service'];
    await machine.systemctl('stop', ...journald);
    // From systemd 254 on PID 1 keeps the connections for the next one: kpx's programs notice nothing, unless they are thrown away.
    const { FileDescriptorStorePreserve: preserve } = await machine.show('systemd-journald.service', 'FileDescriptorStorePreserve');
    if (preserve === 'yes') await machine.systemctl('clean', '--what=fdstore', 'systemd-journald.service');
    await machine.systemctl('start', ...journald.toReversed());
    await kpx.mark();
    const heard = doJob(kpx, 'luise');
    await kpx.brokerSays({ msg: 'consuming' });
    expect(await heard).toMatchObject({ uid: USERS.luise });
    const { NRestarts: after } = await machine.show(BROKER, 'NRestarts');
    expect(Number(after) - Number(before)).toBe(1);
  });
});
