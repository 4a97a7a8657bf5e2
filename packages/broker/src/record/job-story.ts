import type { Explanation } from '../executors/explanation.js';
import { KEPT_MS } from '../executors/given.js';
import { shownState } from '../executors/states.js';
import { durationText } from '../output/duration.js';
import { entryOf } from '../policy/reasons.js';
import type { Change } from './histories.js';
import { nextStepOf } from './next-step.js';
import { type RunsAs, STEPS, type Step, type Story } from './story.js';

/** A step of a job, or of its user meanwhile. */
interface StoryStep {
  /** ISO 8601. */
  readonly at: string;
  /** Until the next step, or until now, in milliseconds. */
  readonly for_ms: number;
  /** A key of {@link STEPS}, or `user`: the user's state has changed. */
  readonly what: string;
  /** For people. */
  readonly text: string;
  readonly executor?: RunsAs;
  /** Of the helper: `id` in the audit log. */
  readonly request?: number;
}

/** One job's story, for who asks. Texts of the sender are as they came. */
export interface JobStory {
  /** The id that kpx has given it. */
  readonly id: string;
  readonly message_id: string | null;
  readonly correlation_id: string | null;
  readonly traceparent: string | null;
  /** Null: it names none that kpx takes. */
  readonly user: string | null;
  readonly host: string;
  /** ISO 8601: when a broker has seen it first, perhaps another one. */
  readonly first_seen: string;
  /** One line: where the job is, and why. */
  readonly headline: string;
  /** The operator's next step; '': there is none. */
  readonly next: string;
  /** The oldest first. */
  readonly steps: readonly StoryStep[];
  /** Steps after the fourth that are not remembered. */
  readonly left_out: number;
}

/** The answer to a question about an id. */
export interface JobStories {
  /** Two and more: they share it. */
  readonly jobs: readonly JobStory[];
  /** How far back the broker remembers: jobs now and at most, for how long in milliseconds, and since when; null: there is none. */
  readonly kept: { readonly jobs: number; readonly jobs_max: number; readonly ms_max: number; readonly since: string | null };
}

/** The answer to `cancel`. */
export interface Cancelled {
  readonly id: string;
  readonly user: string | null;
  /** False: it is parked when it comes back from its delay queue. */
  readonly parked: boolean;
}

/** The facts at the moment of the question. */
interface StoryScene {
  readonly host: string;
  /** In milliseconds since the epoch. */
  readonly now: number;
  /** The fate of a job of this user now; undefined: it has none. */
  readonly explanation: Explanation | undefined;
  /** Of the user's state. */
  readonly changes: readonly Change[];
  /** Does this executor run still? */
  runs(executor: RunsAs): boolean;
}

const iso = (ms: number) => new Date(ms).toISOString();
const accountText = ({ os_user, uid, pid }: RunsAs) => `of "${os_user}" (uid ${uid}, pid ${pid})`;
export const executorText = (executor: RunsAs) => `the executor ${accountText(executor)}`;

export function tellStory(story: Story, scene: StoryScene): JobStory {
  const { id, messageId = null, correlationId = null, traceparent = null, user = null, firstSeen, leftOut: left_out } = story;
  const [headline, next] = headlineOf(story, scene);
  const names = { id, message_id: messageId, correlation_id: correlationId, traceparent, user };
  return {
    ...names,
    host: scene.host,
    first_seen: iso(firstSeen),
    headline,
    next: next.replaceAll('USER', user ?? 'USER'),
    steps: stepsOf(story, scene),
    left_out,
  };
}

type Untimed = Omit<StoryStep, 'for_ms' | 'at'> & { readonly at: number };

