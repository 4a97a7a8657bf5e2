import { DEAD_LETTER_QUEUE } from '../amqp/topology.js';
import { UP_QUEUE } from './names.js';

/*
 * The rules of the relay between the server's virtual host and the one of an account. Nothing that comes out of an account's virtual host is trusted but
 * that it comes from that account: its code can write into every queue there, kpx's own included.
 *
 *   down    A job of the account goes into its job queue. The queue that is answered to is replaced by one of kpx's in there.
 *   up      From kpx.up alone, to the exchanges of [[sealed.up]]. Never to the default exchange, which reaches every queue by its name.
 *   back    A job that its executor has not done goes into the server's job queue. It may be the account's own making: it runs as that account only.
 *   answer  From the queue that stands in for a client, to that client, if the account has a job with this reply_to and correlation id. With
 *           sealed.answers = "clients": if it has one with this reply_to, and also from the queue with that client's own name.
 *   reply_to  Of what goes up or back: kept where an answer with the same correlation id would be carried. So no account opens answers for itself.
 *
 * These are pure functions: no clock, no socket, no log.
 */

/** Largest body that is carried up, in bytes. */
export const UP_BYTES_MAX = 16 * 1024 * 1024;

/** In place of bytes that are no UTF-8, in what RabbitMQ's client has decoded. */
const NOT_UTF8 = '\ufffd';

/** One of `[[sealed.up]]`. Without keys: with any. */
export interface UpRule {
  readonly exchange: string;
  readonly keys: readonly string[];
}

/** A message of an account, as it lies in one of kpx's queues. */
export interface Published {
  readonly exchange: string;
  readonly routingKey: string;
  readonly replyTo: string | undefined;
  readonly correlationId: string | undefined;
  /** Of the body. */
  readonly bytes: number;
}

/** Where it goes at the server, and with which reply_to; empty: with none. */
interface Carried {
  readonly exchange: string;
  readonly routingKey: string;
  readonly replyTo: string;
}

/** Why a message of an account may not leave its virtual host, and what that means to operators. */
export const REFUSED_FOR = {
  by_name: `published by the name of a queue of kpx's, such as ${UP_QUEUE}`,
  exchange: 'no [[sealed.up]] names the exchange',
  key: 'the [[sealed.up]] of the exchange does not name the routing key, or the key is not UTF-8',
  another_user: 'is a job in the name of a user with another account',
  not_asked: 'answers no job that the account was given',
  reserved: "is for a queue of kpx's own at the server",
  too_large: 'its body is too large',
  headers: 'its properties cannot travel',
  forbidden: 'the server does not let the broker publish to the exchange',
} as const;
export type RefusedFor = keyof typeof REFUSED_FOR;

/** `why`: a sentence for operators. */
export interface Refused {
  readonly is: 'refused';
  readonly reason: RefusedFor;
  readonly why: string;
}

export type Verdict = ({ readonly is: 'carried' } & Carried) | Refused;

/**
 * The client's queue that the queue of this name stands in for, in this account's virtual host. Undefined: it is none, or that client may not be answered
 * with the correlation id of the message.
 */
type StandsFor = (queue: string) => string | undefined;

export const refused = (reason: RefusedFor, why: string): Refused => ({ is: 'refused', reason, why });

const tooLarge = (bytes: number) =>
  bytes > UP_BYTES_MAX ? refused('too_large', `its body has ${bytes} bytes, at most ${UP_BYTES_MAX} are carried`) : undefined;

/** Of a message in kpx.up. */
export function judgeUp(rules: readonly UpRule[], { exchange, routingKey, replyTo, bytes }: Published, standsFor: StandsFor): Verdict {
  if (exchange === '') return refused('by_name', `it was put into ${UP_QUEUE} by its name`);
  const rule = rules.find((each) => each.exchange === exchange);
  if (!rule) return refused('exchange', `no [[sealed.up]] names the exchange "${exchange}"`);
  if (rule.keys.length > 0 && !rule.keys.includes(routingKey)) {
    return refused('key', `the [[sealed.up]] of the exchange "${exchange}" does not name the routing key "${routingKey}"`);
  }
  // It would be another key at the server, or too long to be sent.
  if (routingKey.includes(NOT_UTF8)) return refused('key', 'its routing key is not UTF-8');
  return tooLarge(bytes) ?? { is: 'carried', exchange, routingKey, replyTo: restored(replyTo, standsFor) };
}

/**
 * Of a message in the queue that stands in for `client`. `isOpen`: the account was given a job with this reply_to and correlation id, or nobody knows any
 * more which it was given: see the grace in open-answers.ts.
 */
export function judgeAnswer(client: string, { replyTo, correlationId, bytes }: Published, isOpen: boolean, standsFor: StandsFor): Verdict {
  if (isReserved(client)) return refused('reserved', `"${client}" is a queue of kpx's own`);
  if (!isOpen) return refused('not_asked', `it was given no job with the correlation id "${correlationId ?? ''}" to answer to "${client}"`);
  return tooLarge(bytes) ?? { is: 'carried', exchange: '', routingKey: client, replyTo: restored(replyTo, standsFor) };
}

/** Of a job that is left in an account's job queue when its executor has ended: it goes back to where jobs come from, as one of this account. */
export function judgeBack(jobQueue: string, { replyTo, bytes }: Published, standsFor: StandsFor): Verdict {
  return tooLarge(bytes) ?? { is: 'carried', exchange: '', routingKey: jobQueue, replyTo: restored(replyTo, standsFor) };
}

/** The server would answer to whatever queue this names: only to one that the account was told, and by the name that it has there. */
function restored(replyTo: string | undefined, standsFor: StandsFor): string {
  return (replyTo === undefined ? undefined : standsFor(replyTo)) ?? '';
}

/** Answers to these would be letters or jobs of kpx's own making. */
const isReserved = (queue: string) => queue === DEAD_LETTER_QUEUE || queue.startsWith('kpx.delay.');

/** Why a job may not be given to an account; undefined: it may. `jobQueue`: of the server. */
export function whyNotDown(replyTo: string | undefined, jobQueue: string): string | undefined {
  if (replyTo === undefined) return undefined;
  if (replyTo.includes(NOT_UTF8)) return 'its reply_to is not UTF-8';
  if (replyTo === jobQueue) return `its reply_to is the job queue "${jobQueue}"`;
  if (isReserved(replyTo)) return `its reply_to "${replyTo}" is a queue of kpx's own`;
  return undefined;
}
