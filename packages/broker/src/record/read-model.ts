import { hostname } from 'node:os';
import type { KnimeUser } from '@kpx/protocol';
import type { Config } from '../config/config.js';
import type { Effect, Event } from '../executors/events.js';
import type { Explanation, Planned } from '../executors/explanation.js';
import type { Machine } from '../executors/machine.js';
import { Decisions } from './decisions.js';
import { Histories } from './histories.js';
import { type JobStory, tellStory } from './job-story.js';
import { Metrics } from './metrics.js';
import { Outcomes } from './outcomes.js';
import { type Links, lineOf, standingOf, tallyOf } from './standing.js';
import { type Sources, type Status, statusOf, type UserDetail, userDetailOf } from './status.js';
import { Stories } from './stories.js';
import type { Story } from './story.js';
import { factsOf, type Verdict, verdictOf } from './verdict.js';

type Look = () => { readonly config: Config; readonly links: Links; readonly planned: ReadonlyMap<KnimeUser, Planned> };

/** The running broker's status: what is so in the machine at the moment, and what it remembers of events and effects that went by. */
export class ReadModel {
  readonly outcomes = new Outcomes();
  readonly metrics: Metrics;
  readonly stories: Stories;
  readonly #machine: Machine;
  readonly #look: Look;
  readonly #decisions = new Decisions();
  readonly #histories = new Histories();

  /** `answersPass`: answers of executors go by the broker. */
  constructor(machine: Machine, look: Look, answersPass = false) {
    this.#machine = machine;
    this.#look = look;
    this.stories = new Stories(answersPass);
    this.metrics = new Metrics(this.outcomes, () => ({
      standing: standingOf(machine, look().links),
      tally: tallyOf(machine),
      users: machine.users(),
      verdict: this.verdict(),
      endedSoon: machine.endedSoon.executors,
    }));
  }

  /** `now` in milliseconds of the machine's clock. */
  observe(event: Event, effects: readonly Effect[], now: number): void {
    this.metrics.observe(event, effects, now);
    this.#decisions.note(effects);
    this.#histories.observe(event, effects);
    this.stories.observe(event, effects, this.#machine);
  }

  /** One line for systemd. */
  line(): string {
    const { config, links } = this.#look();
    return lineOf(standingOf(this.#machine, links), this.verdict(), config.amqp.queue);
  }

  /** Is all well? */
  verdict(): Verdict {
    return verdictOf(factsOf(this.#machine, this.#look().links, this.outcomes));
  }

  /** Starts at a time that an operator has named. */
  get planned(): ReadonlyMap<KnimeUser, Planned> {
    return this.#look().planned;
  }

  status(): Status {
    return statusOf(this.sources);
  }

  /** All that is known of one user. */
  user(explanation: Explanation): UserDetail {
    return userDetailOf(explanation, this.#machine, this.#histories);
  }

  /** `explanation`: of the fate of a job of its user now; undefined: it has none. */
  story(story: Story, explanation: Explanation | undefined): JobStory {
    const machine = this.#machine;
    const running = [...machine.running()];
    return tellStory(story, {
      host: hostname(),
      now: Date.now(),
      explanation,
      changes: story.user === undefined ? [] : (this.#histories.of(story.user)?.changes ?? []),
      runs: ({ os_user, pid }) => running.some((executor) => executor.osUser === os_user && executor.pid === pid),
    });
  }

  get sources(): Sources {
    const decisions = this.#decisions.last;
    return { ...this.#look(), machine: this.#machine, histories: this.#histories, decisions, outcomes: this.outcomes };
  }
}
