import { durationText } from '../output/duration.js';
import { shellWord } from '../output/format.js';
import type { Policy } from '../policy/policy.js';
import { type Books, enter, usersOf } from './books.js';
import { end } from './ending.js';
import { STABLE_MS } from './executor-link.js';
import { fail } from './failing.js';
import { forwardHeld } from './holding.js';
import { Offering } from './offering.js';
import type { Executor } from './roster.js';
import { WITH_EXECUTOR } from './states.js';

/** Goes by what is known of the connection of an executor to RabbitMQ. */
export function judgeService(books: Books, executor: Executor): void {
  if (executor.ending) return;
  const service = serviceOf(executor, books.policy, books.consuming, books.now);
  if (service?.is === 'ready') serves(books, executor);
  else if (service?.is === 'lost') isLost(books, executor);
  else if (service) endWithoutRabbitmq(books, executor, service.why);
}

/** The executor takes jobs. */
export function serves(books: Books, executor: Executor): void {
  books.executors.markReady(executor, books.now);
  for (const user of usersOf(books, executor)) {
    if (user.state !== 'booting' && user.state !== 'lost') continue;
    user.hostFailures = 0;
    user.wanted = undefined;
    if (user.endsSoon > 0) user.until = books.now + STABLE_MS; // then the executors before this one count no more
    books.health.worked(executor.since);
    enter(books, user, 'ready', `uid ${executor.uid}, pid ${executor.pid}`);
    user.offering = new Offering(); // the pace and the waits of another executor are none of this one's
    forwardHeld(books, user);
  }
}

/** It may come back by itself: jobs wait until lost_after. */
function isLost(books: Books, executor: Executor): void {
  executor.ready = false;
  for (const user of usersOf(books, executor))
    if (user.state === 'ready') enter(books, user, 'lost', 'it has no connection to RabbitMQ any more');
}

/** Nobody could say whether RabbitMQ serves the executor: from now on it has the whole time anew, to be ready and to be served again. */
export function judgeAnew({ policy, now }: Books, executor: Executor): void {
  executor.link.startAnew(now);
  executor.deadline = Math.max(executor.deadline, now + policy.startTimeoutMs);
}

/** An executor that lives, and that RabbitMQ does not serve, is a failed start. One that was there before may have work in hand, and ends in its own time. */
function endWithoutRabbitmq(books: Books, executor: Executor, why: string): void {
  const users = [...usersOf(books, executor)].filter(({ state }) => WITH_EXECUTOR.has(state));
  executor.failed = true;
  for (const user of users) fail(books, user, why, 'LAUNCH_FAILED', 'EXECUTOR_WITHOUT_RABBITMQ');
  end(books, executor, 'without_rabbitmq', why, executor.isOurs && !executor.booted);
}

/** The next state of an executor: it takes jobs, takes none for the moment, or is of no use and has to end. */
type Service = { readonly is: 'ready' } | { readonly is: 'lost' } | { readonly is: 'useless'; readonly why: string };

/**
 * By what is known of its connection to RabbitMQ; undefined: it stays what it is. `consuming`: the broker has RabbitMQ. Without that RabbitMQ may be
 * away for everybody, and nothing is said of one executor, whether it has been ready or not.
 */
function serviceOf(executor: Executor, policy: Policy, consuming: boolean, now: number): Service | undefined {
  const { readyForMs, readyDelayMs, lostAfterMs, startTimeoutMs } = policy;
  const { ready, booted, since, deadline, link } = executor;
  const watched = lostAfterMs !== undefined;
  if (ready) return watched && consuming && link.isCut(readyForMs, now) ? { is: 'lost' } : undefined;
  if (booted ? !watched || link.lasts(readyForMs, now) : hasBooted()) return { is: 'ready' };
  if (!booted && consuming && now >= deadline) {
    const login = link.wasUp ? '; RabbitMQ ended its connections: is the login refused? See' : ': see';
    return {
      is: 'useless',
      why: `the executor was not ready within ${durationText(startTimeoutMs)} (start_timeout): no connection to RabbitMQ${login} kpxctl logs ${shellWord(executor.osUser)}`,
    };
  }
  if (booted && watched && consuming && link.lostForMs(now) >= lostAfterMs)
    return { is: 'useless', why: `the executor has had no connection to RabbitMQ for ${durationText(lostAfterMs)} (lost_after)` };
  return undefined;

  function hasBooted(): boolean {
    if (readyDelayMs !== undefined && now - since < readyDelayMs) return false;
    return (readyDelayMs !== undefined && !watched) || link.lasts(readyForMs, now);
  }
}

/** In which way the end of an executor is a failed start; undefined: it is none. `lastExit` is empty when nobody knows how it ended. */
export function failureOf(executor: Executor, lastExit: string, consuming: boolean, now: number): string | undefined {
  const { ending, booted, readySince, given } = executor;
  const how = lastExit || 'no failure is known';
  if (ending) return undefined;
  if (!booted) return `the executor ended before it was ready: ${how}`;
  if (isNoFailure(lastExit)) return undefined;
  if (now - readySince < STABLE_MS) return `the executor ended soon after it was ready: ${how}`;
  // Without RabbitMQ nobody could take a job.
  return given.mayHaveTaken || !consuming ? undefined : `the executor ended before it took a job: ${how}`;
}

const isNoFailure = (lastExit: string) => lastExit === 'exit 0' || lastExit === '';

/**
 * It has ended by itself within {@link STABLE_MS} after it was ready, without a failure, and without having done a job. The broker has seen the jobs
 * again that it gave to it; of a sealed executor it sees them only later, and does not count its end.
 */
export const endedSoon = ({ ending, booted, readySince, given }: Executor, lastExit: string, consuming: boolean, now: number): boolean =>
  !ending && booted && consuming && isNoFailure(lastExit) && now - readySince < STABLE_MS && !given.mayHaveTaken;

/** Whether connections of executors are to be looked for: soon, where one is not ready; now and then; or not at all. */
export function connectionsWanted({ readyDelayMs, lostAfterMs }: Policy, executors: readonly Executor[]): 'soon' | 'sometimes' | 'never' {
  if (lostAfterMs === undefined && readyDelayMs !== undefined) return 'never';
  if (executors.some(({ ready, ending }) => !ready && !ending)) return 'soon';
  return lostAfterMs === undefined || executors.length === 0 ? 'never' : 'sometimes';
}
