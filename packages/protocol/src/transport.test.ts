import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, mkdtempSync, openSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { setImmediate as turn } from 'node:timers/promises';
import { build } from 'esbuild';
import { SeqpacketSocket } from 'node-unix-socket';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PACKET_BYTES_MAX, UNSENT_PACKETS_MAX } from './limits.js';
import { connectTo, listenAt, type PacketConnection, type PacketHandlers, peerOf } from './transport.js';

vi.setConfig({ testTimeout: 30_000 });

const PACKAGE = join(import.meta.dirname, '..');
const PEER = join(PACKAGE, 'test-fixtures/peer.ts');
const O_CLOEXEC = 0o2000000;
/** The bytes that the kernel holds for one connection, and a little more than the largest packet it takes. */
const SEND_BUFFER_BYTES = Number(readFileSync('/proc/sys/net/core/wmem_default', 'utf8'));

let folder: string;
let path: string;
let cleanUps: (() => void)[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kpx-transport-'));
  chmodSync(folder, 0o711);
  path = join(folder, 'socket');
  cleanUps = [() => rmSync(folder, { recursive: true })];
});

afterEach(() => {
  for (const cleanUp of cleanUps.reverse()) cleanUp();
  vi.restoreAllMocks();
});

/** Remembers what came, and can be waited for. */
class Inbox implements PacketHandlers {
  readonly packets: Buffer[] = [];
  readonly reasons: string[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #onPacket: (packet: Buffer) => void;

  constructor(onPacket: (packet: Buffer) => void = () => {}) {
    this.#onPacket = onPacket;
  }

  packet(packet: Buffer): void {
    this.packets.push(packet);
    this.#onPacket(packet);
    for (const look of this.#waiting) look();
  }

  closed(why: string): void {
    this.reasons.push(why);
    for (const look of this.#waiting) look();
  }

  async received(count: number): Promise<Buffer[]> {
    await this.#until(() => this.packets.length >= count);
    return this.packets;
  }

  /** Every reason that closed() was called with, seen a few turns of the event loop after the first one. */
  async ended(): Promise<string[]> {
    await this.#until(() => this.reasons.length > 0);
    for (let turns = 0; turns < 5; turns++) await turn();
    return this.reasons;
  }

  async #until(condition: () => boolean): Promise<void> {
    await new Promise<void>((resolve) => {
      const look = () => {
        if (!condition()) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }
}

interface Side {
  readonly inbox: Inbox;
  readonly connection: PacketConnection;
}

/** Listens at `path`. `accepted` is the first connection. */
function listen(onPacket?: (packet: Buffer, connection: PacketConnection) => void): { accepted: Promise<Side>; close(): void } {
  let accept: (side: Side) => void;
  const accepted = new Promise<Side>((resolve) => {
    accept = resolve;
  });
  const server = listenAt(path, (connection) => {
    const inbox = new Inbox((packet) => onPacket?.(packet, connection()));
    setImmediate(() => {
      cleanUps.push(() => connection().close('the test is over'));
      accept({ inbox, connection: connection() });
    });
    return inbox;
  });
  cleanUps.push(() => server.close());
  return { accepted, close: () => server.close() };
}

async function connect(): Promise<Side> {
  const inbox = new Inbox();
  const connection = await connectTo(path, inbox);
  cleanUps.push(() => connection.close('the test is over'));
  return { inbox, connection };
}

async function connectedPair(onFarPacket?: (packet: Buffer, connection: PacketConnection) => void): Promise<{ near: Side; far: Side }> {
  const { accepted } = listen(onFarPacket);
  const near = await connect();
  return { near, far: await accepted };
}

interface Peer {
  readonly child: ChildProcess;
  /** The next line that it writes. */
  said(): Promise<string | undefined>;
  /** How it ended, with what it wrote and had not been asked for. */
  ended(): Promise<{ code: number | null; signal: string | null; lines: string[]; stderr: string }>;
}

function run(command: string, args: string[], options: { env?: NodeJS.ProcessEnv; descriptor3?: number } = {}): Peer {
  // The peer would inherit sockets of this process and keep them open: /dev/null takes their place. 'ignore' would leave them as they are.
  const nothing = openSync('/dev/null', 'r+');
  const masks = Array.from({ length: Math.max(0, ...openSockets().keys()) - 3 }, () => nothing);
  const stdio: StdioOptions = ['ignore', 'pipe', 'pipe', options.descriptor3 ?? nothing, ...masks];
  const child = spawn(command, args, { cwd: PACKAGE, env: options.env, stdio });
  closeSync(nothing);
  cleanUps.push(() => child.kill('SIGKILL'));
  const [, stdout, stderr] = child.stdio;
  if (!stdout || !stderr) throw new Error('the peer has no output');
  const closed = once(child, 'close');
  const errors = text(stderr as NodeJS.ReadableStream);
  const lines = createInterface({ input: stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  return {
    child,
    said: async () => (await lines.next()).value,
    ended: async () => {
      const rest: string[] = [];
      for await (const line of { [Symbol.asyncIterator]: () => lines }) rest.push(line);
      const [code, signal] = await closed;
      return { code, signal, lines: rest, stderr: await errors };
    },
  };
}

function runPeer(program: string, options?: { descriptor3?: number }): Peer {
  return run(process.execPath, ['--import', 'tsx', PEER, program, path], options);
}

/** This process's descriptors that are sockets, with what tells one socket from another. */
function openSockets(): Map<number, string> {
  const sockets = new Map<number, string>();
  for (const name of readdirSync('/proc/self/fd')) {
    try {
      const target = readlinkSync(`/proc/self/fd/${name}`);
      if (target.startsWith('socket:')) sockets.set(Number(name), target);
    } catch {
      // the descriptor of this very listing
    }
  }
  return sockets;
}

async function newSockets(open: () => Promise<unknown>): Promise<number[]> {
  const before = openSockets();
  await open();
  return [...openSockets()].filter(([descriptor, target]) => before.get(descriptor) !== target).map(([descriptor]) => descriptor);
}

/** The descriptor of the connection accepted at `path`: it has the path of its listener, which the connecting side has not. */
function acceptedDescriptor(): number {
  const SO_ACCEPTCON = '00010000';
  const lines = readFileSync('/proc/net/unix', 'utf8').split('\n');
  const accepted = lines.map((line) => line.trim().split(/\s+/)).find((fields) => fields[7] === path && fields[3] !== SO_ACCEPTCON);
  const descriptor = [...openSockets()].find(([, target]) => target === `socket:[${accepted?.[6]}]`)?.[0];
  if (descriptor === undefined) throw new Error(`no connection was accepted at ${path}`);
  return descriptor;
}

/** Sees every packet that the library reads, delivered or not, in all sockets made from now on. */
function onRead(look: (packet: Buffer) => void): void {
  const emit = SeqpacketSocket.prototype.emit;
  vi.spyOn(SeqpacketSocket.prototype, 'emit').mockImplementation(function (this: SeqpacketSocket, event, ...args) {
    if (event === '_data') look(args[0]);
    return emit.call(this, event, ...args);
  });
}

describe('a packet', () => {
  it('arrives whole when it was sent from a slice in the middle of a buffer', async () => {
    const { near, far } = await connectedPair();
    near.connection.send(Buffer.from('before|the packet|after').subarray(7, 17));
    expect((await far.inbox.received(1)).map(String)).toEqual(['the packet']);
  });

  it('of PACKET_BYTES_MAX bytes passes whole, both ways', async () => {
    const { near, far } = await connectedPair((packet, connection) => connection.send(packet));
    const packet = Buffer.alloc(PACKET_BYTES_MAX, 'kpx');
    near.connection.send(packet);
    const [there] = await far.inbox.received(1);
    const [back] = await near.inbox.received(1);
    expect(there?.equals(packet)).toBe(true);
    expect(back?.equals(packet)).toBe(true);
  });

  it.each([PACKET_BYTES_MAX + 1, 200 * 1024])('of %i bytes is not delivered and closes the connection', async (bytes) => {
    const { near, far } = await connectedPair();
    near.connection.send(Buffer.alloc(bytes));
    near.connection.send(Buffer.from('after it'));
    expect(await far.inbox.ended()).toEqual(['the peer sent a packet of more than 65536 bytes']);
    expect(far.inbox.packets).toEqual([]);
  });

  it('that is too large closes a connection of ours that never sent anything, too', async () => {
    const { near, far } = await connectedPair();
    far.connection.send(Buffer.alloc(PACKET_BYTES_MAX + 1));
    expect(await near.inbox.ended()).toEqual(['the peer sent a packet of more than 65536 bytes']);
  });

  it('larger than the kernel takes closes the connection of its sender', async () => {
    const { near, far } = await connectedPair();
    near.connection.send(Buffer.alloc(Math.max(300 * 1024, SEND_BUFFER_BYTES)));
    expect(await near.inbox.ended()).toEqual(['the connection failed: Message too long']);
    expect(await far.inbox.ended()).toEqual(['the peer closed the connection']);
    expect(far.inbox.packets).toEqual([]);
  });

  it('is read into room for one byte more than allowed, on either side and from the first packet on', async () => {
    const read: number[] = [];
    onRead((packet) => read.push(packet.length));
    const { near, far } = await connectedPair();
    near.connection.send(Buffer.alloc(200 * 1024));
    await far.inbox.ended();
    path = join(folder, 'second');
    listen().accepted.then(({ connection }) => connection.send(Buffer.alloc(200 * 1024)));
    await (await connect()).inbox.ended();
    expect(read).toEqual([PACKET_BYTES_MAX + 1, PACKET_BYTES_MAX + 1]);
  });

  it('of no bytes is taken for the end of the connection', async () => {
    const { near, far } = await connectedPair();
    near.connection.send(Buffer.alloc(0));
    near.connection.send(Buffer.from('after it'));
    expect(await far.inbox.ended()).toEqual(['the peer closed the connection']);
    expect(far.inbox.packets).toEqual([]);
  });

  it('arrives in its order among many sent at once, several times as many as the kernel holds', async () => {
    const { near, far } = await connectedPair();
    const batch = UNSENT_PACKETS_MAX;
    for (let sent = 0; sent < 3 * batch; sent += batch) {
      for (let index = sent; index < sent + batch; index++) {
        const packet = Buffer.alloc(60_000);
        packet.writeUInt32BE(index);
        near.connection.send(packet);
      }
      await far.inbox.received(sent + batch);
    }
    expect(far.inbox.packets.map((packet) => packet.readUInt32BE())).toEqual(Array.from({ length: 3 * batch }, (_, index) => index));
    expect(near.inbox.reasons).toEqual([]);
  });
});

describe('closing', () => {
  it('inside a packet handler does not abort the process, and no packet comes after it', async () => {
    const { code, signal, lines } = await runPeer('close-in-packet').ended();
    expect({ code, signal, lines }).toEqual({ code: 0, signal: null, lines: ['packet one', 'closed: seen enough'] });
  });

  it('is told once, to both sides, whoever closes and however often', async () => {
    const { near, far } = await connectedPair();
    near.connection.close('first');
    near.connection.close('second');
    far.connection.close('third');
    expect(await near.inbox.ended()).toEqual(['first']);
    expect(await far.inbox.ended()).toEqual(['third']);
  });

  it('makes what is sent afterwards go nowhere', async () => {
    const { near, far } = await connectedPair();
    near.connection.close('done');
    near.connection.send(Buffer.from('too late'));
    await near.inbox.ended();
    near.connection.send(Buffer.from('far too late'));
    await far.inbox.ended();
    expect(far.inbox.packets).toEqual([]);
  });

  it('ends reading at once, although the peer sends faster than it is read', async () => {
    let read = 0;
    let flood = () => {};
    onRead(() => {
      read += 1;
      // Far above what is read when closing works, and an end to it when it does not.
      if (read < 1000) flood();
    });
    const { near, far } = await connectedPair((_, connection) => connection.close('enough'));
    flood = () => near.connection.send(Buffer.from('one more'));
    flood();
    expect(await far.inbox.ended()).toEqual(['enough']);
    expect(read).toBe(1);
  });
});

describe('what a handler throws', () => {
  it.each([
    ['throw-in-packet', 'the packet handler is broken'],
    ['throw-in-closed', 'the closed handler is broken'],
    ['throw-in-accept', 'accept is broken'],
  ])('ends the process, and says why (%s)', async (program, message) => {
    const { code, signal, stderr } = await runPeer(program).ended();
    expect({ code, signal }).toEqual({ code: 1, signal: null });
    expect(stderr).toContain(`Error: ${message}`);
  });
});

describe('a peer', () => {
  it('that does not read is cut off after a bounded number of packets', async () => {
    const peer = runPeer('never-read');
    expect(await peer.said()).toBe('listening');
    const { inbox, connection } = await connect();
    let sent = 0;
    for (; inbox.reasons.length === 0 && sent < 1000; sent++) {
      connection.send(Buffer.alloc(PACKET_BYTES_MAX));
      await turn();
    }
    expect(await inbox.ended()).toEqual(['the peer does not read']);
    expect(sent).toBeGreaterThan(UNSENT_PACKETS_MAX);
    expect(sent).toBeLessThanOrEqual(UNSENT_PACKETS_MAX + 2 + Math.ceil(SEND_BUFFER_BYTES / PACKET_BYTES_MAX));
  });

  it('that is killed is told as closed, once', async () => {
    const { accepted } = listen();
    const peer = runPeer('connect-and-wait');
    expect(await peer.said()).toBe('connected');
    const { inbox } = await accepted;
    peer.child.kill('SIGKILL');
    expect(await inbox.ended()).toEqual(['the peer closed the connection']);
  });

  it('that is killed before it has read everything is told as closed, once', async () => {
    const { accepted } = listen();
    const peer = runPeer('connect-and-block');
    expect(await peer.said()).toBe('connected');
    const { inbox, connection } = await accepted;
    for (let sent = 0; sent < UNSENT_PACKETS_MAX; sent++) connection.send(Buffer.alloc(PACKET_BYTES_MAX));
    peer.child.kill('SIGKILL');
    expect(await inbox.ended()).toEqual([expect.stringMatching(/^the connection failed: /)]);
  });

  it('that has gone when it is answered is told as closed, once', async () => {
    const { near, far } = await connectedPair((packet, connection) => connection.send(packet));
    near.connection.send(Buffer.from('one'));
    near.connection.send(Buffer.from('two'));
    near.connection.close('not interested');
    const reasons = await far.inbox.ended();
    expect(far.inbox.packets.map(String)).toEqual(['one', 'two']);
    expect(reasons).toHaveLength(1);
  });
});

describe('connectTo', () => {
  const handlers: PacketHandlers = { packet: () => {}, closed: () => {} };

  it('says that there is no socket', async () => {
    await expect(connectTo(path, handlers)).rejects.toThrow(
      `there is no socket at ${path}: kpx-privhelper or its socket unit is not running`,
    );
  });

  it('says that the path is something else', async () => {
    writeFileSync(path, '');
    await expect(connectTo(path, handlers)).rejects.toThrow(`${path} is not a socket`);
  });

  it('says that the path cannot be looked at', async () => {
    writeFileSync(path, '');
    await expect(connectTo(join(path, 'below-a-file'), handlers)).rejects.toThrow(`cannot look at ${path}/below-a-file: ENOTDIR`);
  });

  it('says that it has no permission', async () => {
    listen();
    chmodSync(path, 0);
    const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups', '--'];
    const peer = run('/usr/bin/setpriv', [...nobody, process.execPath, '--import', 'tsx', PEER, 'connect-and-tell', path]);
    expect(await peer.said()).toBe(`no permission to use ${path}: this process is not in the group of the socket`);
  });

  it('says that nobody listens, and keeps no descriptor', async () => {
    listen().close();
    const left = await newSockets(async () => {
      await expect(connectTo(path, handlers)).rejects.toThrow(`nobody answers at ${path}`);
    });
    expect(left).toEqual([]);
  });

  it('says that nobody answers when the listener goes away in between, and keeps no descriptor', async () => {
    const listener = listen();
    const connectSocket = SeqpacketSocket.prototype.connect;
    vi.spyOn(SeqpacketSocket.prototype, 'connect').mockImplementation(function (this: SeqpacketSocket, ...args) {
      connectSocket.apply(this, args);
      listener.close();
    });
    const left = await newSockets(async () => {
      await expect(connectTo(path, handlers)).rejects.toThrow(`nobody answers at ${path}`);
      await turn();
    });
    expect(left).toEqual([]);
  });
});

describe('listenAt', () => {
  it('names the path that already exists, and keeps no descriptor', async () => {
    writeFileSync(path, '');
    const left = await newSockets(async () => {
      expect(() => listen()).toThrow(`cannot listen on ${path} (Address already in use)`);
    });
    expect(left).toEqual([]);
  });

  it('keeps the connections that it has when it is closed', async () => {
    const { accepted, close } = listen();
    const { connection } = await connect();
    const { inbox } = await accepted;
    close();
    connection.send(Buffer.from('still here'));
    expect((await inbox.received(1)).map(String)).toEqual(['still here']);
    await expect(connect()).rejects.toThrow('nobody answers');
  });

  it('ends the process with a message when no descriptor is left for a connection', async () => {
    // Bundled: tsx wants descriptors of its own when an exception ends a process, and from Node 24 on waits for them for ever.
    const bundle = join(PACKAGE, `dist/peer-${process.pid}.cjs`);
    cleanUps.push(() => rmSync(bundle, { force: true }));
    await build({ entryPoints: [PEER], outfile: bundle, bundle: true, platform: 'node', external: ['node-unix-socket-*'] });
    const limited = `ulimit -n 64 && exec "$0" "$@"`;
    const peer = run('/bin/sh', ['-c', limited, process.execPath, bundle, 'listen-without-descriptors', path]);
    expect(await peer.said()).toBe('none left');
    await connect();
    const { code, signal, stderr } = await peer.ended();
    expect({ code, signal }).toEqual({ code: 1, signal: null });
    expect(stderr).toContain(`listening on ${path} failed: Too many open files`);
  });
});

describe('a descriptor', () => {
  it('is inheritable, listening and connected alike: the reason why a launcher fills the slots of its child', async () => {
    const sockets = await newSockets(connectedPair);
    expect(sockets).toHaveLength(3);
    for (const descriptor of sockets) {
      const flags = /^flags:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, 'utf8'))?.[1] ?? '';
      expect(Number.parseInt(flags, 8) & O_CLOEXEC, 'fixed in node-unix-socket? Then the launchers no longer need to do so').toBe(0);
    }
  });

  it('that a process was started with is adopted as a connection, and goes no further', async () => {
    const { accepted } = listen();
    const near = await connect();
    const far = await accepted;
    const peer = runPeer('echo-on-descriptor-3', { descriptor3: acceptedDescriptor() });
    far.connection.close('handed over');
    // Node marks what it was started with close-on-exec, so an adopted connection, unlike others, does not leak into children.
    const flags = /^flags:\s*(\d+)$/.exec((await peer.said()) ?? '')?.[1] ?? '';
    expect(Number.parseInt(flags, 8) & O_CLOEXEC).toBe(O_CLOEXEC);
    near.connection.send(Buffer.from('one'));
    near.connection.send(Buffer.from('two'));
    expect((await near.inbox.received(2)).map(String)).toEqual(['one', 'two']);
    near.connection.close('done');
    expect(await peer.said()).toBe('closed: the peer closed the connection');
    expect(await peer.ended()).toMatchObject({ code: 0, signal: null });
  });
});

describe('bundled into one file', () => {
  it('works with nothing but the native package beside it', async () => {
    const outfile = join(folder, 'peer.cjs');
    await build({
      entryPoints: [PEER],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'cjs',
      external: ['node-unix-socket-*'],
      logLevel: 'silent',
    });
    const nodeModules = dirname(dirname(createRequire(import.meta.url).resolve('node-unix-socket/package.json')));
    const peer = run(process.execPath, [outfile, 'close-in-packet', path], { env: { NODE_PATH: nodeModules } });
    const { code, stderr } = await peer.ended();
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });
});

describe('the peer in the name of a unit', () => {
  it.each([
    ['systemd 252', '7-4242-998', { pid: 4_242, uid: 998 }],
    ['a newer one', '7-3651-4242-998', { pid: 4_242, uid: 998 }],
    ['one that also gives the process’s number in its file system', '7-3651-4242_1201-998', { pid: 4_242, uid: 998 }],
  ])('is read as %s writes it', (_, instance, peer) => {
    expect(peerOf(instance)).toEqual(peer);
  });

  it.each(['', '7', '7-4242', '7-4242-', '7-4242-998-1-2', '7-4242-root', '-4242-998', '7-4242_1-_998'])(
    'is not guessed from %j',
    (instance) => {
      expect(peerOf(instance)).toBeUndefined();
    },
  );
});
