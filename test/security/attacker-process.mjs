// What attacker.ts has done under another account: a process with its rights and nothing else. Asked through the channel to its parent,
// it answers with what came of it: a value, or the error's code.

import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { SeqpacketSocket } from 'node-unix-socket';

/** Requests that are sent at once by one who does not read, and the pause after them, in milliseconds: too few to be too many in flight. */
const UNREAD_AT_ONCE = 8;
const UNREAD_PAUSE_MS = 2;

/** @type {Map<number, SeqpacketSocket>} */
const sockets = new Map();
let connections = 0;

/** @param {unknown} message */
const tell = (message) => void process.send?.(message);

/** @param {SeqpacketSocket} socket @param {string} path */
const connected = (socket, path) =>
  new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.connect(path, () => resolve(undefined));
  });

/** @param {string} path */
async function connect(path) {
  const connection = ++connections;
  const socket = new SeqpacketSocket();
  await connected(socket, path);
  sockets.set(connection, socket);
  socket.on('data', (packet) => tell({ connection, packet }));
  for (const end of ['end', 'error', 'close']) socket.on(end, () => close(connection));
  return connection;
}

/** @param {number} connection */
function close(connection) {
  const socket = sockets.get(connection);
  if (!sockets.delete(connection)) return;
  setImmediate(() => socket?.destroy());
  tell({ connection, closed: true });
}

/** As fast as it goes. Resolves with the number of answers when the other side has closed. @param {string} path @param {Uint8Array[]} packets */
async function flood(path, packets) {
  const socket = new SeqpacketSocket();
  await connected(socket, path);
  let answers = 0;
  const closed = new Promise((resolve) => {
    for (const end of ['end', 'error', 'close']) socket.on(end, resolve);
  });
  socket.on('data', () => {
    answers += 1;
  });
  for (const packet of packets) socket.write(Buffer.from(packet), 0, packet.length, () => {});
  await closed;
  setImmediate(() => socket.destroy());
  return answers;
}

/** Sends the first packet and then the second again and again, and reads nothing. Resolves when the other side has closed. @param {string} path @param {Uint8Array[]} packets */
async function neverRead(path, [first = new Uint8Array(), again = new Uint8Array()]) {
  const socket = new SeqpacketSocket();
  const { wrap } = /** @type {{ wrap: { startRecv(): void } }} */ (/** @type {unknown} */ (socket));
  wrap.startRecv = () => {};
  await connected(socket, path);
  let ended = false;
  socket.on('error', () => {
    ended = true;
  });
  socket.write(Buffer.from(first), 0, first.length, () => {});
  let sent = 0;
  while (!ended) {
    await delay(UNREAD_PAUSE_MS);
    for (let count = 0; count < UNREAD_AT_ONCE && !ended; count++) {
      socket.write(Buffer.from(again), 0, again.length, () => {});
      sent += 1;
    }
  }
  return sent;
}

/** Many connections at once, each closed when all are there. Resolves with their number. @param {string} path @param {number} count */
async function crowd(path, count) {
  const open = Array.from({ length: count }, () => new SeqpacketSocket());
  for (const socket of open) {
    await connected(socket, path);
    socket.on('error', () => {});
  }
  for (const socket of open) socket.destroy();
  return open.length;
}

/** @type {Record<string, (...args: any[]) => unknown>} */
const OPERATIONS = {
  connect,
  close,
  flood,
  neverRead,
  crowd,
  send: (connection, packet) => sockets.get(connection)?.write(Buffer.from(packet), 0, packet.length, () => {}),
  halfClose: (connection) => sockets.get(connection)?.end(),
  signal: (pid, signal) => process.kill(pid, signal) && undefined,
  read: (path) => readFileSync(path, 'latin1'),
  write: (path, text) => writeFileSync(path, text),
  list: (path) => readdirSync(path),
  link: (path) => readlinkSync(path),
};

process.on('message', async (/** @type {{ question: number, operation: string, args: unknown[] }} */ { question, operation, args }) => {
  try {
    tell({ question, value: await OPERATIONS[operation]?.(...args) });
  } catch (error) {
    tell({ question, code: /** @type {NodeJS.ErrnoException} */ (error).code ?? String(error) });
  }
});
process.on('disconnect', () => process.exit(0));
