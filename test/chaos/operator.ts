import { askBroker, BrokerRefused, BrokerUnreachable } from '../../packages/broker/src/control/client.js';
import { EXIT } from '../../packages/broker/src/output/exit.js';
import type { JobStories, JobStory } from '../../packages/broker/src/record/job-story.js';
import { runKpxctl } from '../fixtures/programs.js';
import type { Cancellation } from './causes.js';
import type { Installation } from './installation.js';
import type { Sent } from './publisher.js';

/* What an operator does meanwhile, with kpxctl. */

/** Among so many of the jobs that were published last, one that waits is looked for. */
const LOOKED_AT_MAX = 40;
const MS_PER_S = 1_000;
/** What kpxctl may end with while the broker is away, or where what it was asked for cannot be. */
const REFUSALS: readonly number[] = [EXIT.usage, EXIT.noInput, EXIT.unavailable, EXIT.config];

/** Answers what it prints as JSON; undefined: it was refused. Rejects where that is no refusal. */
async function told({ kpx }: Installation, ...args: string[]): Promise<unknown> {
  const { code, stdout, stderr } = await runKpxctl([...args, '--json', '--config', kpx.brokerConfigFile]);
  if (code === 0) return JSON.parse(stdout);
  if (REFUSALS.includes(code)) return undefined;
  throw new Error(`kpxctl ${args.join(' ')} ended with ${code}\n${stderr}`);
}

/** The stories that the running broker has of jobs with this id; none where it does not know of them, or is away. */
export async function storiesOf({ kpx }: Installation, id: string): Promise<readonly JobStory[]> {
  try {
    const { jobs } = (await askBroker(kpx.controlSocket, `/job?${new URLSearchParams({ id })}`)) as JobStories;
    return jobs;
  } catch (error) {
    if (error instanceof BrokerRefused || error instanceof BrokerUnreachable) return [];
    throw error;
  }
}

/** Cancels the job that was published last of those that wait. Undefined: none waits. */
export async function cancelOne(on: Installation, sent: readonly Sent[]): Promise<Cancellation | undefined> {
  for (const { id } of sent.slice(-LOOKED_AT_MAX).reverse()) {
    const [story, another] = await storiesOf(on, id);
    const last = story?.steps.findLast(({ what }) => what !== 'user')?.what ?? '';
    if (another !== undefined || !['held', 'delayed'].includes(last)) continue;
    const at = Date.now();
    const answer = (await told(on, 'cancel', id)) as { parked: boolean } | undefined;
    return { job: id, at, answer: answer === undefined ? 'none' : answer.parked ? 'parked' : 'later' };
  }
  return undefined;
}

export async function start(on: Installation, user: string): Promise<void> {
  await told(on, 'start', user);
}

export async function stopAllWhenIdle(on: Installation): Promise<void> {
  await told(on, 'stop', '--all', '--when-idle');
}

/** Rejects where the broker does not take it. */
export async function drainFor(on: Installation, ms: number): Promise<void> {
  const until = `${Math.ceil(ms / MS_PER_S)}s`;
  const answer = await told(on, 'drain', '--until', until, '--reason', 'chaos has it so');
  if (answer === undefined) throw new Error(`the broker refuses to drain this host for ${until}`);
}
