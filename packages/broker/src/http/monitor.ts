import type { Server } from 'node:http';
import type { Logger } from 'pino';
import type { Metrics } from '../metrics/metrics.js';
import type { Status } from '../status.js';
import { addressOf, isLoopback } from './address.js';
import { closeHttpServer, httpServer, json, type Routes } from './server.js';

/** Prometheus asks once in a while, and somebody may look beside it. */
const BOUNDS = { connectionsMax: 16, connectionMsMax: 5_000 };

/** `[http]`. */
export interface MonitorConfig {
  readonly listen: string;
  readonly user_labels: boolean;
}

/** `GET /metrics` and `GET /status` over TCP, for programs that watch kpx. Nothing that can be asked here changes anything. */
export class MonitorServer {
  readonly #routes: Routes;
  readonly #log: Logger;
  #listening = '';
  #server: Server | undefined;

  /** `config` is asked anew with each request. */
  constructor(metrics: Metrics, status: () => Status, config: () => MonitorConfig, log: Logger) {
    this.#routes = {
      '/metrics': {
        method: 'GET',
        answer: async () => ({ type: metrics.contentType, text: await metrics.text(config().user_labels) }),
      },
      '/status': { method: 'GET', answer: () => json(config().user_labels ? status() : withoutNames(status())) },
    };
    this.#log = log;
  }

  /** Listens there, and nowhere else any more; "": nowhere. Without it the broker works all the same. */
  async listen(where: string): Promise<void> {
    if (where === this.#listening) return;
    this.close();
    const address = addressOf(where);
    if (!address) return;
    if (!isLoopback(address)) {
      this.#log.warn({ listen: where }, 'metrics and status can be read from other hosts, by everybody who can connect');
    }
    const server = httpServer(this.#routes, BOUNDS).unref(); // a reload that is overtaken by the broker's end opens it in vain
    try {
      await new Promise<void>((resolve, reject) => server.once('error', reject).listen(address, resolve));
    } catch (error) {
      this.#log.error({ listen: where, reason: (error as Error).message }, 'metrics cannot be read');
      return;
    }
    this.#server = server;
    this.#listening = where;
    this.#log.info({ listen: where }, 'metrics can be read');
  }

  close(): void {
    if (this.#server) closeHttpServer(this.#server);
    this.#server = undefined;
    this.#listening = '';
  }
}

/** Loopback is everybody's who has an account here: who else works is not for them to read. */
function withoutNames({ doing, draining, rabbitmq, helper, capacity }: Status): Partial<Status> {
  return { doing, draining, rabbitmq, helper, capacity };
}
