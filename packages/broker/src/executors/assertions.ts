import type { Books } from './books.js';
import type { Event } from './events.js';
import { STARTING } from './states.js';
import type { User } from './user.js';

/** The longest time from one look at all users to the next, in milliseconds, while only frequent events come. */
const WHOLE_EVERY_MS = 1_000;
/** After these only the users whom they concern are looked at: a host with many users has hundreds of them a second. */
const FREQUENT: ReadonlySet<Event['kind']> = new Set(['job', 'taken', 'tick', 'connections']);

/** The machine's books contradict themselves, which is a defect of kpx. No decision by them may be carried out. */
class BrokenBooks extends Error {
  override name = 'BrokenBooks';
}

/**
 * Conditions that hold after every event. `heldBefore`: jobs held before it. Takes time for each effect; for each user only after events that are not
 * frequent, and once a second. Throws {@link BrokenBooks}.
 */
export function assertSound(books: Books, event: Event, heldBefore: number): void {
  const { effects, users, now } = books;
  const came = event.kind === 'job' || event.kind === 'groups unknown' ? 1 : 0;
  const left = effects.reduce((count, effect) => count + ('ticket' in effect ? 1 : 0), 0);
  const held = event.kind === 'channel lost' ? 0 : heldBefore + came - left;
  if (books.held !== held) broken(event, `${heldBefore} jobs were held, ${came} came and ${left} left: ${held}, not ${books.held}`);
  for (const effect of effects) {
    const user = users.get(effect.user);
    if (user) assertUser(books, user, event);
  }
  if (FREQUENT.has(event.kind) && now - books.assertedAt < WHOLE_EVERY_MS) return;
  books.assertedAt = now;
  assertAll(books, event);
}

function assertAll(books: Books, event: Event): void {
  const { users, line, asked } = books;
  let [held, queued, starting] = [0, 0, 0];
  for (const user of users.values()) {
    assertUser(books, user, event);
    held += user.held.size;
    if (user.state === 'queued') queued += 1;
    if (STARTING.has(user.state)) starting += 1;
  }
  if (held !== books.held) broken(event, `users hold ${held} jobs, not ${books.held}`);
  if (queued !== line.size) broken(event, `${queued} users are queued, and ${line.size} in line`);
  if (starting !== asked.size) broken(event, `${starting} users are starting, and the helper was asked for ${asked.size}`);
}

function assertUser({ executors, line, asked }: Books, user: User, event: Event): void {
  const { name, state } = user;
  const executor = executors.of(name);
  if (!executor && (state === 'ready' || state === 'booting')) broken(event, `"${name}" is ${state}, and has no executor`);
  const serves = executor?.ready && !executor.ending;
  if (state === 'ready' && !serves) broken(event, `"${name}" is ready, and the executor is not`);
  if (state === 'booting' && serves) broken(event, `"${name}" is booting, and the executor is ready`);
  if (line.has(user) !== (state === 'queued')) broken(event, `"${name}" is ${state}, and ${line.has(user) ? '' : 'not '}in line`);
  if (asked.has(user) !== STARTING.has(state))
    broken(event, `"${name}" is ${state}, and the helper was ${asked.has(user) ? '' : 'not '}asked for an executor`);
}

function broken(event: Event, what: string): never {
  throw new BrokenBooks(`${what} (after the event "${event.kind}"${'user' in event ? ` of "${event.user}"` : ''})`);
}
