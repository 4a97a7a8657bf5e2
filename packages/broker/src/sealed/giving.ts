import { type Own, onTheWay, type Seal, travelling } from '../amqp/headers.js';
import type { JobMac } from '../amqp/mac.js';
import { type Compose, NO_QUEUE } from '../amqp/publisher.js';
import { Suspects } from '../amqp/suspects.js';
import type { WireMessage } from '../amqp/wire/amqplib.js';
import type { Address } from '../amqp/wire/frames.js';
import { CannotTravel } from '../amqp/wire/table.js';
import type { Config } from '../config/config.js';
import type { Reason } from '../policy/reasons.js';
import type { AccountSession } from './account-session.js';
import type { Replies } from './replies.js';
import { whyNotDown } from './rules.js';

/**
 * The outcome of giving a job: the account has it; it has not, for now, and its queue may be full, or nobody knows whether it has it, as the connection was lost;
 * it never may.
 */
export type Given =
  | { readonly is: 'given' }
  | { readonly is: 'not yet'; readonly why: string; readonly full?: true; readonly unknown?: true }
  | { readonly is: 'never'; readonly reason: Reason; readonly why: string };

const GIVEN: Given = { is: 'given' };
const notYet = (why: string): Given => ({ is: 'not yet', why });
export const NOT_CONNECTED = notYet('its virtual host is not connected');

const BLOCKED = notYet("the accounts' RabbitMQ takes no messages (alarm: memory or disk)");

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

  /** A job, to the job queue by its name: the account's code can take away the binding of the job exchange, and the job would be lost. During an alarm none is sent: RabbitMQ would take it at its end, and a job that is given anew by then would be done twice. */
  give(session: AccountSession, message: WireMessage, hops: number, told: (given: Given) => void): void {
    if (session.blocked !== undefined) {
      told(BLOCKED);
      return;
    }
    const { amqp, jobs } = this.#services.config;
    const own = onTheWay(message.properties, jobs.can_handle_header, hops);
    this.#give(session, message, { exchange: '', routingKey: amqp.queue }, own, told);
  }

  /** A message of the server to all accounts. Never rejects. */
  async broadcast(session: AccountSession, message: WireMessage, exchange: string): Promise<Given> {
    const to = { exchange, routingKey: message.fields.routingKey ?? '' };
    return await new Promise((resolve) => this.#give(session, message, to, {}, resolve));
  }

  /** A call of the server, to a queue that the executor has declared; during an alarm as with jobs. Never rejects. */
  async call(session: AccountSession, message: WireMessage, queue: string): Promise<Given> {
    if (session.blocked !== undefined) return BLOCKED;
    return await new Promise((resolve) => this.#give(session, message, { exchange: '', routingKey: queue }, {}, resolve));
  }

  /** Tells once, and never throws. */
  #give(session: AccountSession, message: WireMessage, to: Address, own: Own, told: (given: Given) => void): void {
    const client = message.properties.text('replyTo') || undefined;
    const refused = this.#refusal(session, message, client);
    if (refused !== undefined) {
      told(refused);
      return;
    }
    if (client === undefined) {
      this.#publish(session, message, undefined, to, own, told);
      return;
    }
    // Before its queue is looked for: one that nothing is open to may be deleted.
    const correlationId = message.properties.text('correlationId');
    const notGiven = this.#replies.answers.open(client, correlationId, performance.now());
    const closing = (given: Given) => {
      // One that the account may have all the same is given anew, and either may be answered first.
      const mayBeAnswered = given.is === 'given' || (given.is === 'not yet' && given.unknown === true);
      if (!mayBeAnswered) notGiven(performance.now());
      told(given);
    };
    this.#replies.queueFor(session, client).then(
      (replyTo) => this.#publish(session, message, replyTo, to, own, closing),
      ({ message: why }: Error) => closing(notYet(why)),
    );
  }

  /** Why it is not given at the moment, or never; undefined: it may be. */
  #refusal(session: AccountSession, message: WireMessage, client: string | undefined): Given | undefined {
    const standing = this.#suspects.standingOf(message);
    if (standing === 'bare' || standing === 'aside') {
      const why = `RabbitMQ has ended the connection each time that it was sent (${this.#suspects.why})`;
      return { is: 'never', reason: 'HEADERS_UNUSABLE', why };
    }
    if (standing === 'alone' && session.underWay.length > 0)
      return notYet('RabbitMQ has ended the connection when it was sent: it goes alone');
    const refused = whyNotDown(client, this.#services.config.amqp.queue);
    return refused === undefined ? undefined : { is: 'never', reason: 'SEALED_REFUSED', why: refused };
  }

  #publish(
    session: AccountSession,
    message: WireMessage,
    replyTo: string | undefined,
    to: Address,
    own: Own,
    told: (given: Given) => void,
  ): void {
    const seal: Seal = (all) => this.#services.mac().sealed(all, message.content);
    const compose: Compose = (ref, bytesMax) => travelling(message.properties, { ...own, ...ref }, seal, true, bytesMax, replyTo);
    const answered = (why: string | undefined) => {
      if (why === undefined) this.#suspects.clear(message);
      if (why === undefined) told(GIVEN);
      else told(why === NO_QUEUE ? notYet(why) : { is: 'not yet', why, full: true });
    };
    try {
      session.send(message, to, compose, { answered, lost: (why) => told({ is: 'not yet', why, unknown: true }) });
    } catch (error) {
      const { message: why } = error as Error;
      told(error instanceof CannotTravel ? { is: 'never', reason: 'HEADERS_UNUSABLE', why } : notYet(why));
    }
  }
}
