import { hostname } from 'node:os';
import type { KnimeUser } from '@kpx/protocol';
import type { Logger } from 'pino';
import type { Engine } from './engine.js';
import type { Explanation } from './executors/explanation.js';
import { durationText } from './output/duration.js';
import { CommandError, EXIT } from './output/exit.js';
import { type Cancelled, executorText, type JobStories, type JobStory } from './record/job-story.js';
import type { ReadModel } from './record/read-model.js';
import { STORIES_MAX, STORY_KEPT_MS } from './record/stories.js';
import type { Story } from './record/story.js';

/** Jobs that share an id, of which the story is told: the latest. */
const TOLD_MAX = 20;
/** Jobs in delay queues that are to be cancelled when they come back. */
const CANCELLED_LATER_MAX = 1_000;

/** Answers what became of a job, and cancels one that waits. Throws {@link CommandError} for what cannot be. */
export class JobOperator {
  readonly #log: Logger;
  readonly #engine: Engine;
  readonly #record: ReadModel;
  readonly #explain: (user: KnimeUser) => Promise<Explanation>;

  constructor(log: Logger, engine: Engine, record: ReadModel, explain: (user: KnimeUser) => Promise<Explanation>) {
    this.#log = log;
    this.#engine = engine;
    this.#record = record;
    this.#explain = explain;
  }

  /** Of every job with this id of kpx's, message id or correlation id. */
  async stories(id: string): Promise<JobStories> {
    const found = this.#found(id).slice(-TOLD_MAX);
    const { jobs, since } = this.#record.stories.kept;
    const kept = { jobs, jobs_max: STORIES_MAX, ms_max: STORY_KEPT_MS, since: since === undefined ? null : new Date(since).toISOString() };
    return { jobs: await Promise.all(found.map((story) => this.#told(story))), kept };
  }

  async cancel(id: string): Promise<Cancelled> {
    const [story, another] = this.#found(id);
    if (!story) throw new Error('a job that is known is not there'); // #found has thrown
    if (another) {
      const ids = this.#found(id).slice(-TOLD_MAX);
      const each = ids.map((one) => `${one.id} (${one.user ?? 'no user'})`).join(', ');
      throw new CommandError(EXIT.usage, `${ids.length} jobs have this id, and none is cancelled: give the id of kpx's, one of ${each}`);
    }
    const { user, ticket } = story;
    if (user !== undefined && ticket !== undefined) this.#engine.emit({ kind: 'cancel asked', user, ticket });
    const parked = story.steps.at(-1)?.reason === 'CANCELLED';
    if (!parked) await this.#later(story);
    this.#log.warn({ job: story.messageId, kpx_id: story.id, user, parked }, 'an operator cancels a job');
    return { id: story.id, user: user ?? null, parked };
  }

  async #later(story: Story): Promise<void> {
    const { stories } = this.#record;
    if (story.cancelled) return;
    if (story.inHand || story.steps.at(-1)?.what !== 'delayed') {
      const { headline } = await this.#told(story);
      throw new CommandError(EXIT.unavailable, `It is not cancelled, because it does not wait here: ${headline}. ${adviceFor(story)}`);
    }
    if (stories.cancelledLater >= CANCELLED_LATER_MAX)
      throw new CommandError(
        EXIT.unavailable,
        `It is not cancelled: ${CANCELLED_LATER_MAX} jobs in delay queues are to be cancelled already. Try again in a minute.`,
      );
    stories.cancelLater(story);
  }

  #found(id: string): Story[] {
    const found = this.#record.stories.find(id);
    if (found.length > 0) return found;
    const { since } = this.#record.stories.kept;
    const back = since === undefined ? '' : `, now from ${new Date(since).toISOString()} on`;
    const kept = `It keeps the last ${STORIES_MAX.toLocaleString('en')} jobs, for up to ${durationText(STORY_KEPT_MS)}${back}, and none from before its start`;
    throw new CommandError(
      EXIT.noInput,
      `kpx knows no job ${JSON.stringify(id)} on ${hostname()}. ${kept}. Ask the other hosts; kpxctl dead-letters list has parked jobs; journalctl -t kpx-broker -g ID searches the log.`,
    );
  }

  async #told(story: Story): Promise<JobStory> {
    return this.#record.story(story, story.user === undefined ? undefined : await this.#explain(story.user));
  }
}

function adviceFor({ steps }: Story): string {
  const executor = steps.findLast((step) => step.executor)?.executor;
  const last = steps.at(-1)?.what;
  if (last === 'offered' && executor)
    return `kpxctl stop USER ends ${executorText(executor)}, and RabbitMQ has the job back if it was not acknowledged.`;
  return 'See kpxctl job ID.';
}
