import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { askBroker, BrokerUnreachable } from './client.js';

/** What says this to whoever asks, and then ends the connection; undefined: it goes on. */
async function brokerThatSays(text: string, end: 'end' | 'destroy' | undefined): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'kpx-client-test-'));
  const path = join(directory, 'control.sock');
  const server = createServer((connection) => {
    connection.on('error', () => {}); // the client may be gone
    connection.once('data', () => connection.write(text, () => end && connection[end]()));
    onTestFinished(() => void connection.destroy());
  });
  onTestFinished(() => {
    server.close();
    rmSync(directory, { recursive: true });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return path;
}

const HEAD = 'HTTP/1.1 200 OK\r\n';
const ENDED = /^\S+control\.sock: .*\bhas ended before its answer did$/;

it.each([
  ['before its answer', '', 'destroy'],
  ['in the middle of the head', HEAD, 'end'],
  ['in the middle of an answer of known length', `${HEAD}Content-Length: 100\r\n\r\n{"doing":`, 'end'],
  ['in the middle of an answer of known length, by force', `${HEAD}Content-Length: 100\r\n\r\n{"doing":`, 'destroy'],
  ['in the middle of an answer in pieces', `${HEAD}Transfer-Encoding: chunked\r\n\r\n9\r\n{"doing":\r\n`, 'end'],
  ['in the middle of an answer whose end is that of the connection', `${HEAD}Connection: close\r\n\r\n{"doing":`, 'end'],
] as const)('cannot reach a broker that ends %s', async (_, text, end) => {
  const answer = askBroker(await brokerThatSays(text, end), '/status');
  const error = await answer.catch((thrown: Error) => thrown);
  expect(error).toBeInstanceOf(BrokerUnreachable);
  expect((error as Error).message).toMatch(ENDED);
});

it('says how long it has waited for the rest of an answer', async () => {
  const path = await brokerThatSays(`${HEAD}Content-Length: 100\r\n\r\n{"doing":`, undefined);
  await expect(askBroker(path, '/status', { timeoutMs: 50 })).rejects.toThrow(new BrokerUnreachable(`${path}: no answer within 50 ms`));
});

it('cannot reach a broker any more when it is told to end in the middle of an answer', async () => {
  const path = await brokerThatSays(`${HEAD}Content-Length: 100\r\n\r\n{"doing":`, undefined);
  const ending = new AbortController();
  const answer = askBroker(path, '/status', { signal: ending.signal });
  setTimeout(() => ending.abort(), 50);
  await expect(answer).rejects.toBeInstanceOf(BrokerUnreachable);
});
