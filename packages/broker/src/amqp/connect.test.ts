import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, it, onTestFinished, vi } from 'vitest';
import { configSchema } from '../config/config.js';
import { connect } from './connect.js';

const OPEN_TIMEOUT_MS = 20_000;

/** A frame of a method of the class "connection", by AMQP 0-9-1, section 4.2.3. */
function frame(method: number, ...fields: Buffer[]): Buffer {
  const payload = Buffer.concat([Buffer.from([0, 10, 0, method]), ...fields]);
  const header = Buffer.from([1, 0, 0, 0, 0, 0, payload.length]);
  return Buffer.concat([header, payload, Buffer.from([0xce])]);
}

const longstr = (text: string) => Buffer.concat([Buffer.from([0, 0, 0, text.length]), Buffer.from(text)]);

/** connection.start, connection.tune and connection.open-ok. */
const HANDSHAKE = [
  frame(10, Buffer.from([0, 9]), longstr(''), longstr('PLAIN'), longstr('en_US')),
  frame(30, Buffer.from([0, 0, 0, 2, 0, 0, 0, 60])),
  frame(41, Buffer.from([0])),
];

it('a connection that opens when nobody waits for it any more is ended, and nothing else with it', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  onTestFinished(() => void vi.useRealTimers());
  const server = createServer();
  onTestFinished(() => void server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `amqp://kpx-broker@127.0.0.1:${(server.address() as AddressInfo).port}/knime`;
  const { amqp } = configSchema.parse({ amqp: { urls: [url] } });
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const opening = connect(url, amqp, 'host', { password: async () => 'secret', files: () => Promise.reject(new Error('no TLS here')) });
  const late = expect(opening).rejects.toThrow('RabbitMQ did not answer to connection.open within 20 s');
  const [socket] = await accepted;
  await once(socket, 'data');
  await vi.advanceTimersByTimeAsync(OPEN_TIMEOUT_MS + 1_000);
  await late;
  socket.on('error', () => {}); // a reset is an end as well
  const ended = once(socket, 'close');
  for (const answer of HANDSHAKE) {
    socket.write(answer);
    if (answer !== HANDSHAKE.at(-1)) await once(socket, 'data');
  }
  await ended;
});
