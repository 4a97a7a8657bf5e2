/*
 * The other process in transport.test.ts: node --import tsx peer.ts PROGRAM SOCKET. Each program is one situation that needs a process of its
 * own, because it ends, blocks or changes the process. Its messages go to stdout, one line each.
 */
import { openSync, readFileSync, writeSync } from 'node:fs';
import { adoptConnection, connectTo, listenAt, type PacketHandlers } from '../src/transport.js';

const PROGRAMS: Record<string, (path: string) => unknown> = {
  /** Closes at the first of two packets that are already there. */
  'close-in-packet': async (path) => {
    listenAt(path, (connection) => ({
      packet: (packet) => {
        say(`packet ${packet}`);
        connection().close('seen enough');
      },
      closed: (why) => say(`closed: ${why}`),
    }));
    const client = await connectTo(path, { ...ignore, closed: () => process.exit(0) });
    client.send(Buffer.from('one'));
    client.send(Buffer.from('two'));
  },

  'throw-in-packet': async (path) => {
    listenAt(path, () => ({ ...ignore, packet: fail('the packet handler is broken') }));
    (await connectTo(path, ignore)).send(Buffer.from('one'));
  },

  'throw-in-closed': async (path) => {
    listenAt(path, () => ({ ...ignore, closed: fail('the closed handler is broken') }));
    (await connectTo(path, ignore)).close('done');
  },

  'throw-in-accept': async (path) => {
    listenAt(path, fail('accept is broken'));
    await connectTo(path, ignore);
  },

  /** Run with a low limit of open files. */
  'listen-without-descriptors': (path) => {
    listenAt(path, () => ignore);
    try {
      for (;;) openSync('/dev/null', 'r');
    } catch {
      say('none left');
    }
  },

  /** Connections get as far as the kernel's queue, packets as far as its buffer. */
  'never-read': (path) => {
    listenAt(path, () => ignore);
    say('listening');
    block();
  },

  /** Leaves what it is sent unread, too. */
  'connect-and-block': async (path) => {
    await connectTo(path, ignore);
    say('connected');
    block();
  },

  'connect-and-wait': async (path) => {
    await connectTo(path, ignore);
    say('connected');
  },

  'connect-and-tell': async (path) => {
    await connectTo(path, ignore).then(
      () => say('connected'),
      (error: Error) => say(error.message),
    );
    process.exit(0);
  },

  'echo-on-descriptor-3': () => {
    const connection = adoptConnection(3, { packet: (packet) => connection.send(packet), closed: (why) => say(`closed: ${why}`) });
    say(/^flags:.*$/m.exec(readFileSync('/proc/self/fdinfo/3', 'utf8'))?.[0] ?? 'no flags');
  },
};

const ignore: PacketHandlers = { packet: () => {}, closed: () => {} };

/** Written at once: a blocked or dying process says it, too. */
function say(line: string): void {
  writeSync(1, `${line}\n`);
}

function fail(message: string): () => never {
  return () => {
    throw new Error(message);
  };
}

function block(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

const [program = '', path = ''] = process.argv.slice(2);
void PROGRAMS[program]?.(path);
