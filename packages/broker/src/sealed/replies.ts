import { answerInTime } from '../amqp/deadline.js';
import type { WireMessage } from '../amqp/wire/amqplib.js';
import type { Config } from '../config/config.js';
import type { DeclaredQueue } from '../rabbitmq/provisioning.js';
import type { AccountSession } from './account-session.js';
import { mayBeNamedAs, replyQueueOf, replyToOf } from './names.js';
import type { OpenAnswers } from './open-answers.js';
import { declareReplyQueue } from './topology.js';

interface Handlers {
  /** An account has answered to this client. */
  answer(session: AccountSession, message: WireMessage, client: string): void;
  /** RabbitMQ has refused a queue with the name of a client's. */
  unnamed(client: string, why: string): void;
  /** There is no queue for a client whose answers may still come. */
  unmade(client: string, why: string): void;
}

interface Services {
  readonly config: Config;
}

/** The queues in one virtual host that stand in for clients at the server, and which answers are open to whom. */
export class Replies {
  readonly answers: OpenAnswers;
  readonly #services: Services;
  readonly #handlers: Handlers;
  /** Jobs from before this broker may be answered. */
  #fromBefore: boolean;
  /** By the queue's name: the client. */
  readonly #clients = new Map<string, string>();
  /** Of the session at hand: queues that are read, or will be. */
  readonly #read = new Map<string, Promise<void>>();
  /** The same of queues that have the name of a client's queue at the server. */
  readonly #named = new Map<string, Promise<void>>();
  /** Clients for whom RabbitMQ has refused that. */
  readonly #unnamed = new Set<string>();

  constructor(services: Services, answers: OpenAnswers, fromBefore: boolean, handlers: Handlers) {
    this.answers = answers;
    this.#services = services;
    this.#fromBefore = fromBefore;
    this.#handlers = handlers;
  }

  /** The client that this queue stands in for, if it may be answered with this correlation id. */
  standsFor(queue: string, correlationId: string | undefined): string | undefined {
    const client = this.#named.has(queue) ? queue : this.#clients.get(queue);
    return client !== undefined && this.mayAnswer(client, correlationId) ? client : undefined;
  }

  mayAnswer(client: string, correlationId: string | undefined): boolean {
    if (this.answers.isOpen(client, correlationId, performance.now())) return true;
    return this.#anyId && this.#clients.has(replyQueueOf(client).name);
  }

  /** Has the broker declared this queue, with the name of a client's? */
  isNamed(queue: string): boolean {
    return this.#named.has(queue);
  }

  get #anyId(): boolean {
    return this.#services.config.sealed.answers === 'clients';
  }

  /** Those that stand in for clients, as they were declared. */
  get declared(): DeclaredQueue[] {
    return [...this.#clients.values()].map(replyQueueOf);
  }

  get queues(): Iterable<string> {
    return [...this.#clients.keys(), ...this.#named.keys()];
  }

  /**
   * Reads from the queues that are there, and makes those anew that are gone and whose answers may still come: RabbitMQ drops an answer that has no queue, and
   * tells the executor nothing. It is known which answers are open before the first one is read.
   */
  async takeUp(session: AccountSession, declared: readonly DeclaredQueue[]): Promise<void> {
    this.lost(); // a session may have failed after it began to read
    this.#clients.clear();
    for (const queue of declared) {
      const client = replyToOf(queue);
      if (client === undefined) continue;
      if (this.#fromBefore) this.answers.unknownBefore(client, performance.now());
      else this.answers.knows(client, performance.now());
      this.#clients.set(queue.name, client);
      await this.#reads(session, queue.name, client, async () => {});
      await this.#readsNamed(session, client);
    }
    this.#fromBefore = false;
    for (const client of this.answers.awaiting)
      if (!this.#clients.has(replyQueueOf(client).name))
        await this.queueFor(session, client).catch(({ message }: Error) => this.#handlers.unmade(client, message));
  }

  /** The name of the queue for this client, which is made if need be. Throws an Error that says why there is none. */
  async queueFor(session: AccountSession, client: string): Promise<string> {
    const queue = replyQueueOf(client);
    if (!this.#clients.has(queue.name)) {
      const max = this.#services.config.sealed.replies_max;
      if (this.#clients.size >= max) throw new Error(`it answers to ${max} clients, as many as sealed.replies_max allows`);
      this.#clients.set(queue.name, client);
    }
    await this.#reads(session, queue.name, client, async () => {
      const refused = await session.apart((channel) => declareReplyQueue(channel, queue));
      if (refused === undefined) return;
      this.#clients.delete(queue.name);
      throw new Error(refused);
    });
    await this.#readsNamed(session, client);
    return queue.name;
  }

  /** The session has ended. */
  lost(): void {
    this.#read.clear();
    this.#named.clear();
    this.#unnamed.clear();
  }

  /** Deletes the queues of clients who have waited for nothing for a while. A job may come meanwhile: each is looked at when it is its turn. */
  async sweep(session: AccountSession, now: number): Promise<void> {
    for (const client of this.answers.sweep(now))
      await this.#delete(session, client).catch((error: Error) => {
        this.answers.knows(client, now); // its queue may be there still
        throw error;
      });
  }

  async #delete(session: AccountSession, client: string): Promise<void> {
    const { name } = replyQueueOf(client);
    this.#clients.delete(name);
    this.#read.delete(name);
    await answerInTime(session.channel.deleteQueue(name), `queue.delete of "${name}"`);
    if (!this.#named.has(client)) return;
    await session.apart(async (channel) => {
      if (this.answers.isKnown(client)) return; // a job has come
      this.#named.delete(client);
      await answerInTime(channel.deleteQueue(client), `queue.delete of "${client}"`);
    });
  }

  /** The queue that has the name of the client's own: the account may declare, read and delete it as well. RabbitMQ may refuse it: see {@link Handlers}. */
  async #readsNamed(session: AccountSession, client: string): Promise<void> {
    if (!this.#anyId || this.#unnamed.has(client) || !mayBeNamedAs(client, this.#services.config.amqp.queue)) return;
    await once(this.#named, client, () => this.#beginNamed(session, client));
  }

  async #beginNamed(session: AccountSession, client: string): Promise<void> {
    const refused = await session.apart((channel) => declareReplyQueue(channel, { name: client, arguments: {} }));
    if (refused !== undefined) {
      this.#named.delete(client);
      this.#unnamed.add(client);
      this.#handlers.unnamed(client, refused);
      return;
    }
    await session.consume(
      client,
      (message) => this.#handlers.answer(session, message, client),
      () => this.#named.delete(client), // by the account: it is made anew with the next job
    );
  }

  async #reads(session: AccountSession, name: string, client: string, declare: () => Promise<void>): Promise<void> {
    await once(this.#read, name, () => this.#begin(session, name, client, declare));
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

/** Everybody who asks shares what one has begun, until it fails: the next one begins anew. */
async function once(begun: Map<string, Promise<void>>, queue: string, begin: () => Promise<void>): Promise<void> {
  const reading = begun.get(queue) ?? begin();
  begun.set(queue, reading);
  await reading.catch((error: Error) => {
    if (begun.get(queue) === reading) begun.delete(queue);
    throw error;
  });
}
