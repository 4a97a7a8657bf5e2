import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync, statfsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { LITTERED_DIRECTORIES } from '../fixtures/litter.mjs';

const ENTER = path.join(import.meta.dirname, '../fixtures/private-machine.mjs');
const LITTER = path.join(import.meta.dirname, '../fixtures/litter.mjs');
const WAIT = { timeout: 10_000, interval: 20 };
const OVERLAY_MAGIC = 0x794c7630;

/** The kernel stacks two overlays at most, and this test needs one machine in the other. */
const rootIsOverlay = statfsSync('/usr').type === OVERLAY_MAGIC;

/** A machine in this machine: by its environment the program can't tell that it is inside one. */
function enter(...command: string[]): { child: ChildProcess; exitCode: Promise<number | null>; output: () => string } {
  const { KPX_PRIVATE_MACHINE: _inside, ...env } = process.env;
  const child = spawn(process.execPath, [ENTER, '--', ...command], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  return { child, exitCode: new Promise((resolve) => child.once('close', resolve)), output: () => output };
}

function leftOf(mark: string): string[] {
  const files = LITTERED_DIRECTORIES.map((directory) => `${directory}/${mark}`);
  const processes = readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(mark);
    } catch {
      return false; // ended while we looked
    }
  });
  return [
    ...files.filter((file) => existsSync(file)),
    ...processes.map((pid) => `process ${pid}`),
    ...(readFileSync('/proc/self/mountinfo', 'utf8').includes(mark) ? ['mount'] : []),
    ...(readFileSync('/etc/passwd', 'utf8').includes(mark) ? ['account'] : []),
  ];
}

describe('the private machine', () => {
  beforeEach(({ skip }) => skip(rootIsOverlay, 'the root file system is an overlay already, and the kernel stacks only two'));

  it.each([
    ['success', ['exit', '0'], undefined, 0],
    ['failure', ['exit', '7'], undefined, 7],
    ['a crash', ['die'], undefined, 137],
    ['SIGINT', [], 'SIGINT', 130],
    ['SIGTERM', [], 'SIGTERM', 143],
    ['kill -9 of the outer process', [], 'SIGKILL', null],
  ] as const)('leaves nothing behind after %s', async (_what, ending, signal, code) => {
    const mark = `kpxmark${process.pid}`;
    const { child, exitCode, output } = enter(process.execPath, LITTER, mark, ...ending);
    await vi.waitFor(() => expect(output()).toContain('littered'), WAIT);
    if (signal) child.kill(signal);
    expect(await exitCode).toBe(code);
    await vi.waitFor(() => expect(leftOf(mark)).toEqual([]), WAIT);
  });

  it('is gone even if the outer process is killed while it is being made', async () => {
    const mark = `kpxearly${process.pid}`;
    for (let delayMs = 0; delayMs <= 300; delayMs += 30) {
      const { child, exitCode } = enter(process.execPath, '--eval', 'setInterval(() => {}, 1_000_000)', mark);
      await sleep(delayMs);
      child.kill('SIGKILL');
      await exitCode;
    }
    await vi.waitFor(() => expect(leftOf(mark)).toEqual([]), WAIT);
  });

  it('gives its command the checkout, a loopback and a Node that every account can reach', async () => {
    const { exitCode, output } = enter(
      '/usr/bin/setpriv',
      '--reuid=65534',
      '--clear-groups',
      process.env.KPX_NODE ?? '',
      '--eval',
      `const fs = require('node:fs');
       require('node:net').createServer().listen(0, 'localhost', function () {
         console.log(JSON.stringify({ cwd: process.cwd(), readme: fs.existsSync(process.env.KPX_CHECKOUT + '/package.json'), pid1: fs.readFileSync('/proc/1/comm', 'utf8').trim() }));
         this.close();
       });`,
    );
    expect(await exitCode).toBe(0);
    expect(JSON.parse(output())).toEqual({ cwd: '/srv/kpx-checkout', readme: true, pid1: 'tini' });
  });

  it('simply runs the command when already inside', async () => {
    const child = spawn(process.execPath, [ENTER, '--', '/usr/bin/readlink', '/proc/self/ns/mnt'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let namespace = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      namespace += text;
    });
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0);
    expect(namespace.trim()).toBe(readlinkSync('/proc/self/ns/mnt'));
  });
});
