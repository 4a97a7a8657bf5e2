import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DgramSocket } from 'node-unix-socket';
import { expect, it, onTestFinished } from 'vitest';
import { ServiceManager } from './service-manager.js';

it('tells the service manager one status line, whatever RabbitMQ has said', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'kpx-notify-'));
  const path = join(directory, 'socket');
  const socket = new DgramSocket();
  const told = new Promise<string>((resolve) => {
    socket.on('data', (data: Buffer) => resolve(data.toString()));
  });
  socket.bind(path);
  const manager = new ServiceManager({ NOTIFY_SOCKET: path }, (why) => expect.fail(why));
  onTestFinished(() => {
    manager.close();
    socket.close();
    rmSync(directory, { recursive: true });
  });
  manager.lives(() => 'no connection to RabbitMQ (NOT_ALLOWED\nSTOPPING=1)');
  expect(await told).toBe('STATUS=no connection to RabbitMQ (NOT_ALLOWED\\u000aSTOPPING=1)');
});
