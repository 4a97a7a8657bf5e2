import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLog } from '@kpx/protocol';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { withoutDescriptors } from '../../test-fixtures/descriptors.js';
import type { HookResult } from '../record/outcomes.js';
import type { Verdict } from '../record/verdict.js';
import { call, DEADLINE_MS, OUTPUT_CHARS_KEPT } from './call.js';
import { Hook, LOOK_EVERY_MS } from './hook.js';
import { CALLS_A_MINUTE_MAX, WAITING_MAX } from './waiting-events.js';

/* Real programs: shell scripts, good and bad ones. */

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kpx-hook-'));
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(directory, { recursive: true });
});

const file = (name: string) => join(directory, name);
const script = (text: string): string => {
  writeFileSync(file('hook'), `#!/bin/sh\n${text}\n`);
  chmodSync(file('hook'), 0o755);
  return file('hook');
};
const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0) && !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return false;
  }
};

describe('a call', () => {
  it('gives the program its arguments and standard input, a directory, and an environment from scratch', async () => {
    const program = script(`cat > ${file('input')}; printf '%s\\n' "$@" > ${file('args')}; env > ${file('env')}; pwd > ${file('cwd')}`);
    expect(await call([program, 'a b', '$(id)', '*'], 'hello\n').outcome).toEqual({ result: 'ok', why: '', output: '' });
    expect(readFileSync(file('input'), 'utf8')).toBe('hello\n');
    expect(readFileSync(file('args'), 'utf8')).toBe('a b\n$(id)\n*\n');
    expect(readFileSync(file('cwd'), 'utf8')).toBe('/\n');
    const names = readFileSync(file('env'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.split('=')[0]);
    expect(names.filter((name) => !['_', 'PWD', 'OLDPWD', 'SHLVL'].includes(name ?? '')).sort()).toEqual(['LC_ALL', 'PATH']);
  });

  it('says how a program failed, with the end of its output', async () => {
    expect(await call([script('echo one; echo two >&2; exit 3')], '').outcome).toMatchObject({ result: 'failed', why: 'exit code 3' });
    expect((await call([script('echo two >&2; exit 3')], '').outcome).output).toBe('two\n');
    expect(await call([script('kill -9 $$')], '').outcome).toMatchObject({ result: 'failed', why: 'signal SIGKILL' });
  });

  it.each([
    ['does not exist', '/nowhere/hook', 'ENOENT'],
    ['may not be executed', '/etc/passwd', 'EACCES'],
    ['is a directory', '/etc', 'EACCES'],
  ])('of a program that %s fails', async (_, program, code) => {
    expect(await call([program], '{}').outcome).toMatchObject({ result: 'not_started', why: expect.stringContaining(code) });
  });

  it('does not mind a program that reads nothing of a long input', async () => {
    expect(await call([script('exit 0')], 'x'.repeat(1_000_000)).outcome).toMatchObject({ result: 'ok' });
  });

  it('kills one that hangs when its deadline is over, with all that it has started', async () => {
    const begun = performance.now();
    const { outcome } = call([script(`trap '' TERM; sleep 1000 & echo $! > ${file('pid')}; wait; sleep 1000`)], '');
    expect(await outcome).toMatchObject({ result: 'timeout', why: 'it had not ended after 10 s, and was killed' });
    expect(performance.now() - begun).toBeGreaterThan(DEADLINE_MS - 100);
    const pid = Number(readFileSync(file('pid'), 'utf8'));
    await expect.poll(() => isAlive(pid)).toBe(false);
  });

  it('kills one that writes without end, and keeps little of it', async () => {
    const outcome = await call([script('yes')], '').outcome;
    expect(outcome).toMatchObject({ result: 'failed', why: expect.stringMatching(/^it wrote more than 1048576 characters/) });
    expect(outcome.output.length).toBe(OUTPUT_CHARS_KEPT);
  });

  it('does not wait for a process that goes on with its output, and kills it', async () => {
    const { outcome } = call([script(`sleep 1000 & echo $! > ${file('pid')}; exit 0`)], '');
    expect(await outcome).toMatchObject({ result: 'ok' });
    const pid = Number(readFileSync(file('pid'), 'utf8'));
    await expect.poll(() => isAlive(pid)).toBe(false);
  });

  it('does not wait for one that has left its process group either, which lives on', async () => {
    const { outcome } = call(
      [script(`setsid sh -c 'echo $$ > ${file('pid')}; exec sleep 1000' & until [ -s ${file('pid')} ]; do sleep 0.01; done; exit 0`)],
      '',
    );
    expect(await outcome).toMatchObject({ result: 'ok' });
    const pid = Number(readFileSync(file('pid'), 'utf8'));
    expect(isAlive(pid)).toBe(true);
    process.kill(pid, 'SIGKILL');
  });

  it('has not started where no descriptor is free for its input and output', async () => {
    await withoutDescriptors(async () => {
      expect(await call(['/bin/true'], '').outcome).toEqual({ result: 'not_started', why: 'spawn /bin/true EMFILE', output: '' });
    });
  });

  it('leaves no descriptor open, however it ends', async () => {
    const open = () => Number(execFileSync('/bin/sh', ['-c', `ls /proc/${process.pid}/fd | wc -l`], { encoding: 'utf8' }));
    await call([script('exit 0')], '').outcome;
    const before = open();
    for (let count = 0; count < 10; count++) {
      await call([script('sleep 1000 & exit 0')], '').outcome;
      await call(['/nowhere'], '').outcome;
    }
    await expect.poll(open).toBeLessThanOrEqual(before);
  });
});

const WELL: Verdict = { level: 'well', headline: 'all is well', problems: [] };
const problem = (what: string): Verdict => ({
  level: 'trouble',
  headline: what,
  problems: [{ code: 'helper', level: 'trouble', what, next: 'kpxctl doctor' }],
});

describe('the hook', () => {
  let verdict: Verdict;
  let command: string[];
  let called: HookResult[];
  let suppressed: number;
  let hook: Hook;

  beforeEach(() => {
    verdict = WELL;
    command = [script(`cat >> ${file('told')}`)];
    called = [];
    suppressed = 0;
    const observer = { called: (result: HookResult) => void called.push(result), suppressed: () => void suppressed++ };
    hook = new Hook(
      openLog({ program: 'test' }, 'fatal', { lost: () => {} }),
      () => command,
      () => verdict,
      observer,
    );
  });
  afterEach(() => hook.stop());

  const told = () =>
    existsSync(file('told'))
      ? readFileSync(file('told'), 'utf8')
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line))
      : [];
  const park = (job: string) =>
    hook.parked({ job, user: 'alice', reason: 'USER_DENIED', detail: '"alice" is in policy.deny', delivery: 1 });

  it('tells of a parked job, as one JSON object on a line', async () => {
    park('j1');
    await expect.poll(() => called).toEqual(['ok']);
    expect(told()).toEqual([
      {
        ...{ event: 'parked', at: expect.stringMatching(/^\d{4}-.*Z$/), reason: 'USER_DENIED', detail: '"alice" is in policy.deny' },
        ...{ next: expect.stringContaining('broker.toml'), user: 'alice', job: 'j1', host: expect.any(String), suppressed: 0 },
      },
    ]);
  });

  it('is told nothing at all without a command, neither then nor later', async () => {
    const [program = ''] = command;
    command = [];
    park('j1');
    command = [program];
    park('j2');
    await expect.poll(() => called).toEqual(['ok']);
    expect(told().map(({ job }) => job)).toEqual(['j2']);
  });

  it('tells of 10,000 jobs within moments ten in a minute, one at a time, and how many it does not tell of', async () => {
    command = [
      script(`test -e ${file('lock')} && echo twice >> ${file('told')}; touch ${file('lock')}; cat >> ${file('told')}; rm ${file('lock')}`),
    ];
    for (let count = 1; count <= 10_000; count++) park(`j${count}`);
    expect(suppressed).toBe(10_000 - WAITING_MAX - 1); // one runs
    await expect.poll(() => called.length).toBe(CALLS_A_MINUTE_MAX);
    expect(told().map((event) => event.suppressed)).toEqual([0, suppressed, 0, 0, 0, 0, 0, 0, 0, 0]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(called).toEqual(Array(CALLS_A_MINUTE_MAX).fill('ok'));
  });

  it('goes on after a program that fails, and after none', async () => {
    command = ['/nowhere'];
    park('j1');
    await expect.poll(() => called).toEqual(['not_started']);
    command = [script('exit 1')];
    park('j2');
    await expect.poll(() => called).toEqual(['not_started', 'failed']);
    command = [script(`cat >> ${file('told')}`)];
    park('j3');
    await expect.poll(() => told().map(({ job }) => job)).toEqual(['j3']);
  });

  it('kills the program that runs when the broker stops', async () => {
    command = [script(`echo $$ > ${file('pid')}; sleep 1000`)];
    park('j1');
    await expect.poll(() => existsSync(file('pid')) && readFileSync(file('pid'), 'utf8')).toMatch(/\d\n/);
    hook.stop();
    await expect.poll(() => isAlive(Number(readFileSync(file('pid'), 'utf8')))).toBe(false);
  });

  it('tells of another verdict when it has lasted for two looks, with the one before, and not of other words for the same', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    hook.start();
    const look = () => vi.advanceTimersByTime(LOOK_EVERY_MS);
    for (let count = 0; count < 3; count++) look();
    verdict = problem('kpx-privhelper for 5s');
    look();
    verdict = WELL;
    for (let count = 0; count < 3; count++) look(); // it was only for a moment
    for (let count = 1; count < 5; count++) {
      verdict = problem(`kpx-privhelper for ${count}s`);
      look();
    }
    await expect.poll(() => called).toEqual(['ok']);
    verdict = WELL;
    for (let count = 0; count < 3; count++) look();
    await expect.poll(() => called).toEqual(['ok', 'ok']);
    expect(told()).toMatchObject([
      {
        ...{ event: 'verdict', level: 'trouble', before: 'well', headline: 'kpx-privhelper for 2s', suppressed: 0 },
        problems: [{ problem: 'helper', level: 'trouble', what: 'kpx-privhelper for 2s', next: 'kpxctl doctor' }],
      },
      { event: 'verdict', level: 'well', before: 'trouble', headline: 'all is well', problems: [] },
    ]);
  });
});
