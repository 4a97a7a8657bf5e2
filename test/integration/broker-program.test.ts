import { chmodSync, writeFileSync } from 'node:fs';
import { DgramSocket } from 'node-unix-socket';
import { describe, expect, it, onTestFinished } from 'vitest';
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
      stderr: `${etc}/broken.toml: line 3, amqp.prefetsh: unknown key; did you mean "prefetch"?\n`,
    });
    expect(await runBroker(['--config', `${etc}/none.toml`])).toMatchObject({
      code: 78,
      stderr: expect.stringContaining('there is no such file'),
    });
  });

  it('tells the service manager that it is ready when the helper is connected, and what it waits for until then', async () => {
    const kpx = await installKpx();
    const path = `${kpx.etc}/run/notify`;
    const manager = new DgramSocket();
    onTestFinished(() => manager.close());
    manager.bind(path);
    chmodSync(path, 0o777);
    const told: string[] = [];
    manager.on('data', (datagram) => told.push(datagram.toString()));
    await kpx.startBroker({ wait: false, env: { NOTIFY_SOCKET: path } });
    await kpx.brokerLog.line({ msg: 'the helper cannot be used; trying again' });
    await expect.poll(() => told.join('\n')).toMatch(/^STATUS=.*no connection to kpx-privhelper since .* \(.*privhelper\.sock/m);
    expect(told.join('\n')).not.toContain('READY=1');
    await kpx.startHelper();
    await expect.poll(() => told).toContain('READY=1');
  });

  it('checks a configuration and says that it is good', async () => {
    const { etc } = await installKpx();
    expect(await runBroker(['--config', `${etc}/broker.toml`, '--check'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('no errors in the file; kpxctl doctor looks at the rest.'),
    });
  });
});
