import type { Server } from 'node:http';
import type { Logger } from 'pino';
import { addressOf, isLoopback, isOwnHost } from '../config/address.js';
import { PAGE } from '../page/page.js';
import { snapshotOf } from '../page/snapshot.js';
import type { ReadModel } from '../record/read-model.js';
import type { Status } from '../record/status.js';
import type { Verdict } from '../record/verdict.js';
import { type Answer, closeHttpServer, httpServer, json, type Routes } from './server.js';
import { EventStreams, STREAMS_MAX } from './streams.js';

/** Prometheus asks once in a while, somebody may look beside it, and a page asks for its files; then it keeps its stream. */
const BOUNDS = { connectionsMax: STREAMS_MAX + 16, connectionMsMax: 5_000 };

/** The broker's answers, made anew with each request. */
interface Watched {
  readonly record: ReadModel;
  readonly config: { readonly http: { readonly user_labels: boolean } };
}

/**
 * Over TCP: `GET /metrics`, `GET /status` and `GET /healthz`, for programs that watch kpx, and a page for people. Nothing that can be asked here changes anything.
 */
export class MonitorServer {
  readonly #routes: Routes;
  readonly #streams: EventStreams;
  readonly #log: Logger;
  #listening = '';
  #server: Server | undefined;

  constructor(broker: Watched, log: Logger) {
    const { record } = broker;
    const names = () => broker.config.http.user_labels;
    this.#streams = new EventStreams(() => ({ ...snapshotOf(record.sources) }), log);
    this.#routes = {
      ...FILES,
      '/events': { method: 'GET', stream: (response) => this.#streams.open(response) },
      '/healthz': { method: 'GET', answer: () => healthOf(record.verdict()) },
      '/metrics': {
        method: 'GET',
        answer: async () => ({ type: record.metrics.contentType, text: await record.metrics.text(names()) }),
      },
      '/status': { method: 'GET', answer: () => json(names() ? record.status() : withoutNames(record.status())) },
    };
    this.#log = log;
  }

  /** Listens there, and nowhere else any more; "": nowhere. Without it the broker works all the same. */
  async listen(where: string): Promise<void> {
    if (where === this.#listening) return;
    this.close();
    const address = addressOf(where);
    if (!address) return;
    const loopback = isLoopback(address);
    if (!loopback) {
      this.#log.warn({ listen: where }, 'metrics and status can be read from other hosts, by everybody who can connect');
    }
    // Only other hosts know their name for this one.
    const server = httpServer(this.#routes, BOUNDS, this.#log, loopback ? isOwnHost : undefined).unref(); // a reload that is overtaken by the broker's end opens it in vain
    try {
      await new Promise<void>((resolve, reject) => server.once('error', reject).listen(address, resolve));
    } catch (error) {
      this.#log.error(
        { listen: where, reason: (error as Error).message },
        'cannot listen: no metrics, /status and page until http.listen is corrected and reloaded',
      );
      return;
    }
    this.#server = server;
    this.#listening = where;
    this.#log.info({ listen: where }, 'metrics, /status and the page can be read');
  }

  close(): void {
    this.#streams.close();
    if (this.#server) closeHttpServer(this.#server);
    this.#server = undefined;
    this.#listening = '';
  }
}

/** Each file of the page at its path. */
const FILES: Routes = Object.fromEntries(Object.entries(PAGE).map(([path, file]) => [path, { method: 'GET', answer: () => file }]));

/** For load balancers and probes: 503 where jobs of this host do not get through. */
const healthOf = (verdict: Verdict): Answer => ({ ...json(verdict), status: verdict.level === 'trouble' ? 503 : 200 });

/** Loopback is everybody's who has an account here: who else works is not for them to read. */
function withoutNames({ verdict, doing, draining, drain, rabbitmq, helper, queues, sealed, capacity, waits }: Status): Partial<Status> {
  return { verdict, doing, draining, drain, rabbitmq, helper, queues, sealed, capacity, waits };
}
