import { randomBytes } from 'node:crypto';
import { printable } from '@kpx/protocol';
import type { JobFacts } from '../amqp/job-facts.js';
import type { Outcome, Parked } from '../amqp/relay-observer.js';
import type { Effect, Event, Ticket } from '../executors/events.js';
import type { Machine } from '../executors/machine.js';
import { STATES } from '../executors/states.js';
import { durationText } from '../output/duration.js';
import type { DelayMs } from '../policy/policy.js';
import { type Step, type StepKind, type Story, wasSent } from './story.js';

/** Jobs that are remembered after they have left the broker; those of which nothing was heard for longest go first. */
export const STORIES_MAX = 10_000;
/** For how long, in milliseconds. */
export const STORY_KEPT_MS = 3_600_000;
/** Texts of all of these, in characters: what senders write into ids must not take the broker's memory. */
export const STORY_CHARS_MAX = 8 * 1024 * 1024;
/** As many more there may be until the oldest are forgotten, and as many fewer characters there are then. */
const TOGETHER = 256;
const TOGETHER_CHARS = 256 * 1024;
/** How often the oldest are looked at where there is room, in milliseconds. */
const SWEEP_MS = 60_000;
/** Steps that are remembered of each job: of more, the first ones and the last ones. */
const STEPS_MAX = 24;
const FIRST_STEPS = 4;
/** Longest reason that is kept, in characters. */
const WHY_CHARS_MAX = 300;

const CAME = { queue: 'seen', delay: 'from delay', back: 'back', replay: 'replayed' } as const satisfies Record<JobFacts['from'], StepKind>;
const LEFT = { forwarded: 'offered', deferred: 'delayed', parked: 'parked', returned: 'returned' } as const satisfies Record<
  Outcome,
  StepKind
>;

/**
 * The story of each job, for an operator who asks. Sees jobs come, the machine's decisions and RabbitMQ's confirms go by, and decides nothing. Those in
 * hand are as many as RabbitMQ may give at once (amqp.prefetch), the others {@link STORIES_MAX} at most, and those that are to be cancelled.
 */
export class Stories {
  readonly #run = randomBytes(5).toString('hex');
  #lastId = 0;
  readonly #inHand = new Map<string, Story>();
  /** The one that was heard of last is last. */
  readonly #past = new Map<string, Story>();
  #pastChars = 0;
  #sweepAt = 0;
  readonly #tickets = new Map<Ticket, Story>();
  /** The latest of each, where answers go by the broker. */
  readonly #byCorrelation = new Map<string, Story>();
  readonly #answersPass: boolean;
  readonly #now: () => number;

  /** `answersPass`: {@link answered} is told of answers. `now`: milliseconds since the epoch. */
  constructor(answersPass: boolean, now: () => number = Date.now) {
    this.#answersPass = answersPass;
    this.#now = now;
  }

  /** A job is in hand. A copy of one that is in hand already is another job, unless it was sent: it may come back before RabbitMQ has confirmed that. */
  came(facts: JobFacts): Story {
    const before = facts.id === undefined ? undefined : this.#inHand.get(facts.id);
    const isBack = before !== undefined && wasSent(before);
    const id = facts.id === undefined || (before && !isBack) ? this.newId() : facts.id;
    const past = this.#past.get(id);
    if (past) this.#leavePast(past);
    if (isBack) {
      before.unconfirmed += 1;
      this.#endTicket(before);
    }
    const known = isBack ? before : past;
    const story = known ?? this.#begin(id, facts);
    this.#inHand.set(id, story);
    story.inHand = true;
    if (facts.from === 'replay') story.cancelled = false; // by an operator, after it was parked
    this.#note(story, known && facts.from === 'queue' ? 'again' : CAME[facts.from]);
    return story;
  }

  /** One that no other job has. */
  newId(): string {
    return `${this.#run}-${(++this.#lastId).toString(36)}`;
  }

  isInHand(id: string): boolean {
    return this.#inHand.has(id);
  }

  /** The machine is about to judge it, by this number. */
  judged(story: Story, ticket: Ticket): void {
    story.ticket = ticket;
    this.#tickets.set(ticket, story);
  }

  observe(event: Event, effects: readonly Effect[], machine: Machine): void {
    for (const effect of effects) {
      const story = 'ticket' in effect ? this.#tickets.get(effect.ticket) : undefined;
      if (story) this.#decided(story, effect, machine);
    }
    if (event.kind !== 'job' || effects.some((effect) => 'ticket' in effect && effect.ticket === event.ticket)) return;
    const story = this.#tickets.get(event.ticket);
    const state = machine.stateOf(event.user);
    if (story) this.#note(story, 'held', state === 'ready' ? 'the executor is busy' : STATES[state].meaning);
  }

  /** It is elsewhere, confirmed: often as it was decided. */
  left(id: string, outcome: Outcome, parked?: Parked, delayMs?: DelayMs): void {
    const story = this.#inHand.get(id);
    if (!story) return;
    if (story.unconfirmed > 0) {
      story.unconfirmed -= 1;
      return;
    }
    const what = LEFT[outcome];
    const why = parked ? `${parked.reason}: ${parked.detail}` : delayMs ? `for ${durationText(delayMs)}` : '';
    if (story.steps.findLast(({ what }) => what !== 'problem' && what !== 'answered')?.what !== what)
      this.#note(story, what, why, parked && { reason: parked.reason });
    story.backAt = delayMs && this.#now() + delayMs;
    if (parked) story.cancelled = false;
    this.#release(story);
  }

