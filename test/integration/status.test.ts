import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { checkout, idsOf, type Kpx, node } from '../fixtures/kpx.js';
import { answerAt, CUT } from '../fixtures/other-broker.js';
import { installKpx, runKpxctl, startKpx } from './installed-kpx.js';

const status = (kpx: Kpx, ...args: string[]) => runKpxctl(['status', '--config', kpx.brokerConfigFile, ...args]);

/** What `kpxctl status` writes on a terminal that has colours. */
async function onTerminal(kpx: Kpx, env: Record<string, string>): Promise<string> {
  const command = `${node()} ${join(checkout(), 'packages/kpxctl/dist/kpxctl.cjs')} status --config ${kpx.brokerConfigFile}`;
  const terminal = spawn('/usr/bin/script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    env: { TERM: 'xterm-256color', SHELL: '/bin/sh', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return await text(terminal.stdout);
}

describe('kpxctl status', () => {
  it('says what the broker is doing, and that the file is in force', async () => {
    const kpx = await startKpx();
    const lines = [
      'All is well: 0 of 40 executors, nobody waits',
      'broker  consuming "knime-jobs"; executors: 0, of which starting: 0; jobs held: 0',
      'starts  executors, as jobs come',
      'queues  in RabbitMQ, of all hosts: jobs 0, delayed 0, dead letters 0',
      `file    ${kpx.brokerConfigFile} is in force`,
      '',
    ];
    await expect.poll(() => status(kpx)).toEqual({ code: 0, stdout: lines.join('\n'), stderr: '' });
  });

  it('says that the host is being drained, and what a reload would change', async () => {
    const kpx = await startKpx();
    await kpx.signal('SIGUSR2', { msg: 'draining: no executor is started any more' });
    kpx.configureBroker({ policy: { max_executors: 7 } });
    expect(JSON.parse((await status(kpx, '--json')).stdout)).toMatchObject({
      doing: 'consuming "knime-jobs", draining; executors: 0, of which starting: 0; jobs held: 0',
      draining: true,
      config_file: { path: kpx.brokerConfigFile, changed: ['policy.max_executors: 40 -> 7'] },
    });
    const { stdout } = await status(kpx);
    expect(stdout).toContain('starts  none: the host is being drained\n');
    expect(stdout).toContain('file    a reload would change:\n  policy.max_executors: 40 -> 7\n');
  });

  it('says first what is not well and what to do, the worst first, and with --check ends with a code for it', async () => {
    const kpx = await startKpx();
    expect((await status(kpx, '--check')).code).toBe(0);
    await kpx.signal('SIGUSR2', { msg: 'draining: no executor is started any more' });
    const drained = 'attention: no executor is started: the host is being drained\n  kpxctl resume ends that\n';
    expect(await status(kpx, '--check')).toMatchObject({ code: 1, stdout: expect.stringMatching(new RegExp(`^${drained}broker  `)) });
    await kpx.endHelper();
    await eventually('that is seen', async () => (await status(kpx, '--check')).code === 2);
    const { code, stdout } = await status(kpx);
    expect(stdout).toMatch(
      new RegExp(`^trouble: no connection to kpx-privhelper since .*\\n  No executor is started until then\\..*\\n${drained}`),
    );
    expect(code).toBe(0); // without --check
  });

  it('with --check ends with 69 where the broker ends in the middle of its answer', async () => {
    const kpx = await installKpx();
    await answerAt(kpx.controlSocket, { '/status': CUT });
    const { code, stdout, stderr } = await status(kpx, '--check');
    expect([code, stdout, stderr]).toEqual([69, '', expect.stringContaining('the broker has ended before its answer did')]);
  });

  it('with --check ends with 1 where the file is not the one that is in force', async () => {
    const kpx = await startKpx();
    kpx.configureBroker({ policy: { max_executors: 7 } });
    expect((await status(kpx, '--check')).code).toBe(1);
  });

  it('says that a reload would refuse the file, and why', async () => {
    const kpx = await startKpx();
    writeFileSync(kpx.brokerConfigFile, `[control]\nsocket = "${kpx.controlSocket}"\n[policy]\nmax_executers = 7\n`);
    expect(await status(kpx)).toMatchObject({ code: 0, stdout: expect.stringContaining('a reload would refuse it:\n') });
    const { config_file } = JSON.parse((await status(kpx, '--json')).stdout);
    expect(config_file.wrong).toContain('policy.max_executers: unknown key; did you mean "max_executors"?');
  });

  it('says what a broker of an earlier version says, which does not know whether all is well', async () => {
    const kpx = await installKpx();
    const capacity = { executors: 0, max_executors: 40, starting: 0, max_starting: 4, held: 0, held_max: 128, waiting: 0, longest_wait: 0 };
    await answerAt(kpx.controlSocket, { '/status': { doing: 'as before', rabbitmq: {}, helper: {}, capacity }, '/configuration': {} });
    expect(await status(kpx)).toMatchObject({ code: 0, stdout: expect.stringMatching(/^broker {2}as before\n/), stderr: '' });
    expect(await status(kpx, '--check')).toMatchObject({
      code: 69,
      stderr: expect.stringContaining('does not say whether all is well: systemctl restart kpx-broker'),
    });
  });

  it('has colours on a terminal, and nowhere else', async () => {
    const kpx = await startKpx();
    const bold = '\u001b[1mbroker';
    expect(await onTerminal(kpx, {})).toContain(bold);
    expect(await onTerminal(kpx, { NO_COLOR: '1' })).not.toContain('\u001b');
    expect((await status(kpx)).stdout).not.toContain('\u001b');
  });

  it('ends with 69 where no broker answers, and for others than root and the broker', async () => {
    const kpx = await installKpx();
    expect(await status(kpx)).toMatchObject({ code: 69, stderr: expect.stringContaining('no broker answers') });
    await kpx.startHelper();
    await kpx.startBroker();
    writeFileSync(`${kpx.etc}/public.toml`, `[control]\nsocket = "${kpx.controlSocket}"\n`, { mode: 0o644 });
    const asked = (ids: object) => runKpxctl(['status', '--config', `${kpx.etc}/public.toml`], ids);
    expect(await asked(idsOf('bob'))).toMatchObject({
      code: 69,
      stderr: `no permission to use ${kpx.controlSocket}: ask as root, or as a member of kpx-admin\n`,
    });
    expect(await asked(idsOf('kpx-broker'))).toMatchObject({ code: 0 });
  });
});
