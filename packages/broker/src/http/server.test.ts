import { once } from 'node:events';
import { get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import { HttpError, httpServer, type Routes } from './server.js';

const BOUNDS = { connectionsMax: 4, connectionMsMax: 20_000 };

/** A server with these routes, and what it logs. */
async function serve(routes: Routes): Promise<{ port: number; lines: Record<string, unknown>[] }> {
  const lines: Record<string, unknown>[] = [];
  const log = pino({ base: null, timestamp: false }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const server = httpServer(routes, BOUNDS, log).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { port: (server.address() as AddressInfo).port, lines };
}

it('logs an error after the headers, and drops the connection', async () => {
  const { port, lines } = await serve({
    '/events': {
      method: 'GET',
      stream: (response) => {
        response.writeHead(200).write('half');
        throw new Error('no more to say');
      },
    },
  });
  const asked = get({ host: '127.0.0.1', port, path: '/events?since=1', agent: false });
  const whole = once(asked, 'response').then(([response]) => text(response));
  await expect(whole).rejects.toThrow();
  expect(lines).toEqual([
    {
      level: 50,
      path: '/events',
      reason: 'no more to say',
      msg: 'an HTTP answer failed halfway; its connection is closed, the broker goes on',
    },
  ]);
});

it('answers with an error before the headers, and logs nothing', async () => {
  const { port, lines } = await serve({
    '/status': {
      method: 'GET',
      answer: () => {
        throw new HttpError(503, 'try again later');
      },
    },
  });
  const [response] = await once(get({ host: '127.0.0.1', port, path: '/status', agent: false }), 'response');
  expect([response.statusCode, await text(response)]).toEqual([503, '{"error":"try again later"}\n']);
  expect(lines).toEqual([]);
});
