import { hostname } from 'node:os';
import { performance } from 'node:perf_hooks';
import type { KnimeUser, OsUser } from '@kpx/protocol';
import type { Logger } from 'pino';
import { ACCOUNT_HEADER, ID_HEADER } from './amqp/headers.js';
import type { InForce } from './amqp/in-force.js';
import { jobFactsOf } from './amqp/job-facts.js';
import { decodeJob, describe, sentAt } from './amqp/jobs.js';
import type { Lane } from './amqp/lane.js';
import type { JobMac } from './amqp/mac.js';
import { headersOf, marksOf } from './amqp/marks.js';
import type { WireMessage } from './amqp/wire/amqplib.js';
import type { PassedOn } from './amqp/wire/cut-through.js';
import type { WireProperties } from './amqp/wire/properties.js';
import type { Config } from './config/config.js';
import { userFrom } from './config/user-from.js';
import { CANCELLED_DETAIL } from './executors/cancelling.js';
import type { Effect, Event, Ticket } from './executors/events.js';
import { handedBack, type Marks, NO_MARKS } from './executors/hand-back.js';
import type { GroupLookups } from './host/group-lookups.js';
import { logFailure } from './output/logged-failure.js';
import { HOPS_FREE } from './policy/policy.js';
import type { Reason } from './policy/reasons.js';
import type { Stories } from './record/stories.js';
import { awayMs, type Story } from './record/story.js';
import type { Given } from './sealed/giving.js';

/** The machine's decision about a job. */
type JobEffect = Extract<Effect, { ticket: Ticket }>;

interface Delivery {
  readonly message: WireMessage;
  readonly hops: number;
  readonly marks: Marks;
  /** When it came, and since when it is in the machine's hands, in milliseconds of the machine's clock. */
  readonly cameAt: number;
  readonly since: number;
}

const NOT_PROVEN = 'their x-kpx-mac is missing or wrong';
const FORGED = 'headers that kpx has not written count as absent, and are removed from this job';

interface IntakeHandlers {
  emit(event: Event): void;
  /** Whose executor the jobs of this user go to; undefined: nobody's. */
  accountOf(user: KnimeUser): OsUser | undefined;
  /** A job was held for `ms` milliseconds. */
  held(ms: number): void;
}

/** Where jobs go to if executors are sealed. */
interface SealedWay {
  isShared(account: OsUser): boolean;
  /** Of a user for whom an executor was to be started; undefined: not known. */
  accountOf(user: KnimeUser): OsUser | undefined;
  /** The code of an account has published a job in the name of a user with another account. */
  forged(account: string, user: KnimeUser, message: WireMessage): void;
  laneOf(account: OsUser): { give(message: WireMessage, hops: number, told: (given: Given) => void): void } | undefined;
}

/** The jobs that the broker has in hand. Reads them for the machine, and carries out what the machine has decided about them. */
export class Intake {
  readonly #log: Logger;
  readonly #config: () => Config;
  readonly #mac: () => JobMac;
  readonly #lane: Lane;
  readonly #stories: Stories;
  readonly #groups: GroupLookups;
  readonly #handlers: IntakeHandlers;
  readonly #deliveries = new Map<Ticket, Delivery>();
  #lastTicket: Ticket = 0;
  /** Undefined: executors are not sealed. */
  readonly #sealed: SealedWay | undefined;

  constructor(
    log: Logger,
    { config, mac }: InForce,
    { lane, stories }: { readonly lane: Lane; readonly stories: Stories },
    groups: GroupLookups,
    handlers: IntakeHandlers,
    sealed?: SealedWay,
  ) {
    this.#log = log;
    this.#config = config;
    this.#mac = mac;
    this.#lane = lane;
    this.#stories = stories;
    this.#groups = groups;
    this.#handlers = handlers;
    this.#sealed = sealed;
  }

