import { chmodSync, rmSync } from 'node:fs';
import {
  connectTo,
  decodeRequest,
  decodeResponse,
  type ErrorCode,
  encodeResponse,
  listenAt,
  type PacketConnection,
  type PacketHandlers,
} from '@kpx/protocol';

/** The helper's own deadline has passed when it gives up waiting for systemctl, in milliseconds. */
const DEADLINE_MS = 10_000;
const SOCKET_MODE = 0o666;

/** What becomes of an answer of the helper. */
type Bad =
  | { readonly how: 'error'; readonly code: ErrorCode }
  | { readonly how: 'late'; readonly ms: number }
  /** The helper does what it was asked for, and has not heard of it in time: as when PID 1 hangs. */
  | { readonly how: 'too late' };

/** The broker's way to the helper and its bad days. Hello is answered by the helper whatever happens. */
export class HelperWay {
  readonly #helper: string;
  readonly #server: { close(): void };
  readonly #near = new Set<PacketConnection>();
  #bad: Bad | undefined;

  constructor(
    readonly socket: string,
    helper: string,
  ) {
    this.#helper = helper;
    this.#server = listenAt(socket, (near) => this.#accept(near));
    chmodSync(socket, SOCKET_MODE);
  }

  /** From now on. */
  be(bad: Bad): void {
    this.#bad = bad;
  }

  heal(): void {
    this.#bad = undefined;
  }

  close(): void {
    this.#server.close();
    for (const near of this.#near) near.close('the run is over');
    rmSync(this.socket, { force: true });
  }

  #accept(near: () => PacketConnection): PacketHandlers {
    const early: Buffer[] = [];
    const answeredLate = new Set<number>();
    let far: PacketConnection | undefined;
    let over = false;
    const back = (packet: Buffer) => {
      if (answeredLate.delete(decodeResponse(packet).id)) return;
      if (this.#bad?.how === 'late') setTimeout(() => near().send(packet), this.#bad.ms);
      else near().send(packet);
    };
    const there = (packet: Buffer) => {
      if (far) far.send(packet);
      else early.push(packet);
    };
    connectTo(this.#helper, { packet: back, closed: (why) => near().close(why) }).then(
      (connection) => {
        far = connection;
        if (over) far.close('the broker is gone');
        for (const packet of early) far.send(packet);
      },
      (error: Error) => near().close(error.message),
    );
    return {
      packet: (packet) => {
        this.#near.add(near());
        const { id, verb } = decodeRequest(packet);
        const bad = verb === 'hello' ? undefined : this.#bad;
        if (bad?.how === 'error') return near().send(failure(id, bad.code));
        there(packet);
        if (bad?.how !== 'too late') return;
        answeredLate.add(id);
        setTimeout(() => near().send(failure(id, 'DEADLINE_EXCEEDED')), DEADLINE_MS);
      },
      closed: (why) => {
        over = true;
        this.#near.delete(near());
        far?.close(why);
      },
    };
  }
}

const failure = (id: number, code: ErrorCode) => encodeResponse({ id, kind: 'error', body: { code, message: 'chaos has it so' } });
