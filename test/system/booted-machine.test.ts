import { describe, expect, it } from 'vitest';
import { bootedMachine } from './shared-machine.js';

const machine = bootedMachine();

describe('the booted machine', () => {
  it('has no network but its loopback, which it shares with the tests', async () => {
    const { stdout } = await machine.run(['/usr/bin/readlink', '/proc/self/ns/net']);
    expect(stdout).toBe((await machine.run(['/usr/bin/readlink', '/proc/1/ns/net'])).stdout);
    const links = await machine.run(['/usr/sbin/ip', '-oneline', 'link', 'show', 'up']);
    expect(links.stdout.trimEnd().split('\n')).toEqual([expect.stringContaining('lo:')]);
  });
});

describe('a test', () => {
  it('is told when a program fails or takes too long, and leaves none behind', async () => {
    await expect(machine.run(['/usr/bin/cat', '/nonexistent'])).rejects.toThrow(/exit code 1\n.*No such file/);
    expect(await machine.run(['/usr/bin/false'], { allowFailure: true })).toEqual({ exitCode: 1, stdout: '', stderr: '' });
    const killed = await machine.run(['/usr/bin/timeout', '--signal=KILL', '0.01', '/usr/bin/sleep', '12345'], { allowFailure: true });
    expect(killed.exitCode).toBe(137);
    await expect(machine.run(['/usr/bin/sleep', '12345'], { timeoutMs: 200 })).rejects.toThrow('not within 200 ms');
    expect((await machine.run(['/usr/bin/pgrep', '--full', 'sleep 12345'], { allowFailure: true })).stdout).toBe('');
  });

  it('is told when a unit cannot be started, and when a line does not come', async () => {
    const awaited = machine.waitForJournal('nothing', [`--after-cursor=${await machine.journalCursor()}`], () => false, 300);
    await expect(awaited).rejects.toThrow('nothing');
    await expect(machine.systemctl('start', 'kpx-not-there.service')).rejects.toThrow('not found');
  });
});
