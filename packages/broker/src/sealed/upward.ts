import type { WireMessage } from '../amqp/wire/amqplib.js';
import type { Config } from '../config/config.js';
import type { AccountSession } from './account-session.js';
import { type Carrying, publishedOf } from './carrying.js';
import type { Learning } from './learning.js';
import type { Replies } from './replies.js';
import { judgeAnswer, judgeUp, type Verdict } from './rules.js';

interface Services {
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

  constructor(services: Services, parts: Parts) {
    this.#services = services;
    this.#parts = parts;
  }

  /** A message in kpx.up. */
  up(session: AccountSession, message: WireMessage): void {
    const { replies } = this.#parts;
    const published = publishedOf(message);
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

  async #carry(session: AccountSession, message: WireMessage, verdict: Verdict): Promise<boolean> {
    const { carrying, learning } = this.#parts;
    if (verdict.is === 'carried') await learning.caughtUp();
    return await carrying.carry(session, message, verdict);
  }
}