/** With what became of the user while the job was here, and the state that it came upon. */
function stepsOf(story: Story, { now, changes }: StoryScene): StoryStep[] {
  const { steps, inHand, backAt = now } = story;
  const isDelayed = !inHand && steps.findLast(({ what }) => what !== 'to be cancelled')?.what === 'delayed';
  const end = isDelayed ? Math.min(now, backAt) : now;
  const [from, to] = [steps[0]?.at ?? now, inHand || isDelayed ? end : (steps.at(-1)?.at ?? now)];
  const times = changes.map((change) => ({ change, at: Date.parse(change.at) }));
  const before = times.findLast(({ at }) => at < from);
  const during = times.filter(({ at }) => at >= from && at <= to);
  const ofUser = [...(before ? [before] : []), ...during].map(
    ({ change: { state, why, request }, at }): Untimed => ({
      at,
      what: 'user',
      text: `the user's state is ${shownState(state)}${why === '' ? '' : `: ${why}`}`,
      ...(request !== undefined && { request }),
    }),
  );
  const all = [...steps.map(untimed), ...ofUser].sort((one, other) => one.at - other.at);
  return all.map((step, index) => ({ ...step, at: iso(step.at), for_ms: Math.max(0, (all[index + 1]?.at ?? end) - step.at) }));
}

function untimed({ at, what, why, executor }: Step): Untimed {
  const whose = executor ? ` ${accountText(executor)}` : '';
  return {
    at,
    what,
    text: `${STEPS[what]}${whose}${why === '' ? '' : what === 'delayed' ? ` ${why}` : `: ${why}`}`,
    ...(executor && { executor }),
  };
}

type Headline = readonly [headline: string, next: string];

function headlineOf(story: Story, scene: StoryScene): Headline {
  const last = story.steps.findLast(({ what }) => what !== 'problem' && what !== 'to be cancelled');
  if (!last) return ['nothing is known of it.', ''];
  const age = durationText(Math.max(0, scene.now - last.at));
  if (story.inHand) return inHandHeadline(story, last, age, scene);
  switch (last.what) {
    case 'delayed': {
      const why = scene.explanation?.why ?? '';
      const now = last.why.endsWith(why) ? '' : `; now: ${why}`;
      const cancelled = story.cancelled ? '; it is cancelled, and parked when it is here again' : '';
      const pastMs = scene.now - (story.backAt ?? scene.now);
      if (pastMs < KEPT_MS) return [`waits in a delay queue ${last.why}, since ${age}${now}${cancelled}`, nextOf(scene)];
      return [
        `went back to the job queue ${durationText(pastMs)} ago, after a wait ${last.why}, and has not come here since${cancelled}`,
        'An executor that runs, or another host, takes jobs from there, too: kpxctl logs USER. How many wait there: kpxctl status',
      ];
    }
    case 'parked':
      return [
        `parked ${age} ago: ${last.why}`,
        `${entryOf(last.reason ?? '')?.advice ?? ''} Its dead letter: kpxctl dead-letters list`.trimStart(),
      ];
    case 'answered':
      return [`answered ${age} ago`, ''];
    case 'offered':
      return withExecutorHeadline(last, age, scene);
    default:
      return [`in the job queue again since ${age}${last.why === '' ? '' : `: ${last.why}`}`, nextOf(scene)];
  }
}

function inHandHeadline({ steps }: Story, last: Step, age: string, scene: StoryScene): Headline {
  const problem = steps.at(-1)?.what === 'problem' ? steps.at(-1) : undefined;
  if (problem) return [`RabbitMQ has not taken it: ${problem.why}`, 'journalctl -t kpx-broker has more; kpxctl doctor'];
  if (last.what !== 'held') return [`under way since ${age}: ${STEPS[last.what]}`, 'Ask again in a moment.'];
  return [`waits since ${age}: ${scene.explanation?.why ?? last.why}`, nextOf(scene)];
}

/** A job that is not taken comes back within moments: as {@link GivenJobs} judges. */
function withExecutorHeadline({ executor, at }: Step, age: string, { now, runs }: StoryScene): Headline {
  if (!executor) return [`sent to the executor ${age} ago`, 'kpxctl logs USER'];
  const who = executorText(executor);
  if (!runs(executor))
    return [
      `${who} got it ${age} ago, and has ended since`,
      'If it had not acknowledged the job, that is in the job queue again, here or at another host. kpxctl logs USER',
    ];
  if (now - at < KEPT_MS) return [`offered ${age} ago to ${who}`, 'Ask again in 5 s: a job that is not taken comes back.'];
  return [`taken ${age} ago by ${who}: it has not come back`, 'Whether it is done, the log of the executor says: kpxctl logs USER'];
}

const nextOf = ({ explanation }: StoryScene) => (explanation ? nextStepOf(explanation) : 'kpxctl status');
