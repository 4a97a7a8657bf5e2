// What attacker.ts has done under another account: a process with its rights and nothing else. Asked through the channel to its parent,
// it answers with what came of it: a value, or the error's code.

import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { promisify } from 'node:util';
import { SeqpacketSocket } from 'node-unix-socket';

const PERL_TIMEOUT_MS = 10_000;

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

/** One that is deaf never reads. @param {string} path @param {boolean} [deaf] */
async function connect(path, deaf = false) {
  const connection = ++connections;
  const socket = new SeqpacketSocket();
  const { wrap } = /** @type {{ wrap: { startRecv(): void } }} */ (/** @type {unknown} */ (socket));
  if (deaf) wrap.startRecv = () => {};
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

/** Sends, has its answer, and sends the other packet `count` times as fast as it goes. Resolves with the number of further answers when the other
 * side has closed. @param {string} path @param {Uint8Array} first @param {Uint8Array} again @param {number} count */
async function flood(path, first, again, count) {
  const socket = new SeqpacketSocket();
  await connected(socket, path);
  const closed = new Promise((resolve) => {
    for (const end of ['end', 'error', 'close']) socket.on(end, resolve);
  });
  let answers = -1;
  const answered = new Promise((resolve) => {
    socket.on('data', () => {
      answers += 1;
      resolve(undefined);
    });
  });
  write(socket, first);
  await answered;
  for (let sent = 0; sent < count; sent++) write(socket, again);
  await closed;
  setImmediate(() => socket.destroy());
  return answers;
}

/** @param {SeqpacketSocket} socket @param {Uint8Array} packet */
const write = (socket, packet) => socket.write(Buffer.from(packet), 0, packet.length, () => {});

/** As many connections at once as it is given, up to `count`. Resolves with their number. @param {string} path @param {number} count */
async function crowd(path, count) {
  /** @type {SeqpacketSocket[]} */
  const open = [];
  for (let tried = 0; tried < count; tried++) {
    const socket = new SeqpacketSocket();
    socket.on('error', () => {});
    try {
      socket.connect(path, () => {});
      open.push(socket);
    } catch {
      // The listener has as many in its queue as it may have.
    }
  }
  await new Promise((resolve) => setImmediate(resolve));
  for (const socket of open) socket.destroy();
  return open.length;
}

/** @param {string} path @returns {Promise<string>} what the kernel says, which looks at the permission before the type of the socket */
const knock = (path) =>
  new Promise((resolve) => {
    const client = net.connect(path, () => resolve('connected'));
    client.once('error', (error) => resolve(/** @type {NodeJS.ErrnoException} */ (error).code ?? error.message));
  });

/** What node-unix-socket has no call for. @param {string} program @param {string[]} args */
const perl = async (program, ...args) =>
  (await promisify(execFile)('/usr/bin/perl', ['-MSocket', '-e', program, ...args], { timeout: PERL_TIMEOUT_MS })).stdout;

const OF_PROCESS = ['cmdline', 'environ', 'comm', 'status', 'stat', 'maps', 'mountinfo', 'cgroup'];

/** Files of /proc that hold the text, of those that this account may read, and how many it may read. @param {string} text */
function search(text) {
  const paths = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => OF_PROCESS.map((file) => `/proc/${pid}/${file}`));
  const found = [];
  let read = 0;
  for (const path of paths) {
    try {
      const content = readFileSync(path, 'latin1');
      read += 1;
      if (content.includes(text)) found.push(path);
    } catch {
      // It may not be read, or is gone.
    }
  }
  return { found, read };
}

/** @type {Record<string, (...args: any[]) => unknown>} */
const OPERATIONS = {
  connect,
  close,
  flood,
  crowd,
  knock,
  perl,
  send: (connection, packet) => {
    const socket = sockets.get(connection);
    if (socket) write(socket, packet);
  },
  signal: (pid, signal) => process.kill(pid, signal) && undefined,
  read: (path) => readFileSync(path, 'latin1'),
  write: (path, text) => writeFileSync(path, text),
  list: (path) => readdirSync(path),
  link: (path) => readlinkSync(path),
  remove: (path) => unlinkSync(path),
  search,
};

process.on('message', async (/** @type {{ question: number, operation: string, args: unknown[] }} */ { question, operation, args }) => {
  try {
    tell({ question, value: await OPERATIONS[operation]?.(...args) });
  } catch (error) {
    tell({ question, code: /** @type {NodeJS.ErrnoException} */ (error).code ?? String(error) });
  }
});
process.on('disconnect', () => process.exit(0));
