// Of test/fuzz/fuzz.ts, in a process of its own: the codec and the session in process, with shrinking. SECONDS SEED
import { decodeRequest } from '@kpx/protocol';
import * as fc from 'fast-check';
import { codecProperties, judgeBytes } from './codec.js';
import { readCorpus } from './corpus.js';
import { oneLine, type Tally } from './finding.js';
import { GREETING, judgeSession, sessionProperty } from './session.js';

const CODEC_RUNS_PER_ROUND = 1_000;
const SESSION_RUNS_PER_ROUND = 50;

const [seconds = 0, firstSeed = 0] = process.argv.slice(2).map(Number);
const codec: Tally = { part: 'codec', unit: 'packets', count: 0, seconds: 0, findings: [] };
const session: Tally = { part: 'session', unit: 'sessions', count: 0, seconds: 0, findings: [] };

/** Adds to the tally what `work` takes and what it counts. */
async function during(tally: Tally, work: () => number | Promise<number>): Promise<void> {
  const began = performance.now();
  tally.count += await work();
  tally.seconds += (performance.now() - began) / 1_000;
}

async function replayCorpus(): Promise<void> {
  for (const { name, valid, packets } of readCorpus()) {
    const attempt = async (tally: Tally, judge: () => void | Promise<void>) => {
      await during(tally, async () => {
        await Promise.resolve()
          .then(judge)
          .catch((error) => tally.findings.push({ what: `corpus, ${name}: ${oneLine(error)}`, connections: [packets] }));
        return 1;
      });
    };
    await attempt(codec, () => {
      packets.forEach(judgeBytes);
      // A change of the wire would make the corpus worthless without anybody noticing.
      if (valid) packets.forEach(decodeRequest);
    });
    const steps = (settle: boolean) => [GREETING, ...packets.map((packet) => ({ packet, settle }))];
    await attempt(session, () => judgeSession(steps(true)));
    await attempt(session, () => judgeSession(steps(false)));
  }
}

/** One round of a property; a failure is shrunk by fast-check and becomes a finding. */
async function round(tally: Tally, { name, property, packets }: Property, seed: number, numRuns: number): Promise<void> {
  await during(tally, async () => {
    const result = await fc.check(property as fc.IAsyncProperty<unknown>, { seed, numRuns });
    if (result.failed) {
      const what = `${name}: ${oneLine(result.errorInstance)} (seed ${seed}, path ${result.counterexamplePath})`;
      tally.findings.push({ what, connections: [packets([result.counterexample].flat(1))] });
    }
    return result.numRuns;
  });
}
interface Property {
  readonly name: string;
  readonly property: unknown;
  readonly packets: (counterexample: unknown[]) => readonly Buffer[];
}

const until = performance.now() + seconds * 1_000;
await replayCorpus();
for (let seed = firstSeed; performance.now() < until && codec.findings.length + session.findings.length === 0; seed++) {
  for (const property of codecProperties) await round(codec, property, seed | 0, CODEC_RUNS_PER_ROUND);
  await round(session, sessionProperty, seed | 0, SESSION_RUNS_PER_ROUND);
}
process.send?.([codec, session]);
process.disconnect?.();
