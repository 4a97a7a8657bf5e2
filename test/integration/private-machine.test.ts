import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statfsSync } from 'node:fs';
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
    ['failure', ['exit', '7'], undefined, 7],
    ['a crash', ['die'], undefined, 137],
    ['SIGINT', [], 'SIGINT', 130],
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
});
