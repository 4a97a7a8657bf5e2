import { answerInTime, CONFIRM_TIMEOUT_MS } from '../amqp/deadline.js';
import { REPLAYED_AT_HEADER, replayed, type Seal, same } from '../amqp/headers.js';
import { isAtLeast, versionOf } from '../amqp/job-queue.js';
import type { JobMac } from '../amqp/mac.js';
import { type Compose, ConfirmedPublisher, type Prepared } from '../amqp/publisher.js';
import type { AmqpSession } from '../amqp/session.js';
import { DEAD_LETTER_QUEUE } from '../amqp/topology.js';
import type { WireMessage } from '../amqp/wire/amqplib.js';
import type { Address } from '../amqp/wire/frames.js';
import { CannotTravel } from '../amqp/wire/table.js';
import type { Config } from '../config/config.js';
import { userFrom } from '../config/user-from.js';
import { CommandError, EXIT } from '../output/exit.js';
import { deliveriesOf, type Letter, readLetter } from './letter.js';

/** Most dead letters that are shown in one go. */
export const LETTERS_MAX = 10_000;
/** Most among which those that were chosen are sought: a queue that puts what was given back to its end has others in front by then. */
const SOUGHT_MAX = 100_000;
/** Messages that are asked for at once, and so in memory together. */
const GETS_IN_FLIGHT = 2;
/** After a body above this size, in bytes, they are asked for one by one. */
const BODY_BYTES_LARGE = 1024 * 1024;
/**
 * RabbitMQ 4.0 to 4.2 remove a message from a quorum queue that has been given back more than 20 times, and looking gives back. So that no
 * look ever removes one, a message that was given back this often is published anew, which counts from zero.
 * Source: rabbitmq.com, "Quorum Queues", "Poison Message Handling".
 */
const DELIVERIES_MAX = 10;

/** From RabbitMQ 4.3 on a policy can have a quorum queue keep back what was given back, for a time (delayed-retry-type). Tried with 4.3.6. */
const hidesWhatWasGivenBack = (version: string) => isAtLeast(version, 4, 3);
const hiddenHint = (version: string) =>
  `RabbitMQ ${version} hides a dead letter that was looked at, where a policy with delayed-retry-type says so, for its delayed-retry-min. On the RabbitMQ machine: rabbitmqctl list_policies; take it off ${DEAD_LETTER_QUEUE}, and look again after that time.`;

/** Nothing more can be done with the dead letters. `why`: without an end of sentence. */
export class QueueLost extends CommandError {
  readonly why: string;

  constructor(why: string) {
    super(EXIT.unavailable, `${why}. All that was not reported as done is still in ${DEAD_LETTER_QUEUE}: try again.`);
    this.why = why;
  }
}

/** Throws {@link QueueLost} where RabbitMQ does not answer: nobody else can look at the dead letters while this one waits. */
const inTime = async <T>(answer: Promise<T>, asked: string, timeoutMs?: number): Promise<T> =>
  await answerInTime(answer, asked, timeoutMs).catch((error: Error) => {
    throw new QueueLost(error.message);
  });

const MAX = { letters: LETTERS_MAX, sought: SOUGHT_MAX };

/** The visitor's decision on a message: it stays in the queue, or it is acknowledged, or it stays and so shall all others. */
export type Visit = 'stays' | 'gone' | 'stop';
export type Visitor = (letter: Letter, message: WireMessage) => Visit | Promise<Visit>;

/**
 * kpx.dead-letter in the hands of one operator. Messages are got without acknowledgement, so others do not see them meanwhile. They are
 * back in the queue as soon as the channel is gone, whatever becomes of this process. A quorum queue does not keep the order of what is
 * given back.
 */
export class DeadLetterQueue {
  /** Rejects, with a {@link QueueLost}, when the connection is gone. */
  readonly lost: Promise<never>;
  readonly #session: AmqpSession;
  readonly #config: Config;
  readonly #mac: JobMac;
  readonly #publisher: ConfirmedPublisher;
  readonly #max: typeof MAX;
  readonly #openedAt = new Date().toISOString();

  /** `blocked` resolves with RabbitMQ's reason when it takes no messages. */
  constructor(session: AmqpSession, config: Config, mac: JobMac, blocked: Promise<string>, max = MAX) {
    this.#session = session;
    this.#config = config;
    this.#mac = mac;
    this.#max = max;
    const lost = session.ended.then(({ why }) => `The connection to RabbitMQ was lost (${why})`);
    const alarm = blocked.then((why) => `RabbitMQ takes no messages at the moment (${why})`);
    this.lost = Promise.race([lost, alarm]).then((why) => {
      throw new QueueLost(why);
    });
    this.lost.catch(() => {}); // also when nobody waits for it
    this.#publisher = new ConfirmedPublisher(session.home.publisher);
  }

