import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { CONTROL_GROUP_PREFIX, ownControlGroups } from '../fixtures/booted/control-group.mjs';
import { childrenOf, everyProcess, isGone } from '../fixtures/process.js';

const BOOT = path.join(import.meta.dirname, '../fixtures/booted/boot.mjs');
const WAIT = { timeout: 30_000, interval: 20 };
const LATEST_EARLY_KILL_MS = 900;
const EARLY_KILL_STEP_MS = 90;
const LITTER = ['/etc/kpx-litter', '/var/kpx-litter', '/run/kpx-litter', '/tmp/kpx-litter'];

/** A second machine beside the one of the whole run, of systemd alone, with this script beside it. */
function bootBare(script: string): { child: ChildProcess; exitCode: Promise<number | null>; output: () => string } {
  const command = [process.execPath, '--eval', script];
  const child = spawn(process.execPath, [BOOT, '--bare', '--', ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  return { child, exitCode: new Promise((resolve) => child.once('close', resolve)), output: () => output };
}

/** Leaves what it can in the container, says so, and ends as it is told to: by itself, or by nothing but a signal. */
const litter = (ending: string, killSignal = 'TERM') => `
  const { leader } = JSON.parse(process.env.KPX_BOOTED_MACHINE);
  const enter = ['--target=' + leader, '--mount', '--uts', '--ipc', '--net', '--pid', '--cgroup', '--'];
  const { execFileSync } = require('node:child_process');
  execFileSync('/usr/bin/nsenter', [...enter, '/usr/bin/systemd-run', '--quiet', '--unit=kpx-litter', '--property=KillSignal=SIG${killSignal}', '--property=Type=exec',
    '/usr/bin/sleep', 'infinity']);
  execFileSync('/usr/bin/nsenter', [...enter, '/usr/bin/touch', ...${JSON.stringify(LITTER)}]);
  console.log('littered');
  ${ending}
`;
const STAY = 'setInterval(() => {}, 1_000_000);';

/** Of machines that were booted from this process's own control groups: not those of another run of these tests. */
function controlGroups(): string[] {
  return ownControlGroups().flatMap((directory) =>
    readdirSync(directory)
      .filter((name) => name.startsWith(CONTROL_GROUP_PREFIX))
      .map((name) => path.join(directory, name)),
  );
}

function commandLineOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return ''; // ended while we looked
  }
}

/** Processes from before these tests. Those of the whole run's machine may end meanwhile, as systemd's own do that serve one question. */
let others: ReadonlySet<number>;

/** Everything that a machine could leave. */
function traces() {
  return {
    processes: everyProcess()
      .filter((pid) => !others.has(pid))
      .map(commandLineOf)
      .filter((line) => /boot\.mjs|supervisor\.mjs|inside\.mjs|nspawn|systemd|sleep infinity/.test(line))
      .sort(),
    mounts: readFileSync('/proc/self/mountinfo', 'utf8').split('\n').length,
    controlGroups: controlGroups().sort(),
    files: [...readdirSync('/run'), ...readdirSync('/run/kpx-booted'), ...LITTER.filter((file) => existsSync(file))],
  };
}

describe('the booted machine is gone', () => {
  let before: ReturnType<typeof traces>;
  beforeAll(() => {
    others = new Set(everyProcess());
    before = traces();
  });

  const endings = [
    { what: 'failure', ending: 'process.exit(7)', code: 7 },
    { what: 'a crash', ending: "process.kill(process.pid, 'SIGKILL')", code: 137 },
    { what: 'Ctrl-C', ending: STAY, signal: 'SIGINT', code: 130 },
    { what: 'SIGTERM, though a service in it does not end', ending: STAY, signal: 'SIGTERM', code: 143, killSignal: 'CONT' },
    { what: 'kill -9 of the outer process', ending: STAY, signal: 'SIGKILL', code: null },
  ] as const;
  it.each(endings.map(({ what, ...how }) => [what, how] as const))('after %s', async (_what, { ending, code, ...how }) => {
    const signal = 'signal' in how ? how.signal : undefined;
    const { child, exitCode, output } = bootBare(litter(ending, 'killSignal' in how ? how.killSignal : 'TERM'));
    await vi.waitFor(() => expect(output()).toContain('littered'), WAIT);
    if (signal !== undefined) {
      const during = traces();
      expect(during.controlGroups.length).toBeGreaterThan(before.controlGroups.length);
      expect(during.processes).toContain('/usr/bin/sleep infinity');
      child.kill(signal);
    }
    expect(await exitCode, output()).toBe(code);
    await vi.waitFor(() => expect(traces()).toEqual(before), WAIT);
  });

  it('if it is ended while it is being made', async () => {
    for (const signal of ['SIGKILL', 'SIGINT'] as const) {
      for (let delayMs = 0; delayMs <= LATEST_EARLY_KILL_MS; delayMs += EARLY_KILL_STEP_MS) {
        const { child, exitCode } = bootBare(STAY);
        await sleep(delayMs);
        child.kill(signal);
        await exitCode;
      }
    }
    await vi.waitFor(() => expect(traces()).toEqual(before), WAIT);
  });

  it('even if its supervisor is killed, but for empty control groups, which the next one removes', async () => {
    const killed = bootBare(litter(STAY));
    await vi.waitFor(() => expect(killed.output()).toContain('littered'), WAIT);
    const [supervisor = 0] = childrenOf(killed.child.pid ?? 0);
    process.kill(supervisor, 'SIGKILL');
    await killed.exitCode;
    await vi.waitFor(() => expect({ ...traces(), controlGroups: [] }).toEqual({ ...before, controlGroups: [] }), WAIT);
    expect(isGone(supervisor)).toBe(true);
    const left = controlGroups().filter((directory) => directory.endsWith(`${CONTROL_GROUP_PREFIX}${supervisor}`));
    const members = () => left.map((directory) => readFileSync(path.join(directory, 'cgroup.procs'), 'utf8')).join('');
    await vi.waitFor(() => expect(members()).toBe(''), WAIT); // a killed process is a member until it has ended
    const next = bootBare('');
    expect(await next.exitCode).toBe(0);
    expect(left.filter((directory) => existsSync(directory))).toEqual([]);
    expect(traces()).toEqual(before);
  });
});
