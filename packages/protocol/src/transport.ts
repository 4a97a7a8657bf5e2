import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { SeqpacketServer, SeqpacketSocket } from 'node-unix-socket';
import { KpxError } from './errors.js';
import { PACKET_BYTES_MAX, UNSENT_PACKETS_MAX } from './limits.js';

/*
 * SOCK_SEQPACKET over node-unix-socket 0.2.7: the only file that touches it. The library has sharp edges (each has a test in
 * transport.test.ts); everything else in kpx sees packets of at most PACKET_BYTES_MAX bytes and one `closed` at the end.
 */

export interface PacketHandlers {
  /** One packet, 1 to PACKET_BYTES_MAX bytes. An exception of it ends the process: the library alone would swallow it. */
  packet(packet: Buffer): void;
  /** Called once, whoever closed; no packet comes after it. `why` is one phrase for a log. */
  closed(why: string): void;
}

/**
 * For each function that the library calls. Node runs promise jobs after its own callbacks; from Node 26 on it does not after those of a library such
 * as this: what a handler has resolved would wait for the next event of the loop, seconds or more. An immediate is such an event.
 */
const calledBack =
  <Args extends unknown[]>(handler: (...args: Args) => void) =>
  (...args: Args): void => {
    setImmediate(() => {});
    handler(...args);
  };

let opened = 0;

/**
 * Changes with every socket that the library opens. They are not close-on-exec, and there is no other source of such descriptors once a process
 * runs: whoever starts another one need look for them only when this has changed. The library tells of a socket that it has accepted before
 * any other code of ours runs.
 */
export const socketsOpened = (): number => opened;

/** One connected socket. */
export class PacketConnection {
  readonly #socket: SeqpacketSocket;
  readonly #handlers: PacketHandlers;
  #unsent = 0;
  #open = true;

  constructor(socket: SeqpacketSocket, handlers: PacketHandlers) {
    opened += 1;
    this.#socket = socket;
    this.#handlers = handlers;
    // One byte more than allowed: a longer packet is truncated by the library without a word, and is seen here as too long.
    socket.setInternalReadBufferSize(PACKET_BYTES_MAX + 1);
    socket.on(
      'data',
      calledBack((packet: Buffer) => this.#receive(packet)),
    );
    // A zero-length packet looks like an end of the stream as well; there is no such packet in the protocol, so both are an end.
    socket.on('end', () => this.close('the peer closed the connection'));
    socket.on('error', (error: Error) => this.close(`the connection failed: ${error.message}`));
    socket.on('close', () => this.close('the connection was closed'));
  }

  /** Hands one packet to the kernel. A peer that does not read is cut off rather than buffered for. */
  send(packet: Buffer): void {
    if (!this.#open) return;
    if (this.#unsent >= UNSENT_PACKETS_MAX) {
      this.close('the peer does not read');
      return;
    }
    this.#unsent += 1;
    // Offset and length are always given: write(buffer, offset) without a length aborts the process.
    this.#socket.write(packet, 0, packet.length, () => {
      this.#unsent -= 1;
    });
  }

  /**
   * Idempotent. Packets that the kernel has not accepted yet are dropped. Closing is deferred: destroy() inside a 'data' handler aborts the
   * process.
   */
  close(why: string): void {
    if (!this.#open) return;
    this.#open = false;
    // The library reads until nothing is left, in one go: a peer that sends fast enough would hold the process in there for good. A read
    // into no room ends that loop at once.
    this.#socket.setInternalReadBufferSize(0);
    setImmediate(() => {
      this.#socket.destroy();
      this.#handlers.closed(why);
    });
  }

  #receive(packet: Buffer): void {
    if (!this.#open) return;
    if (packet.length > PACKET_BYTES_MAX) {
      this.close(`the peer sent a packet of more than ${PACKET_BYTES_MAX} bytes`);
      return;
    }
    try {
      this.#handlers.packet(packet);
    } catch (error) {
      endProcess(error);
    }
  }
}

/** Throws where Node sees it: exceptions inside the library's callbacks are swallowed ('data') or abort without a message (its server's). */
function endProcess(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}

/** Takes over a connected socket that this process was started with (systemd's `Accept=yes`: descriptor 3). */
export function adoptConnection(descriptor: number, handlers: PacketHandlers): PacketConnection {
  return new PacketConnection(new SeqpacketSocket(descriptor), handlers);
}

/** Connects to a listening socket. Rejects with an Error that names the path and what is wrong with it. */
export async function connectTo(path: string, handlers: PacketHandlers): Promise<PacketConnection> {
  await explainUnreachable(path);
  const socket = new SeqpacketSocket();
  opened += 1;
  return await new Promise<PacketConnection>((resolve, reject) => {
    // The cause is not worth showing: the library closes its socket first and then reports the errno of that, 'No such file or directory'.
    const refused = calledBack((cause: unknown) => reject(new Error(`nobody answers at ${path}`, { cause })));
    socket.on('error', refused);
    try {
      // Connected, but not read from before this callback has returned: the connection's read buffer size holds for the first packet, too.
      socket.connect(
        path,
        calledBack(() => resolve(new PacketConnection(socket, handlers))),
      );
    } catch (error) {
      refused(error);
    }
  });
}

/** The library reports a vanished or forbidden path as 'Unknown' or 'No such file': look first, and say what is really wrong. */
async function explainUnreachable(path: string): Promise<void> {
  const status = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') throw new Error(`there is no socket at ${path}: kpx-privhelper or its socket unit is not running`);
    throw new Error(`cannot look at ${path}: ${error.code}`);
  });
  if (!status.isSocket()) throw new Error(`${path} is not a socket`);
  await access(path, constants.R_OK | constants.W_OK).catch(() => {
    throw new Error(`no permission to use ${path}: this process is not in the group of the socket`);
  });
}

/**
 * Listens on a path that must not exist yet; throws a DIRECTORY_FAILED that names it. Every connection gets handlers of its own from `accept`; the
 * getter it is given works once `accept` has returned. An exception of `accept`, or an accept(2) that fails, ends the process.
 */
export function listenAt(path: string, accept: (connection: () => PacketConnection) => PacketHandlers): { close(): void } {
  const server = new SeqpacketServer();
  opened += 1;
  server.on('error', (error: Error) => endProcess(new Error(`listening on ${path} failed: ${error.message}`, { cause: error })));
  const accepted = (socket: SeqpacketSocket) => {
    try {
      const connection: PacketConnection = new PacketConnection(
        socket,
        accept(() => connection),
      );
    } catch (error) {
      endProcess(error);
    }
  };
  server.on('connection', calledBack(accepted));
  try {
    server.listen(path);
  } catch (error) {
    server.close();
    throw new KpxError('DIRECTORY_FAILED', `cannot listen on ${path} (${(error as Error).message})`, { cause: error });
  }
  return { close: () => server.close() };
}

/**
 * The peer in the instance name that systemd gives to a connection on a Unix socket: NUMBER-PID-UID (systemd 252), and in newer ones
 * NUMBER-COOKIE-PID-UID or NUMBER-COOKIE-PID_PIDFD-UID. Source: instance_from_socket in systemd's src/core/socket.c. Undefined for anything else.
 */
export function peerOf(instance: string): { readonly pid: number; readonly uid: number } | undefined {
  const [, pid, uid] = /^\d+(?:-\d+)?-(\d+)(?:_\d+)?-(\d+)$/.exec(instance) ?? [];
  return pid === undefined ? undefined : { pid: Number(pid), uid: Number(uid) };
}
