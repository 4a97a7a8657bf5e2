import { DEATH_HEADER } from './death.js';
import { HOPS_HEADER, ID_HEADER, REPLAYED_AT_HEADER, SEEN_AT_HEADER } from './headers.js';
import type { WireMessage } from './wire/amqplib.js';

/** Of W3C Trace Context, which takes 55; longer ones are passed on whole, and remembered this far. */
const TRACEPARENT = 'traceparent';
const TRACEPARENT_CHARS_MAX = 128;
/** The form of {@link ID_HEADER}. */
const JOB_ID = /^[0-9a-f]{10}-[0-9a-z]{1,11}$/;

/** Where a job comes from: the job queue, a delay queue, an executor that has not taken it, or an operator's replay. */
type Origin = 'queue' | 'delay' | 'back' | 'replay';

/** The facts of a message that tell one job from another. Texts are the sender's: AMQP has at most 255 bytes for an id. */
export interface JobFacts {
  /** As a broker has written it; undefined: kpx has not seen the job before. */
  readonly id: string | undefined;
  readonly messageId: string | undefined;
  readonly correlationId: string | undefined;
  readonly traceparent: string | undefined;
  readonly from: Origin;
  /** When a broker has seen it first, in milliseconds since the epoch. */
  readonly firstSeen: number | undefined;
}

/** To be asked after x-kpx-mac has been judged. */
export function jobFactsOf({ properties }: WireMessage): JobFacts {
  const { [ID_HEADER]: id, [SEEN_AT_HEADER]: seen, [HOPS_HEADER]: hops } = properties.own;
  const traceparent = properties.header(TRACEPARENT);
  return {
    id: typeof id === 'string' && JOB_ID.test(id) ? id : undefined,
    messageId: properties.text('messageId') || undefined,
    correlationId: properties.text('correlationId') || undefined,
    traceparent: typeof traceparent === 'string' ? traceparent.slice(0, TRACEPARENT_CHARS_MAX) : undefined,
    from: properties.hasHeader(DEATH_HEADER) ? 'delay' : hops !== undefined ? 'back' : replayedOrNew(properties.own),
    firstSeen: Number.isSafeInteger(seen) ? Number(seen) : undefined,
  };
}

const replayedOrNew = (own: object): Origin => (REPLAYED_AT_HEADER in own ? 'replay' : 'queue');
