import { type Own, onTheWay, type Seal, travelling } from '../amqp/headers.js';
import type { JobMac } from '../amqp/mac.js';
import type { Compose } from '../amqp/publisher.js';
import { Suspects } from '../amqp/suspects.js';
import type { WireMessage } from '../amqp/wire/amqplib.js';
import type { Address } from '../amqp/wire/frames.js';
import { CannotTravel } from '../amqp/wire/table.js';
import type { Config } from '../config/config.js';
import type { Reason } from '../policy/reasons.js';
import type { AccountSession } from './account-session.js';
import type { Replies } from './replies.js';
import { whyNotDown } from './rules.js';

/** The outcome of giving a job: the account has it; it has not, for now; it never may. */
export type Given =
  | { readonly is: 'given' }
  | { readonly is: 'not yet'; readonly why: string }
  | { readonly is: 'never'; readonly reason: Reason; readonly why: string };

const notYet = (why: string): Given => ({ is: 'not yet', why });

interface Services {
  readonly config: Config;
  readonly mac: () => JobMac;
}

/** Puts jobs into the queue of one account, to be answered to the queue that stands in for their client. */
export class Giving {
  readonly #services: Services;
  readonly #replies: Replies;
  readonly #suspects = new Suspects();

  constructor(services: Services, replies: Replies) {
    this.#services = services;
    this.#replies = replies;
  }

  /** RabbitMQ has ended the connection for what it was sent, while these were under way. */
  suspect(underWay: readonly WireMessage[], why: string): void {
    this.#suspects.note(underWay, why);
  }

  /** A job, to the job queue. Never rejects. */
  async give(session: AccountSession, message: WireMessage, hops: number): Promise<Given> {
    const { amqp, jobs } = this.#services.config;
    const routingKey = amqp.exchange === '' ? amqp.queue : amqp.routing_key;
    const own = onTheWay(message.properties, jobs.can_handle_header, hops);
    return await this.#give(session, message, { exchange: amqp.exchange, routingKey }, own);
  }

  /** A message of the server to all accounts. Never rejects. */
  async broadcast(session: AccountSession, message: WireMessage, exchange: string): Promise<Given> {
    return await this.#give(session, message, { exchange, routingKey: message.fields.routingKey ?? '' }, {});
  }

  /** A call of the server, to a queue that the executor has declared. Never rejects. */
  async call(session: AccountSession, message: WireMessage, queue: string): Promise<Given> {
    return await this.#give(session, message, { exchange: '', routingKey: queue }, {});
  }

  async #give(session: AccountSession, message: WireMessage, to: Address, own: Own): Promise<Given> {
    const standing = this.#suspects.standingOf(message);
    if (standing === 'bare' || standing === 'aside') {
      const why = `RabbitMQ has ended the connection each time that it was sent (${this.#suspects.why})`;
      return { is: 'never', reason: 'HEADERS_UNUSABLE', why };
    }
    if (standing === 'alone' && session.underWay.length > 0)
      return notYet('RabbitMQ has ended the connection when it was sent: it goes alone');
    const [client, correlationId] = [message.properties.text('replyTo') || undefined, message.properties.text('correlationId')];
    const refused = whyNotDown(client, this.#services.config.amqp.queue);
    if (refused !== undefined) return { is: 'never', reason: 'SEALED_REFUSED', why: refused };
    // Before its queue is looked for: one that nothing is open to may be deleted.
    const opened = client !== undefined && this.#replies.answers.open(client, correlationId, performance.now());
    const given = await this.#publish(session, message, client, to, own);
    if (given.is === 'given') this.#suspects.clear(message);
    else if (opened) this.#replies.answers.close(client, correlationId, performance.now());
    return given;
  }

  async #publish(session: AccountSession, message: WireMessage, client: string | undefined, to: Address, own: Own): Promise<Given> {
    try {
      const replyTo = client === undefined ? undefined : await this.#replies.queueFor(session, client);
      const seal: Seal = (all) => this.#services.mac().sealed(all, message.content);
      const compose: Compose = (ref, bytesMax) => travelling(message.properties, { ...own, ...ref }, seal, true, bytesMax, replyTo);
      const why = await session.publish(message, to, compose);
      return why === undefined ? { is: 'given' } : notYet(why);
    } catch (error) {
      if (error instanceof CannotTravel) return { is: 'never', reason: 'HEADERS_UNUSABLE', why: error.message };
      return notYet((error as Error).message);
    }
  }
}
