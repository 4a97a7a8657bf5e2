import { answerInTime } from '../amqp/deadline.js';
import type { WireMessage } from '../amqp/wire/amqplib.js';
import type { Config } from '../config/config.js';
import type { DeclaredQueue } from '../rabbitmq/provisioning.js';
import type { AccountSession } from './account-session.js';
import { replyQueueOf, replyToOf } from './names.js';
import { OpenAnswers } from './open-answers.js';
import { declareReplyQueue } from './topology.js';

interface Handlers {
  /** An account has answered to this client. */
  answer(session: AccountSession, message: WireMessage, client: string): void;
}

type Bounds = Pick<Config['sealed'], 'reply_grace' | 'replies_max'>;

/** The queues in one virtual host that stand in for clients at the server, and which answers are open to whom. */
export class Replies {
  readonly answers: OpenAnswers;
  readonly #bounds: () => Bounds;
  readonly #handlers: Handlers;
  /** Jobs from before this broker may be answered. */
  #fromBefore: boolean;
  /** By the queue's name: the client. */
  readonly #clients = new Map<string, string>();
  /** Of the session at hand: queues that are read, or will be. */
  readonly #read = new Map<string, Promise<void>>();

  constructor(bounds: () => Bounds, fromBefore: boolean, handlers: Handlers) {
    this.answers = new OpenAnswers(() => bounds().reply_grace);
    this.#bounds = bounds;
    this.#fromBefore = fromBefore;
    this.#handlers = handlers;
  }

  /** The client that this queue stands in for; undefined: it is none of these. */
  standsFor(queue: string): string | undefined {
    return this.#clients.get(queue);
  }

  get queues(): Iterable<string> {
    return this.#clients.keys();
  }

  /** Reads from the queues that are there. It is known which answers are open before the first one is read. */
  async takeUp(session: AccountSession, declared: readonly DeclaredQueue[]): Promise<void> {
    this.#clients.clear();
    for (const queue of declared) {
      const client = replyToOf(queue);
      if (client === undefined) continue;
      if (this.#fromBefore) this.answers.unknownBefore(client, performance.now());
      else this.answers.knows(client, performance.now());
      this.#clients.set(queue.name, client);
      await this.#reads(session, queue.name, client, async () => {});
    }
    this.#fromBefore = false;
  }

  /** The name of the queue for this client, which is made if need be. Throws an Error that says why there is none. */
  async queueFor(session: AccountSession, client: string): Promise<string> {
    const queue = replyQueueOf(client);
    if (!this.#clients.has(queue.name)) {
      const max = this.#bounds().replies_max;
      if (this.#clients.size >= max) throw new Error(`it answers to ${max} clients, as many as sealed.replies_max allows`);
      this.#clients.set(queue.name, client);
    }
    await this.#reads(session, queue.name, client, () => declareReplyQueue(session.channel, queue));
    return queue.name;
  }

  /** The session has ended. */
  lost(): void {
    this.#read.clear();
  }

  /** Deletes the queues of clients who have waited for nothing for a while. */
  async sweep(session: AccountSession, now: number): Promise<void> {
    for (const client of this.answers.sweep(now)) {
      const { name } = replyQueueOf(client);
      this.#clients.delete(name);
      this.#read.delete(name);
      await answerInTime(session.channel.deleteQueue(name), `queue.delete of "${name}"`);
    }
  }

  async #reads(session: AccountSession, name: string, client: string, declare: () => Promise<void>): Promise<void> {
    const reading = this.#read.get(name) ?? this.#begin(session, name, client, declare);
    this.#read.set(name, reading);
    await reading.catch((error: Error) => {
      this.#read.delete(name);
      throw error;
    });
  }

  async #begin(session: AccountSession, name: string, client: string, declare: () => Promise<void>): Promise<void> {
    await declare();
    await session.consume(
      name,
      (message) => this.#handlers.answer(session, message, client),
      () => {
        if (this.#clients.has(name)) session.fail(`"${name}" was deleted`);
      },
    );
  }
}
