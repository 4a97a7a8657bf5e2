import type { Logger } from 'pino';
import { deathOf } from '../amqp/death.js';
import { describe } from '../amqp/jobs.js';
import type { WireMessage } from '../amqp/wire/amqplib.js';
import type { Config } from '../config/config.js';
import type { AccountSession } from './account-session.js';
import { Allowance } from './allowance.js';
import { type Carrying, publishedOf } from './carrying.js';
import { carryBack } from './finishing.js';
import type { Learning } from './learning.js';
import { UNROUTED_EXCHANGE } from './names.js';
import type { Replies } from './replies.js';
import { judgeAnswer, judgeUp, type Verdict } from './rules.js';

/** Jobs of one account that RabbitMQ has dropped: how many go back to the server at once, and how often a further one does, in milliseconds. */
const BACK_AT_ONCE_MAX = 256;
const BACK_EVERY_MS = 100;

interface Services {
  readonly log: Logger;
  readonly config: Config;
  readonly answered: (account: string, correlationId: string) => void;
}

interface Parts {
  readonly account: string;
  readonly carrying: Carrying;
  readonly replies: Replies;
  readonly learning: Learning;
}

/** Carries messages that the code of one account has published, as the rules have it, once the server can call the queues that it has declared before. */
export class Upward {
  readonly #services: Services;
  readonly #parts: Parts;
  readonly #back = new Allowance(BACK_AT_ONCE_MAX, BACK_EVERY_MS, performance.now());

  constructor(services: Services, parts: Parts) {
    this.#services = services;
    this.#parts = parts;
  }

  /** A message in kpx.up. */
  up(session: AccountSession, message: WireMessage): void {
    const { replies } = this.#parts;
    const published = publishedOf(message);
    if (published.exchange === UNROUTED_EXCHANGE) {
      this.#dead(session, message).catch(() => {}); // it never rejects
      return;
    }
    const verdict = judgeUp(this.#services.config.sealed.up, published, (queue) => replies.standsFor(queue, published.correlationId));
    this.#carry(session, message, verdict).catch(() => {}); // it never rejects
  }

  /** A message in a queue that stands in for a client. */
  answer(session: AccountSession, message: WireMessage, client: string): void {
    const { replies } = this.#parts;
    const published = publishedOf(message);
    const { correlationId } = published;
    const isOpen = replies.mayAnswer(client, correlationId);
    const verdict = judgeAnswer(client, published, isOpen, (queue) => replies.standsFor(queue, correlationId));
    this.#carry(session, message, verdict)
      .then((isCarried) => {
        if (!isCarried) return;
        replies.answers.answered(client, correlationId, performance.now());
        if (correlationId !== undefined) this.#services.answered(this.#parts.account, correlationId);
      })
      .catch(() => {}); // it never rejects
  }

  /**
   * RabbitMQ has taken it out of the job queue: nobody else may publish to that exchange. It goes back to the server where there were too many jobs at a start of
   * RabbitMQ. An account that may declare the queue can have that at any time: so it goes in its turn. One that was rejected or has expired is done with, as it
   * would be without a dead-letter exchange.
   */
  async #dead(session: AccountSession, message: WireMessage): Promise<void> {
    if (deathOf(message.properties)?.reason !== 'maxlen') {
      session.ack(message);
      return;
    }
    if (!this.#back.take(performance.now())) {
      session.putBackLater(message);
      return;
    }
    const { account, carrying, replies } = this.#parts;
    const { config, log } = this.#services;
    if (await carryBack(session, message, { jobQueue: config.amqp.queue, replies, carrying }))
      log.info(
        { account, ...describe(message) },
        "a job is taken back that the accounts' RabbitMQ has dropped at its start: the queue was full",
      );
  }

  async #carry(session: AccountSession, message: WireMessage, verdict: Verdict): Promise<boolean> {
    const { carrying, learning } = this.#parts;
    if (verdict.is === 'carried') await learning.caughtUp();
    return await carrying.carry(session, message, verdict);
  }
}
