import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { type Logger, pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { EventStreams, type Said, STREAMS_MAX } from './streams.js';

const SECOND_MS = 1_000;
/** For what comes over a connection, on a machine that has other work. */
const WAIT = { timeout: 20_000 };
const silent = pino({ level: 'silent' });

/** A server that has nothing but streams. */
async function serve(look: () => Said, log: Logger = silent): Promise<{ server: Server; port: number }> {
  const streams = new EventStreams(look, log);
  const server = createServer((_, response) => {
    try {
      streams.open(response);
    } catch (error) {
      response.writeHead((error as { status: number }).status).end();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { server, port: (server.address() as AddressInfo).port };
}

interface Client {
  readonly response: IncomingMessage;
  /** Resolves with all that has come once `text` is in it. */
  has(text: string): Promise<string>;
}

async function open(port: number): Promise<Client> {
  const asked = request({ host: '127.0.0.1', port, agent: false });
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  let came = '';
  response.setEncoding('utf8').on('error', () => {});
  response.setMaxListeners(0).on('data', (text) => {
    came += text;
  });
  const has = (text: string) =>
    new Promise<string>((resolve) => {
      const look = () => came.includes(text) && resolve(came);
      response.on('data', look);
      look();
    });
  return { response, has };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('event streams', () => {
  it('begin with everything, and then have what has changed', async () => {
    const said = { now: 1, people: 'alice\nbob' };
    const { port } = await serve(() => ({ ...said }));
    const first = await open(port);
    const all = 'event: now\ndata: 1\n\nevent: people\ndata: "alice\\nbob"\n\n';
    expect(await first.has('people')).toBe(all);
    said.now = 2;
    vi.advanceTimersByTime(3 * SECOND_MS);
    said.now = 3;
    vi.advanceTimersByTime(SECOND_MS);
    expect(await first.has('data: 3')).toBe(`${all}event: now\ndata: 2\n\nevent: now\ndata: 3\n\n`);
    expect(await (await open(port)).has('people')).toBe(all.replace('data: 1', 'data: 3'));
  });

  it('have a sign of life where nothing changes', async () => {
    const { port } = await serve(() => ({ now: 1 }));
    const client = await open(port);
    await client.has('now');
    vi.advanceTimersByTime(25 * SECOND_MS);
    const came = await client.has('alive\ndata: null\n\nevent: alive');
    expect(came.split('event:').length - 1).toBe(1 + 2);
  });

  it('look once for all, and not at all when nobody reads', async () => {
    const look = vi.fn(() => ({ now: 1 }));
    const { port } = await serve(look);
    expect(vi.getTimerCount()).toBe(0);
    const clients = await Promise.all([open(port), open(port), open(port)]);
    expect(look).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(5 * SECOND_MS);
    expect(look).toHaveBeenCalledTimes(1 + 5);
    for (const { response } of clients) response.destroy();
    await vi.waitFor(() => expect(vi.getTimerCount()).toBe(0), WAIT);
  });

  it(`are ${STREAMS_MAX} at most, and the place of one that has ended is free`, async () => {
    const { port } = await serve(() => ({}));
    const clients = await Promise.all(Array.from({ length: STREAMS_MAX }, () => open(port)));
    expect((await open(port)).response.statusCode).toBe(503);
    clients[0]?.response.destroy();
    await vi.waitFor(async () => expect((await open(port)).response.statusCode).toBe(200), WAIT);
  });

  it('end after an hour, so that nobody keeps one for good', async () => {
    const said = { now: 1 };
    const { port } = await serve(() => ({ ...said }));
    const client = await open(port);
    const ended = new Promise((resolve) => client.response.once('end', resolve));
    vi.advanceTimersByTime(3_598 * SECOND_MS);
    said.now = 2;
    vi.advanceTimersByTime(SECOND_MS);
    await client.has('data: 2'); // and with it all that came before
    vi.advanceTimersByTime(SECOND_MS);
    await ended;
    expect(client.response.complete).toBe(true);
  });

  it('drop who does not read, and nobody else', async () => {
    let tick = 0;
    const { server, port } = await serve(() => ({ now: `${tick++}${'x'.repeat(1_000_000)}` }));
    const slow = connect(port, '127.0.0.1').on('error', () => {});
    onTestFinished(() => void slow.destroy());
    slow.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n');
    slow.pause();
    const reader = await open(port);
    const connections = () => new Promise((resolve) => server.getConnections((_, count) => resolve(count)));
    await vi.waitFor(async () => expect(await connections()).toBe(2), WAIT);
    // More than the kernel keeps for a reader that is late.
    for (let second = 0; (await connections()) === 2 && second < 60; second++) {
      vi.advanceTimersByTime(SECOND_MS);
      await reader.has(`data: "${tick - 1}x`);
    }
    expect(await connections()).toBe(1);
    expect(reader.response.destroyed).toBe(false);
  });

  it('end where it cannot be said how things are, and the log says why', async () => {
    let broken = false;
    const log = pino({ level: 'silent' });
    const error = vi.spyOn(log, 'error');
    const look = () => {
      if (broken) throw new Error('no look');
      return { now: 1 };
    };
    const { port } = await serve(look, log);
    const { response } = await open(port);
    const closed = new Promise((resolve) => response.once('close', resolve));
    broken = true;
    vi.advanceTimersByTime(SECOND_MS);
    await closed;
    expect(error).toHaveBeenCalledWith({ reason: 'no look' }, expect.any(String));
  });
});
