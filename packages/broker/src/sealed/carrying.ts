import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import {
  ACCOUNT_HEADER,
  carriedUp,
  DETAIL_HEADER,
  HOST_HEADER,
  type Own,
  PARKED_AT_HEADER,
  REASON_HEADER,
  replaced,
  type Seal,
} from '../amqp/headers.js';
import { BODY_BYTES_MAX, describe } from '../amqp/jobs.js';
import type { JobMac } from '../amqp/mac.js';
import type { Compose } from '../amqp/publisher.js';
import { DEAD_LETTER_QUEUE } from '../amqp/topology.js';
import type { WireMessage } from '../amqp/wire/amqplib.js';
import { CannotTravel } from '../amqp/wire/table.js';
import type { Config } from '../config/config.js';
import type { Reason } from '../policy/reasons.js';
import type { AccountSession } from './account-session.js';
import { Refusals } from './refusals.js';
import type { RefusedRecord } from './refused.js';
import { type Published, type Refused, type RefusedFor, refused, type Verdict } from './rules.js';
import { Forbidden, type Outgoing, TooLarge, type Uplink, UplinkLost } from './uplink.js';

/** How long a message that the server has not taken waits, in milliseconds. */
const AGAIN_AFTER_MS = 500;
/** Where the server has no queue for a message: an answer is done with, as nobody waits for it. A job would be lost, and waits for a queue. */
type WithoutQueue = 'done' | 'waits';
const REFUSED: Reason = 'SEALED_REFUSED';

const NO_BODY = Buffer.alloc(0);

interface Services {
  readonly log: Logger;
  /** The one in force; a reload changes it. */
  readonly config: Config;
  readonly uplink: Uplink;
  readonly mac: () => JobMac;
  readonly host: string;
  readonly refused: RefusedRecord;
}

/** The facts that the rules go by. */
export const publishedOf = ({ fields, properties, content }: WireMessage): Published => ({
  exchange: fields.exchange ?? '',
  routingKey: fields.routingKey ?? '',
  replyTo: properties.text('replyTo'),
  correlationId: properties.text('correlationId'),
  bytes: properties.passage?.bytes ?? content.length,
});

function reasonOf(error: CannotTravel | Forbidden): RefusedFor {
  if (error instanceof Forbidden) return 'forbidden';
  return error instanceof TooLarge ? 'too_large' : 'headers';
}

/** Carries what one account has published to the server, as the rules have judged it: acknowledged when the server has it. */
export class Carrying {
  readonly refusals: Refusals;
  readonly #services: Services;
  readonly #account: string;
  /** Queues that the server does not have, and for which messages wait: each is in the log once. */
  readonly #missing = new Set<string>();

  constructor(services: Services, account: string) {
    this.#services = services;
    this.refusals = new Refusals(() => services.config.sealed.refused_per_minute);
    this.#account = account;
  }

  /** The broker ends: nothing is carried any more. */
  get stopped(): boolean {
    return this.#services.uplink.stopped;
  }

