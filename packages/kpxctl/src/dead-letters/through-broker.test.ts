import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { throughBroker } from './through-broker.js';

const CHOSEN = { letters: [], all: true, choice: '0b9ad9a5-6d3f-4b0a-8f6c-2f7c2c1f6f0e' };

/** A broker that answers this; with undefined nothing, with "cut" the beginning of an answer. */
async function brokerWith(answer: object | 'cut' | undefined) {
  const directory = mkdtempSync(join(tmpdir(), 'kpx-letters-'));
  const asked: string[] = [];
  const server = createServer(({ url = '' }, response) => {
    asked.push(url);
    if (answer === 'cut') response.write('{', () => response.destroy());
    else if (answer) response.end(JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(join(directory, 'socket'), resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
    rmSync(directory, { recursive: true });
  });
  return { socket: join(directory, 'socket'), asked };
}

it('has the broker settle what it has shown, and says what was done, also where something has failed', async () => {
  const letter = { id: 'abc' };
  const { socket, asked } = await brokerWith({ done: [letter], problem: 'The connection was lost' });
  const done = vi.fn();
  expect(await throughBroker(socket).settle('drop', CHOSEN, done)).toBe('The connection was lost');
  expect([asked, done.mock.calls]).toEqual([[`/dead-letters/drop?choice=${CHOSEN.choice}`], [[letter]]]);
});

it('says that the broker may go on where no answer comes in time', async () => {
  const { socket } = await brokerWith(undefined);
  await expect(throughBroker(socket, 50).settle('replay', CHOSEN, () => {})).rejects.toMatchObject({
    exitCode: 69,
    message: expect.stringMatching(/no answer within 50 ms\. The broker may go on with the dead letters\. Its log has .*journalctl/),
  });
});

it('says that the broker may go on where it ends in the middle of its answer', async () => {
  const { socket } = await brokerWith('cut');
  await expect(throughBroker(socket).settle('drop', CHOSEN, () => {})).rejects.toMatchObject({
    exitCode: 69,
    message: expect.stringMatching(/has ended before its answer did\. The broker may go on with the dead letters\./),
  });
});

it('settles nothing through a broker that does not name what it has shown', async () => {
  const { socket, asked } = await brokerWith({ done: [], problem: null });
  const { choice: _, ...unnamed } = CHOSEN;
  await expect(throughBroker(socket).settle('drop', unnamed, () => {})).rejects.toThrow('The broker is older than this kpxctl');
  expect(asked).toEqual([]);
});
