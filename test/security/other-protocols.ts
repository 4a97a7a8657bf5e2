import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/* Clients of RabbitMQ's plugins for STOMP 1.2 and MQTT 3.1.1, as far as an attempt needs them. */

const HOST = '127.0.0.1';
const TIMEOUT_MS = 10_000;

async function opened(port: number): Promise<Socket> {
  const socket = connect({ host: HOST, port, noDelay: true });
  await once(socket, 'connect');
  return socket;
}

/** The next bytes; undefined: it is closed. */
async function heard(socket: Socket): Promise<Buffer | undefined> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const data = once(socket, 'data', { signal }).then(([chunk]) => chunk as Buffer);
  const end = once(socket, 'close', { signal }).then(() => undefined);
  data.catch(() => {});
  end.catch(() => {});
  return await Promise.race([data, end]);
}

export interface Login {
  readonly user: string;
  readonly password: string;
  readonly vhost: string;
}

/** The first line of what STOMP answers to these frames: those are sent one after the other, and each asks for a receipt. */
export async function stomp(port: number, { user, password, vhost }: Login, ...frames: readonly string[]): Promise<string[]> {
  const socket = await opened(port);
  const answers: string[] = [];
  const connecting = `CONNECT\naccept-version:1.2\nhost:${vhost}\nlogin:${user}\npasscode:${password}\n\n\0`;
  for (const frame of [connecting, ...frames.map((each) => each.replace('\n', '\nreceipt:r\n').concat('\0'))]) {
    socket.write(frame);
    const answer = (await heard(socket))?.toString('utf8').trimStart();
    answers.push(answer?.split('\n')[0] ?? 'closed');
    if (answer === undefined || answer.startsWith('ERROR')) break;
  }
  socket.destroy();
  return answers;
}

const text = (value: string) => {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
};
const packet = (head: number, ...parts: readonly Buffer[]) => {
  const rest = Buffer.concat(parts);
  const length = rest.length < 128 ? [rest.length] : [(rest.length % 128) | 128, Math.floor(rest.length / 128)];
  return Buffer.concat([Buffer.from([head, ...length]), rest]);
};
const CONNECT = 0x10;
const CLEAN_WITH_PASSWORD = 0xc2;
const PUBLISH_ONCE = 0x32;
const CONNACK = 0x20;

/** The code that MQTT answers to a login with, 0 for a good one, and whether it acknowledged the message on this topic. */
export async function mqtt(
  port: number,
  { user, password, vhost }: Login,
  topic: string,
): Promise<{ code: number | 'closed'; published: boolean }> {
  const socket = await opened(port);
  const options = Buffer.from([4, CLEAN_WITH_PASSWORD, 0, 60]);
  socket.write(packet(CONNECT, text('MQTT'), options, text(`kpx-test-${process.pid}`), text(`${vhost}:${user}`), text(password)));
  const answer = await heard(socket);
  const code = answer?.[0] === CONNACK ? (answer[3] ?? 'closed') : 'closed';
  let published = false;
  if (code === 0) {
    socket.write(packet(PUBLISH_ONCE, text(topic), Buffer.from([0, 1]), Buffer.from('forged')));
    published = (await heard(socket)) !== undefined;
  }
  socket.destroy();
  return { code, published };
}
