import type { Socket } from 'node:net';

/*
 * Why RabbitMQ refuses a virtual host. It says so by closing the connection in place of opening it, and amqplib drops that sentence. So the opening
 * handshake of AMQP 0-9-1 is gone through once more, as far as the answer to connection.open.
 */

/** How long all of it may take, in milliseconds. */
const TIMEOUT_MS = 5_000;
/** RabbitMQ's part of the handshake is far below that. */
const ANSWER_BYTES_MAX = 64 * 1024;
const PROTOCOL_HEADER = Buffer.from('AMQP\x00\x00\x09\x01', 'latin1');
const METHOD_FRAME = 1;
const FRAME_HEAD_BYTES = 7;
const FRAME_END = Buffer.of(0xce);

/** Methods: class in the upper 16 bits, method in the lower ones. */
const CONNECTION = 10 << 16;
const START = CONNECTION + 10;
const START_OK = CONNECTION + 11;
const TUNE = CONNECTION + 30;
const TUNE_OK = CONNECTION + 31;
const OPEN = CONNECTION + 40;
const CLOSE = CONNECTION + 50;

/** As SASL has it. */
export interface Login {
  readonly mechanism: string;
  readonly response: () => Buffer;
}

/** RabbitMQ's sentence, such as "NOT_ALLOWED - vhost x not found"; undefined where it does not refuse this time, or cannot be asked. */
export async function sentenceOfRefusal(socket: Socket, { mechanism, response }: Login, vhost: string): Promise<string | undefined> {
  const giveUp = setTimeout(() => socket.destroy(), TIMEOUT_MS);
  try {
    socket.write(PROTOCOL_HEADER);
    for await (const { method, fields } of methodsOf(socket)) {
      if (method === START) {
        const [noProperties, proof] = [uint32(0), response()];
        socket.write(frame(START_OK, noProperties, shortText(mechanism), uint32(proof.length), proof, shortText('en_US')));
      } else if (method === TUNE) {
        socket.write(Buffer.concat([frame(TUNE_OK, fields), frame(OPEN, shortText(vhost), shortText(''), Buffer.of(0))]));
      } else return method === CLOSE ? fields.toString('utf8', 3, 3 + (fields[2] ?? 0)) : undefined; // behind a code of 16 bits
    }
  } catch {
    // The connection was lost. The caller has an error to report already, and this was to explain it.
  } finally {
    clearTimeout(giveUp);
    socket.destroy();
  }
  return undefined;
}

async function* methodsOf(socket: Socket): AsyncGenerator<{ readonly method: number; readonly fields: Buffer }> {
  let rest = Buffer.alloc(0);
  for await (const chunk of socket) {
    rest = Buffer.concat([rest, chunk as Buffer]);
    if (rest.length > ANSWER_BYTES_MAX) return;
    while (rest.length > FRAME_HEAD_BYTES) {
      const end = FRAME_HEAD_BYTES + rest.readUInt32BE(3);
      if (rest.length <= end) break;
      const payload = rest.subarray(FRAME_HEAD_BYTES, end);
      rest = rest.subarray(end + FRAME_END.length);
      if (payload.length >= 4) yield { method: payload.readUInt32BE(0), fields: payload.subarray(4) };
    }
  }
}

function frame(method: number, ...fields: Buffer[]): Buffer {
  const payload = Buffer.concat([uint32(method), ...fields]);
  const channel0 = Buffer.of(METHOD_FRAME, 0, 0);
  return Buffer.concat([channel0, uint32(payload.length), payload, FRAME_END]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function shortText(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.of(bytes.length), bytes]);
}
