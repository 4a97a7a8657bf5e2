import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { installKpx, runBroker } from './installed-kpx.js';

describe('kpx-broker', () => {
  it('explains itself', async () => {
    const { code, stdout } = await runBroker(['--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('Usage: kpx-broker --config FILE [--check]');
  });

  it('ends with 64 on wrong usage', async () => {
    expect(await runBroker([])).toMatchObject({ code: 64, stderr: expect.stringContaining('--config FILE is missing') });
    expect(await runBroker(['--confg', 'x'])).toMatchObject({ code: 64, stderr: expect.stringContaining('--confg') });
  });

  it('ends with 77 when it is started as root, which it must not be', async () => {
    const { etc } = await installKpx();
    const { code, stderr } = await runBroker(['--config', `${etc}/broker.toml`], {});
    expect(code).toBe(77);
    expect(stderr.trim().split('\n')).toEqual([expect.stringMatching(/must not be started as root/)]);
  });

  it('ends with 78 on a configuration that cannot be used, naming file and key', async () => {
    const { etc } = await installKpx();
    writeFileSync(`${etc}/broken.toml`, '[amqp]\nurls = ["amqp://u@h"]\nprefetsh = 5\n');
    expect(await runBroker(['--config', `${etc}/broken.toml`])).toMatchObject({
      code: 78,
      stderr: `${etc}/broken.toml: amqp.prefetsh: unknown key; did you mean "prefetch"?\n`,
    });
    expect(await runBroker(['--config', `${etc}/none.toml`])).toMatchObject({
      code: 78,
      stderr: expect.stringContaining('there is no such file'),
    });
  });

  it('checks a configuration and says that it is good', async () => {
    const { etc } = await installKpx();
    expect(await runBroker(['--config', `${etc}/broker.toml`, '--check'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('everything is as it must be'),
    });
  });
});
