import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Config } from '../config/config.js';
import type { Link } from '../host/link.js';
import { withAdvice } from './advice.js';
import { DELIVERIES_HEADER } from './headers.js';
import { type JobQueue, lookAtJobQueue, refutes, withoutLimit } from './job-queue.js';
import { nearDeliveryLimit } from './jobs.js';
import type { AmqpSession } from './session.js';
import type { Undecodable } from './submitter.js';
import type { WireProperties } from './wire/properties.js';

/** How often a queue that is refused is looked at again, how often that is logged, and how often one that is consumed is looked at, in milliseconds. */
const LOOK_AGAIN_MS = 10_000;
const SAY_AGAIN_MS = 60_000;
const WATCH_MS = 60_000;

type Where = [session: AmqpSession, url: string, amqp: Config['amqp']];

/** Lets the broker consume from a job queue that keeps its jobs, and from another one only where the configuration accepts that. */
export class JobQueueGate {
  readonly #log: Logger;
  readonly #facts: object;
  readonly #link: Link;
  /** When a refusal was logged last, in milliseconds of the machine's clock, and which. */
  #said = { at: Number.NEGATIVE_INFINITY, danger: '' };
  #seen: { readonly place: string; readonly jobQueue: JobQueue } | undefined;

  /** `facts`: what its log lines have beside their own. */
  constructor(log: Logger, facts: object, link: Link) {
    this.#log = log;
    this.#facts = facts;
    this.#link = link;
  }

  /** As it was seen last. */
  get jobQueue(): JobQueue | undefined {
    return this.#seen?.jobQueue;
  }

  /**
   * Resolves when jobs may be taken: with true; with false when `over` is aborted first. Rejects when the session ends before that, or RabbitMQ does not
   * answer; the Error has advice.
   */
  async opens(over: AbortSignal, ...where: Where): Promise<boolean> {
    try {
      return await this.#opens(over, ...where);
    } catch (error) {
      throw new Error(withAdvice((error as Error).message, where[1]), { cause: error });
    }
  }

  async #opens(over: AbortSignal, ...[session, url, amqp]: Where): Promise<boolean> {
    const ended = session.ended.then(({ why }) => {
      throw new Error(why);
    });
    ended.catch(() => {}); // also when nobody waits for it any more
    while (!over.aborted) {
      const { danger, fix, limit } = await Promise.race([this.#look(session, url, amqp), ended]);
      if (danger === undefined) return true;
      const unseen = limit !== undefined && amqp.management_urls.length === 0;
      if (amqp.delivery_limit === 'accept' && limit !== undefined) {
        this.#log.warn(
          { ...this.#facts, reason: danger, fix },
          'jobs can be lost in the job queue; amqp.delivery_limit = "accept" lets them be taken',
        );
        return true;
      }
      this.#refuse(danger, `${fix}${unseen ? UNSEEN : ''}`, amqp.queue);
      await Promise.race([delay(LOOK_AGAIN_MS, undefined, { signal: over }).catch(() => {}), ended]);
    }
    return false;
  }

  /** Looks at a queue that is consumed, where policies can be seen. `closes` is told why jobs may not be taken any longer. Answers how to end that. */
  watch(closes: (why: string) => void, ...[session, url, amqp]: Where): () => void {
    if (amqp.management_urls.length === 0 || amqp.delivery_limit === 'accept') return () => {};
    const look = () =>
      this.#look(session, url, amqp).then(
        ({ danger }) => danger !== undefined && closes(danger),
        () => {}, // the session ends by itself where RabbitMQ does not answer
      );
    const watching = setInterval(look, WATCH_MS);
    return () => clearInterval(watching);
  }

  /** Why this job is parked and not held: RabbitMQ would remove it soon. */
  endangers(properties: WireProperties): Undecodable | undefined {
    const deliveries = properties.header(DELIVERIES_HEADER);
    const { jobQueue, place } = this.#seen ?? {};
    if (jobQueue && place !== undefined && refutes(jobQueue, deliveries)) {
      this.#log.info(
        { ...this.#facts, limit: jobQueue.limit, deliveries },
        'the job queue has another limit than was assumed: jobs are not parked for it',
      );
      this.#seen = { place, jobQueue: withoutLimit(jobQueue.version) };
    }
    return nearDeliveryLimit(this.jobQueue?.limit, deliveries);
  }

  async #look(...[session, url, amqp]: Where): Promise<JobQueue> {
    const place = `${new URL(url).pathname} ${amqp.queue}`;
    const seen = await lookAtJobQueue(session.source.connection, url, amqp);
    // RabbitMQ may not tell its policies: for some seconds after a node was lost, or while all of the management API is away. Then what it told before holds.
    const before = this.#seen?.place === place ? this.#seen.jobQueue : undefined;
    const jobQueue = seen.assumed && before?.version === seen.version && !before.assumed ? before : seen;
    this.#seen = { place, jobQueue };
    return jobQueue;
  }

  #refuse(danger: string, fix: string, queue: string): void {
    this.#link.refuses(`${danger}; ${fix}`, LOOK_AGAIN_MS);
    const now = performance.now();
    if (danger === this.#said.danger && now - this.#said.at < SAY_AGAIN_MS) return;
    this.#said = { at: now, danger };
    this.#log.error(
      { ...this.#facts, queue, reason: danger, fix, again_ms: LOOK_AGAIN_MS },
      'not consuming: jobs would be lost in the job queue',
    );
  }
}

const UNSEEN =
  '; then let the broker see it with amqp.management_urls, or set amqp.delivery_limit = "accept" (docs/rabbitmq.md, "Delivery limits")';