  take(message: WireMessage): void {
    if (this.#mac().judge(message.properties, message.content)) this.#log.warn({ ...describe(message), reason: NOT_PROVEN }, FORGED);
    const story = this.#came(message);
    const decoded = () => decodeJob(message.content, message.properties, userFrom(this.#config().jobs));
    const job = this.#lane.gate.endangers(message.properties) ?? decoded();
    if ('reason' in job) {
      this.#lane.relay?.park(message, job.reason, job.detail);
      return;
    }
    story.user = job.user;
    if (this.#parkForged(message, job.user, job.hops, this.#handlers.accountOf(job.user) ?? this.#sealed?.accountOf(job.user))) return;
    if (story.cancelled) {
      this.#lane.relay?.park(message, 'CANCELLED' satisfies Reason, CANCELLED_DETAIL, { user: job.user, hops: job.hops });
      return;
    }
    const ticket = ++this.#lastTicket;
    this.#stories.judged(story, ticket);
    const [marks, now] = [marksOf(message.properties.own), performance.now()];
    this.#deliveries.set(ticket, { message, hops: job.hops, marks, cameAt: now, since: now });
    const ageMs = Math.max(0, Date.now() - (sentAt(message.properties) ?? Date.now()));
    const { user, hops, waited, replayed } = job;
    this.#judge({ kind: 'job', ticket, user, hops, waited, replayed, ageMs, awayMs: awayMs(story), crowded: this.#lane.crowded });
  }

  /** From now on the message has the id that kpx knows the job by, and keeps it wherever it goes. */
  #came(message: WireMessage): Story {
    const story = this.#stories.came(jobFactsOf(message));
    const { properties } = message;
    if (properties.own[ID_HEADER] !== story.id) properties.own = Object.assign({}, properties.own, { [ID_HEADER]: story.id });
    return story;
  }

  /** For a message that is parked while it comes in. */
  name(properties: WireProperties): void {
    if (properties.own[ID_HEADER] === undefined) properties.own = Object.assign({}, properties.own, { [ID_HEADER]: this.#stories.newId() });
  }

  /** The id of a job in hand; one that was parked while it came in is new here. */
  idOf(message: WireMessage): string {
    const id = message.properties.own[ID_HEADER];
    return typeof id === 'string' && this.#stories.isInHand(id) ? id : this.#came(message).id;
  }

  /**
   * Parks a job in the name of a user with another account than the one whose code has published it; answers whether it is one. Before anything is started
   * for it, where the account of its user is known, which is otherwise when it is about to be forwarded.
   */
  #parkForged(message: WireMessage, user: KnimeUser, hops: number, account: OsUser | '' | undefined): boolean {
    const publishedBy = message.properties.own[ACCOUNT_HEADER];
    if (typeof publishedBy !== 'string' || account === undefined || publishedBy === account) return false;
    const detail = `the code of the account "${publishedBy}" has published it, and its user has the account "${account}"`;
    this.#sealed?.forged(publishedBy, user, message);
    this.#lane.relay?.park(message, 'SEALED_REFUSED' satisfies Reason, detail, { user, hops });
    return true;
  }

  #judge(event: Omit<Extract<Event, { kind: 'job' }>, 'groups'>): void {
    if (this.#groups.asked) this.#withGroups(event).catch(logFailure(this.#log, 'a job cannot be judged'));
    else this.#handlers.emit({ ...event, groups: undefined });
  }

  /** A user whose groups are not known might be denied by them: that is a failed start, of the host's kind. */
  async #withGroups(event: Omit<Extract<Event, { kind: 'job' }>, 'groups'>): Promise<void> {
    const { user, ticket } = event;
    const groups = await this.#groups.of(user).catch((error: Error) => error);
    if (!this.#deliveries.has(ticket)) return;
    if (!(groups instanceof Error)) this.#handlers.emit({ ...event, groups });
    else
      this.#handlers.emit({
        kind: 'groups unknown',
        user,
        ticket,
        detail: groups.message,
        ...(event.refusal && { refusal: event.refusal }),
      });
  }

  /** All that is in hand, which is forgotten: it goes back, or RabbitMQ has it already. */
  release(): WireMessage[] {
    const messages = [...this.#deliveries.values()].map(({ message }) => message);
    this.#deliveries.clear();
    return messages;
  }

  /** The hosts where a job has been decide where it goes when this host cannot do it. */
  marked(effect: Effect): Effect {
    if (effect.kind !== 'hand back') return effect;
    return handedBack(effect, this.#deliveries.get(effect.ticket)?.marks ?? NO_MARKS, hostname());
  }

  settle(effect: JobEffect): void {
    const delivery = this.#deliveries.get(effect.ticket);
    this.#deliveries.delete(effect.ticket);
    const { relay } = this.#lane;
    if (!delivery || !relay) return; // the channel is gone, and the delivery with it
    const { message, hops, since } = delivery;
    this.#handlers.held(performance.now() - since);
    const facts = () => ({ ...describe(message), user: effect.user, hops });
    const account = this.#handlers.accountOf(effect.user);
    // One that is forwarded is of no account that nobody knows.
    const known = account ?? this.#sealed?.accountOf(effect.user) ?? (effect.kind === 'forward' ? '' : undefined);
    if (this.#parkForged(message, effect.user, hops, known)) return;
    if (effect.kind === 'forward') {
      if (this.#sealed && !(account !== undefined && this.#sealed.isShared(account))) this.#give(this.#sealed, effect, delivery);
      else {
        if (this.#log.isLevelEnabled('debug')) this.#log.debug(facts(), 'job forwarded');
        relay.forward(message, hops);
      }
    } else if (effect.kind === 'defer') {
      if (this.#log.isLevelEnabled('debug')) this.#log.debug({ ...facts(), reason: effect.why, delay_ms: effect.delayMs }, 'job deferred');
      relay.defer(message, hops, effect.delayMs, effect.marks && headersOf(effect.marks));
    } else if (effect.kind === 'park') {
      relay.park(message, effect.reason, effect.detail, { user: effect.user, hops });
    }
  }

  /** Into the virtual host of its account. A job that has no place there is in the machine's hands again, as one that its executor has given back. */
  #give(sealed: SealedWay, { ticket, user, offer = 0 }: Extract<Effect, { kind: 'forward' }>, delivery: Delivery): void {
    const { message, hops } = delivery;
    const { relay } = this.#lane;
    const account = this.#handlers.accountOf(user);
    const taken = () => this.#handlers.emit({ kind: 'taken', user, offer });
    let given: Given = { is: 'not yet', why: 'its account has no virtual host at the moment' };
    const refused = (why: string) => {
      if (given.is === 'never') {
        this.#lane.relay?.park(message, given.reason, why, { user, hops });
        taken();
        return;
      }
      if (this.#log.isLevelEnabled('debug')) this.#log.debug({ ...describe(message), user, hops, reason: why }, 'job not taken');
      const since = performance.now();
      this.#deliveries.set(ticket, { ...delivery, since });
      const refusal = { offer, full: given.is === 'not yet' && given.full === true };
      const again = { waited: false, refusal, ageMs: 0, inHandMs: since - delivery.cameAt, crowded: this.#lane.crowded };
      this.#judge({ kind: 'job', ticket, user, hops: Math.max(hops, HOPS_FREE), ...again });
    };
    const passedOn: PassedOn = (told) => {
      const lane = account === undefined ? undefined : sealed.laneOf(account);
      const settled = (as: Given) => {
        given = as;
        if (as.is === 'given' && this.#log.isLevelEnabled('debug'))
          this.#log.debug({ ...describe(message), user, hops, account }, 'job forwarded');
        told(as.is === 'given' ? undefined : as.why);
        if (as.is === 'given') taken();
      };
      if (lane) lane.give(message, hops, settled);
      else settled(given);
    };
    relay?.given(message, passedOn, refused);
  }
}
