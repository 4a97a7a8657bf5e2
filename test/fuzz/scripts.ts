import { encodeRequest, PACKET_BYTES_MAX } from '@kpx/protocol';
import * as fc from 'fast-check';
import { damaged, name, requestBodies, requestOf } from '../../packages/protocol/test-fixtures/messages.js';
import { BROKER_ACCOUNT, LOW_UID_ACCOUNT } from '../fixtures/accounts.js';
import { readCorpus } from './corpus.js';

/** What one connection says to the helper. */
export interface Script {
  readonly greeted: boolean;
  /** Somebody else connects meanwhile, whom the helper has to turn away. */
  readonly intruded: boolean;
  readonly packets: readonly Buffer[];
  /** Wait for the answers, or leave at once. */
  readonly ending: 'wait' | 'leave';
}

export const ELIGIBLE = ['alice', 'bob', 'bob_temp', 'carol', 'dave', 'mallory'];
const SCRIPTS_PER_BATCH = 100;
const SCRIPT_PACKETS_MAX = 40;

const corpus = readCorpus();
const people = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...ELIGIBLE) },
  fc.constantFrom('root', 'nobody', 'ALICE', BROKER_ACCOUNT, LOW_UID_ACCOUNT, 'no-such-account'),
  name,
);
const profiles = fc.oneof({ weight: 4, arbitrary: fc.constant('default') }, fc.constant('large'));
const ids = fc.integer({ min: 2, max: 200 });
const bodies = requestBodies(people, profiles);
const { hello: _, ...afterHello } = bodies;
const { prepareUser: _prepare, spawnExecutor: _spawn, ...cheap } = afterHello;
/** Mostly what costs the helper no process: the others take it some milliseconds each. */
const valid = fc.oneof({ weight: 12, arbitrary: requestOf(cheap, ids) }, requestOf(afterHello, ids)).map(encodeRequest);
const known = fc.constantFrom(...corpus.flatMap(({ packets }) => packets));
const odd = fc.oneof(
  { weight: 20, arbitrary: damaged(fc.oneof(valid, known)) },
  { weight: 4, arbitrary: known },
  { weight: 2, arbitrary: fc.uint8Array({ maxLength: 2_000 }).map((bytes) => Buffer.from(bytes)) },
  { weight: 1, arbitrary: requestOf(bodies, ids).map(encodeRequest) },
  // As long as the longest packet, a little longer, much longer.
  fc
    .record({ bytes: fc.constantFrom(PACKET_BYTES_MAX - 1, PACKET_BYTES_MAX, PACKET_BYTES_MAX + 1, 2 * PACKET_BYTES_MAX), fill: valid })
    .map(({ bytes, fill }) => Buffer.alloc(bytes, fill)),
);

const script: fc.Arbitrary<Script> = fc.record({
  greeted: fc.oneof({ weight: 19, arbitrary: fc.constant(true) }, fc.constant(false)),
  intruded: fc.oneof({ weight: 19, arbitrary: fc.constant(false) }, fc.constant(true)),
  packets: fc.array(fc.oneof({ weight: 15, arbitrary: valid }, odd), { maxLength: SCRIPT_PACKETS_MAX, size: 'max' }),
  ending: fc.oneof({ weight: 4, arbitrary: fc.constant('wait' as const) }, fc.constant('leave' as const)),
});

/** The same for the same seed. */
export function batchOf(seed: number): Script[] {
  return fc.sample(script, { seed, numRuns: SCRIPTS_PER_BATCH });
}

export function corpusBatch(): Script[] {
  return (['wait', 'leave'] as const).flatMap((ending) =>
    corpus.map(({ packets }) => ({ greeted: true, intruded: false, packets, ending })),
  );
}
