import { DELAYS_MS } from '../../packages/broker/src/policy/policy.js';
import { causesOf, type Done, type Occurrence, type Parked, SETTLE_MS } from './causes.js';

/* Whether `kpxctl job` says where a job has gone. A pure function. */

/** The last step of a job, as the broker that runs at the end has it. */
export interface Told {
  readonly job: string;
  readonly what: string;
  /** For people. */
  readonly text: string;
  readonly at: number;
  /** Whose executor it went to. */
  readonly account: string | undefined;
}

const DELAY_MS_MIN = Math.min(...DELAYS_MS);

/** Is this what became of a job that is in one place? */
function isTrue({ what, text, account, at }: Told, done: Done | undefined, parked: Parked | undefined): boolean {
  // Executors take jobs from the job queue, too: of one that was there after a delay the broker has not heard.
  if (done) return (what === 'offered' && account === done.account) || (what === 'delayed' && done.at >= at + DELAY_MS_MIN);
  return parked !== undefined && what === 'parked' && text.includes(parked.reason);
}

/** What the broker says wrongly; undefined: nothing, or it had no chance to hear of it, because a fault came between. */
export function contradiction(told: Told, places: { done: readonly Done[]; parked: readonly Parked[] }, faults: readonly Occurrence[]) {
  const { what, text, at } = told;
  const [done, parked] = [places.done[0], places.parked[0]];
  if (isTrue(told, done, parked)) return undefined;
  if (causesOf({ party: 'broker', from: at - SETTLE_MS, to: at + SETTLE_MS }, faults).length > 0) return undefined;
  return `has a story that ends with "${what}" (${text})`;
}