  problem(id: string, why: string): void {
    const story = this.#inHand.get(id);
    if (story) this.#note(story, 'problem', why);
  }

  /** All that was in hand is in the job queue again. */
  lost(why: string): void {
    for (const story of [...this.#inHand.values()]) {
      this.#note(story, 'returned', why);
      this.#release(story);
    }
  }

  /** The executor of an account has answered, where answers go by the broker. */
  answered(account: string, correlationId: string): void {
    const story = this.#byCorrelation.get(correlationId);
    const last = story?.steps.at(-1);
    if (!story || story.steps.findLast(({ executor }) => executor)?.executor?.os_user !== account || last?.what === 'answered') return;
    this.#note(story, 'answered', 'its first answer is with the client');
  }

  /** It is parked when it comes back. */
  cancelLater(story: Story): void {
    story.cancelled = true;
    this.#note(story, 'to be cancelled');
  }

  /** How many are to be. */
  get cancelledLater(): number {
    return [...this.#past.values()].filter(({ cancelled }) => cancelled).length;
  }

  /** Jobs with this id of kpx's, message id or correlation id, as it is or as it is printed; the one that was heard of last is last. */
  find(id: string): Story[] {
    this.#forget(true);
    const asPrinted = id.includes('\\u');
    const is = (other: string | undefined) => other !== undefined && (other === id || (asPrinted && printable(other) === id));
    const found = (story: Story) => is(story.id) || is(story.messageId) || is(story.correlationId);
    return [...this.#past.values(), ...this.#inHand.values()].filter(found);
  }

  /** How many jobs are remembered, their characters, and since when, in milliseconds since the epoch; undefined: there is none. */
  get kept(): { readonly jobs: number; readonly chars: number; readonly since: number | undefined } {
    const [oldest] = this.#past.values();
    return { jobs: this.#past.size + this.#inHand.size, chars: this.#pastChars, since: oldest?.steps.at(-1)?.at };
  }

  #begin(id: string, { messageId, correlationId, traceparent, firstSeen = this.#now() }: JobFacts): Story {
    const chars = id.length + (messageId?.length ?? 0) + (correlationId?.length ?? 0) + (traceparent?.length ?? 0);
    // Each field by its name: this is done for every job.
    const story: Story = {
      id,
      messageId,
      correlationId,
      traceparent,
      firstSeen,
      user: undefined,
      steps: [],
      leftOut: 0,
      inHand: true,
      ticket: undefined,
      unconfirmed: 0,
      cancelled: false,
      backAt: undefined,
      chars,
    };
    if (this.#answersPass && correlationId !== undefined) this.#byCorrelation.set(correlationId, story);
    return story;
  }

  #decided(story: Story, effect: Effect, machine: Machine): void {
    if (effect.kind === 'forward') {
      const executor = machine.executorOf(effect.user);
      const runs = executor && { executor: { os_user: executor.osUser, uid: executor.uid, pid: executor.pid } };
      this.#note(story, 'offered', '', runs);
    } else if (effect.kind === 'defer') this.#note(story, 'delayed', `for ${durationText(effect.delayMs)}: ${effect.why}`);
    else if (effect.kind === 'park') this.#note(story, 'parked', `${effect.reason}: ${effect.detail}`, { reason: effect.reason });
  }

  #note(story: Story, what: StepKind, why = '', more?: Pick<Step, 'executor' | 'reason'>): void {
    const cut = why.length <= WHY_CHARS_MAX ? why : why.slice(0, WHY_CHARS_MAX);
    const step: Step = more ? { at: this.#now(), what, why: cut, ...more } : { at: this.#now(), what, why: cut };
    const [gone] = story.steps.length < STEPS_MAX ? [] : story.steps.splice(FIRST_STEPS, 1);
    if (gone) story.leftOut += 1;
    story.steps.push(step);
    const chars = step.why.length - (gone?.why.length ?? 0);
    story.chars += chars;
    if (!story.inHand) this.#pastChars += chars;
  }

  #release(story: Story): void {
    this.#endTicket(story);
    this.#inHand.delete(story.id);
    story.inHand = false;
    story.unconfirmed = 0;
    this.#past.set(story.id, story);
    this.#pastChars += story.chars;
    this.#forget();
  }

  #endTicket(story: Story): void {
    if (story.ticket !== undefined) this.#tickets.delete(story.ticket);
    story.ticket = undefined;
  }

  #leavePast(story: Story): void {
    this.#past.delete(story.id);
    this.#pastChars -= story.chars;
  }

  /** Some together: to find the oldest takes as long for one as for many. `isAsked`: those that are too old at once. */
  #forget(isAsked = false): void {
    const now = this.#now();
    const isFull = this.#past.size >= STORIES_MAX + TOGETHER || this.#pastChars > STORY_CHARS_MAX;
    if (!isFull && !isAsked && now < this.#sweepAt) return;
    this.#sweepAt = now + SWEEP_MS;
    const charsMax = isFull ? STORY_CHARS_MAX - TOGETHER_CHARS : STORY_CHARS_MAX;
    for (const story of this.#past.values()) {
      const isOld = (story.steps.at(-1)?.at ?? 0) < now - STORY_KEPT_MS;
      if (!isOld && story.cancelled) continue;
      if (!isOld && this.#past.size <= STORIES_MAX && this.#pastChars <= charsMax) return;
      this.#leavePast(story);
      const { correlationId = '' } = story;
      if (this.#answersPass && this.#byCorrelation.get(correlationId) === story) this.#byCorrelation.delete(correlationId);
    }
  }
}
