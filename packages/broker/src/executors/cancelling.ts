import type { Books } from './books.js';
import type { Event } from './events.js';
import { release } from './holding.js';

/** The detail of a job that an operator has cancelled. */
export const CANCELLED_DETAIL = 'an operator has cancelled it: kpxctl cancel';

/** Parks a job that is held. The user keeps the place in line: other jobs may be on their way back from a delay queue. */
export function cancelAsked(books: Books, { user: name, ticket }: Extract<Event, { kind: 'cancel asked' }>): void {
  if (!books.users.get(name)?.held.take(ticket)) return;
  release(books, [ticket], () => ({ kind: 'park', ticket, user: name, reason: 'CANCELLED', detail: CANCELLED_DETAIL }));
}