  /** Where RabbitMQ may hide letters, for the operator: why, and what to do. A policy cannot be seen over AMQP. */
  get hint(): string | undefined {
    const version = versionOf(this.#session.source.connection);
    return hidesWhatWasGivenBack(version) ? hiddenHint(version) : undefined;
  }

  /** Shows every message to `visit`, LETTERS_MAX at most. Answers whether that was all of them. */
  async pass(visit: Visitor): Promise<boolean> {
    return await this.#pass(visit, this.#max.letters);
  }

  /** The same for more of them, to find letters that were chosen before. Answers undefined, or why some may not have been found. */
  async search(visit: Visitor): Promise<string | undefined> {
    const { sought } = this.#max;
    return (await this.#pass(visit, sought)) ? undefined : `There are more than ${sought} dead letters, and only these were looked at`;
  }

  async #pass(visit: Visitor, lettersMax: number): Promise<boolean> {
    let stay = 0;
    let together = 1;
    let all: boolean | undefined;
    while (all === undefined) {
      const inFlight = Math.min(together, lettersMax - stay);
      const answers = await Promise.all(Array.from({ length: inFlight }, () => this.#get()));
      const messages = answers.filter((answer) => answer !== undefined);
      together = messages.some(({ content }) => content.length > BODY_BYTES_LARGE) ? 1 : GETS_IN_FLIGHT;
      const visits = await Promise.all(messages.map((message) => this.#visit(message, visit)));
      stay += visits.filter((done) => done !== 'gone').length;
      if (visits.includes('stop') || messages.length < answers.length) all = true;
      else if (stay >= lettersMax) all = messages.at(-1)?.fields.messageCount === 0;
    }
    if (stay > 0) this.#session.source.putAllBack();
    return all;
  }

  /**
   * Puts a message back to where jobs come from, and acknowledges it when RabbitMQ has confirmed that. Killed in between, it leaves the job
   * in both places, and never in none. Answers undefined, or why the message had to stay where it is.
   */
  async replay(message: WireMessage): Promise<string | undefined> {
    const { exchange, routing_key, queue } = this.#config.amqp;
    const to = exchange === '' ? { exchange: '', routingKey: queue } : { exchange, routingKey: routing_key };
    // As it came the first time, but for the word to the brokers that something has been fixed.
    const { can_handle_header } = this.#config.jobs;
    const seal: Seal = (own) => this.#mac.sealed(own, message.content);
    const compose: Compose = (own, bytesMax) =>
      replayed(message.properties, can_handle_header, { [REPLAYED_AT_HEADER]: this.#openedAt, ...own }, seal, bytesMax);
    const problem = await this.#move(message, to, compose);
    return problem && `${problem} from exchange "${to.exchange}" with routing key "${to.routingKey}"`;
  }

  /** As {@link replay}: answers undefined. */
  drop(message: WireMessage): undefined {
    this.#session.source.ack(message);
  }

  async close(): Promise<void> {
    await this.#session.close();
  }

  async #get(): Promise<WireMessage | undefined> {
    return await inTime(this.#session.source.get(DEAD_LETTER_QUEUE), `basic.get of "${DEAD_LETTER_QUEUE}"`);
  }

  async #visit(message: WireMessage, visit: Visitor): Promise<Visit> {
    if (deliveriesOf(message) >= DELIVERIES_MAX) {
      // It comes round again at the end of the queue, in this same pass.
      const problem = await this.#move(message, { exchange: '', routingKey: DEAD_LETTER_QUEUE }, (own, bytesMax) =>
        same(message.properties, own, bytesMax),
      );
      if (problem === undefined) return 'gone';
    }
    this.#mac.judge(message.properties, message.content);
    return await visit(readLetter(message, userFrom(this.#config.jobs)), message);
  }

  async #move(message: WireMessage, to: Address, compose: Compose): Promise<string | undefined> {
    let prepared: Prepared;
    try {
      prepared = this.#publisher.prepare(compose);
    } catch (error) {
      if (error instanceof CannotTravel) return `Its properties cannot travel (${error.message}), and it stays`;
      throw error;
    }
    const answer = new Promise<string | undefined>((resolve) => {
      this.#publisher.send(prepared, to, message.content, resolve);
    });
    const why = await inTime(answer, 'basic.publish', CONFIRM_TIMEOUT_MS);
    if (why === undefined) this.#session.source.ack(message);
    else await Promise.race([this.lost, Promise.resolve()]); // the channel may have ended: then that is the reason
    return why;
  }
}