  /** Resolves with true when the server has it, or has no queue for it and that is `done`. Never rejects. */
  async carry(session: AccountSession, message: WireMessage, verdict: Verdict, withoutQueue: WithoutQueue = 'done'): Promise<boolean> {
    try {
      if (verdict.is === 'refused') {
        if (!(await this.#refuse(session, message, verdict))) return false;
      } else {
        const { exchange, routingKey, replyTo } = verdict;
        this.#services.mac().judge(message.properties, message.content); // a job that the account was given keeps who sent it
        const compose: Compose = (own, bytesMax) =>
          carriedUp(message.properties, this.#account, replyTo, own, this.#seal(message.content), bytesMax);
        const outgoing = { to: { exchange, routingKey }, compose, content: message.content, message };
        if (!(await this.#send(session, outgoing, withoutQueue))) return false;
      }
      session.ack(message);
      return verdict.is === 'carried';
    } catch (error) {
      if ((error instanceof CannotTravel || error instanceof Forbidden) && verdict.is === 'carried')
        return await this.carry(session, message, refused(reasonOf(error), error.message));
      const { message: reason, stack } = error as Error;
      this.#services.log.error(
        { account: this.#account, reason, stack },
        'what an account has published could not be carried; it is tried again',
      );
      session.putBackLater(message);
      return false;
    }
  }

  #seal(content: Buffer): Seal {
    return (own) => this.#services.mac().sealed(own, content);
  }

  /** Until the server has it; false: the broker ends, or the account's own connection did first, and RabbitMQ has put it back there. */
  async #send(session: AccountSession, outgoing: Outgoing, withoutQueue: WithoutQueue): Promise<boolean> {
    const { routingKey } = outgoing.to;
    while (session.open && !this.stopped) {
      await this.#services.uplink.ready();
      if (!session.open) return false;
      try {
        const sent = await this.#services.uplink.send(outgoing);
        if (sent === 'taken') this.#missing.delete(routingKey);
        if (sent === 'taken' || withoutQueue === 'done') return true;
        this.#waitsFor(routingKey);
      } catch (error) {
        if (!(error instanceof UplinkLost)) throw error;
      }
      await delay(AGAIN_AFTER_MS); // a queue that is full refuses at once
    }
    return false;
  }

  #waitsFor(queue: string): void {
    if (this.#missing.has(queue)) return;
    this.#missing.add(queue);
    const fix = queue === DEAD_LETTER_QUEUE ? 'systemctl restart kpx-broker declares it' : 'start KNIME Server, which declares it';
    this.#services.log.error(
      { account: this.#account, queue, reason: `the server has no queue "${queue}" that takes messages; ${fix}, or its node is away` },
      'messages of an account wait: they would be lost; tried again until there is a queue for them',
    );
  }

  /** False as with {@link #send}. */
  async #refuse(session: AccountSession, message: WireMessage, { reason, why }: Refused): Promise<boolean> {
    const { exchange, routingKey, bytes } = publishedOf(message);
    this.#services.refused.note(this.#account, { exchange, routingKey, reason }, Date.now());
    const done = this.refusals.next(performance.now());
    const detail = `account ${this.#account}, exchange "${exchange}", key "${routingKey}": ${why}`;
    if (done === 'counted from now on')
      this.#services.log.warn(
        { account: this.#account },
        'an account publishes more that is refused; for the rest of this minute it is only counted',
      );
    if (done !== 'parked') return true;
    this.#services.log.warn(
      { account: this.#account, ...describe(message), reason: REFUSED, detail },
      'what an account has published is refused',
    );
    const parked: Own = {
      [REASON_HEADER]: REFUSED,
      [DETAIL_HEADER]: detail,
      [PARKED_AT_HEADER]: new Date().toISOString(),
      [HOST_HEADER]: this.#services.host,
    };
    return await this.#park(session, message, parked, bytes > BODY_BYTES_MAX ? NO_BODY : message.content);
  }

  async #park(session: AccountSession, message: WireMessage, parked: Own, content: Buffer): Promise<boolean> {
    const to = { exchange: '', routingKey: DEAD_LETTER_QUEUE };
    const seal = this.#seal(content);
    const bare =
      (seal: Seal): Compose =>
      (own, bytesMax) =>
        replaced(message.properties, { ...parked, ...own, [ACCOUNT_HEADER]: this.#account }, seal, bytesMax);
    const compose: Compose = (own, bytesMax) => {
      try {
        return carriedUp(message.properties, this.#account, '', { ...parked, ...own }, seal, bytesMax);
      } catch (error) {
        if (!(error instanceof CannotTravel)) throw error;
        return bare(seal)(own, bytesMax);
      }
    };
    let left = content;
    try {
      return await this.#send(session, { to, compose, content, message }, 'waits');
    } catch (error) {
      if (!(error instanceof CannotTravel)) throw error;
      if (error instanceof TooLarge) left = NO_BODY;
    }
    try {
      return await this.#send(session, { to, compose: bare(this.#seal(left)), content: left, message, isBare: true }, 'waits');
    } catch (error) {
      if (!(error instanceof CannotTravel)) throw error;
      const facts = { account: this.#account, ...describe(message), reason: error.message };
      this.#services.log.error(facts, 'RabbitMQ does not take a refused message of an account either: it is only counted');
      return true;
    }
  }
}
