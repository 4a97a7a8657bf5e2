import type { ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import { HttpError } from './server.js';

/** Streams that are open at once. */
export const STREAMS_MAX = 16;
/** How often it is looked whether anything has changed, in milliseconds. */
const TICK_MS = 1_000;
/** So often something is sent even when nothing has changed, in milliseconds: who reads can tell silence from a connection that is lost. */
const HEARTBEAT_MS = 10_000;
/** A stream is ended after this time, in milliseconds; a browser opens another one. */
const STREAM_MS_MAX = 3_600_000;
/** A stream of which more than this still waits to be read when more is to be sent is dropped, in bytes. */
const UNREAD_BYTES_MAX = 256 * 1_024;

/** The events of a stream: by the name of an event, its data. */
export type Said = Readonly<Record<string, unknown>>;

/**
 * Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): each stream begins with everything, then has each event anew
 * whose data has changed. It is looked, and made text of, once for all streams, and not at all when nobody reads.
 */
export class EventStreams {
  readonly #look: () => Said;
  readonly #log: Logger;
  /** Each with the timer that ends it. */
  readonly #open = new Map<ServerResponse, NodeJS.Timeout>();
  /** By name of event, as it was sent last. */
  #frames = new Map<string, string>();
  #ticking: NodeJS.Timeout | undefined;
  #sentAt = 0;

  constructor(look: () => Said, log: Logger) {
    this.#look = look;
    this.#log = log;
  }

  /** Takes a response over. Throws an {@link HttpError} if there are as many as there may be. */
  open(response: ServerResponse): void {
    if (this.#open.size >= STREAMS_MAX) throw new HttpError(503, `${STREAMS_MAX} event streams are open already: try again later`);
    if (this.#open.size === 0) this.#frames = framesOf(this.#look());
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write([...this.#frames.values()].join(''));
    const ending = setTimeout(() => end(response), STREAM_MS_MAX);
    this.#open.set(response, ending);
    response.once('close', () => this.#closed(response));
    this.#ticking ??= setInterval(() => this.#tick(), TICK_MS);
  }

  close(): void {
    for (const response of this.#open.keys()) response.destroy();
  }

  #closed(response: ServerResponse): void {
    clearTimeout(this.#open.get(response));
    this.#open.delete(response);
    if (this.#open.size > 0) return;
    clearInterval(this.#ticking);
    this.#ticking = undefined;
  }

  /** The broker goes on where it cannot say how it is. */
  #tick(): void {
    try {
      const frames = framesOf(this.#look());
      const changed = [...frames].flatMap(([name, frame]) => (this.#frames.get(name) === frame ? [] : [frame]));
      this.#frames = frames;
      if (changed.length > 0) this.#send(changed.join(''));
      else if (performance.now() - this.#sentAt >= HEARTBEAT_MS) this.#send(frameOf('alive', null));
    } catch (error) {
      this.#log.error({ reason: (error as Error).message }, 'the status page cannot be kept up to date');
      this.close();
    }
  }

  #send(text: string): void {
    this.#sentAt = performance.now();
    for (const response of this.#open.keys()) {
      if (response.destroyed || response.writableEnded) continue; // its `close` is on the way
      if (response.writableLength > UNREAD_BYTES_MAX) response.destroy();
      else response.write(text);
    }
  }
}

/** Without waiting for who does not read. */
function end(response: ServerResponse): void {
  if (response.writableLength > 0) response.destroy();
  else response.end();
}

const framesOf = (said: Said) => new Map(Object.entries(said).map(([name, data]) => [name, frameOf(name, data)]));
/** JSON has no line breaks outside of strings, and escapes those within. */
const frameOf = (name: string, data: unknown) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
