// The part `sealed` of `npm run bench`: what is measured, and how it is printed.
import { startAccountsRabbitmq } from '../fixtures/accounts-rabbitmq.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { type Room, type SealedBusy, type SealedMemory, type SealedRelay, sealedBusy, sealedMemory, sealedRelay } from './sealed.js';
import { type OneAtATime, oneAtATime, type SealedStarts, sealedStarts } from './sealed-starts.js';

/** As they are without a configuration, and with queues of other lengths; and for all jobs of the measurement. */
const ROOMS: readonly Room[] = [
  ...[8, 64, 256].map((window) => ({ window, prefetch: 1_024, heldPerUser: 256 })),
  { window: 256, prefetch: 8_192, heldPerUser: 2_000 },
];

export interface SealedFigures {
  readonly relay: SealedRelay;
  readonly busy: readonly SealedBusy[];
  readonly starts: SealedStarts;
  readonly oneAtATime: OneAtATime;
  readonly memory: SealedMemory;
}

export async function sealedFigures(rabbitmq: RabbitmqServer, rounds: number, say: (text: string) => void): Promise<SealedFigures> {
  const servers = { rabbitmq, accounts: await startAccountsRabbitmq() };
  const measure = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    say(`sealed: ${what} …`);
    const figures = await work();
    say(JSON.stringify(figures));
    return figures;
  };
  try {
    const relay = await measure('relay into 20 accounts', () => sealedRelay(servers, rounds));
    const busy: SealedBusy[] = [];
    for (const room of ROOMS)
      busy.push(await measure(`short jobs of 4 users, ${JSON.stringify(room)}`, () => sealedBusy(servers, rounds, room)));
    const starts = await measure('starts', () => sealedStarts(servers));
    const one = await measure('one job at a time', () => oneAtATime(servers));
    const memory = await measure('200 accounts', () => sealedMemory(servers));
    return { relay, busy, starts, oneAtATime: one, memory };
  } finally {
    await servers.accounts.remove();
  }
}

/** Title and rows of each table. */
export function sealedSections({ relay, busy, starts, oneAtATime: one, memory }: SealedFigures): [string, (string | number)[][]][] {
  return [
    [
      'Sealed: relay into 20 accounts, jobs a second; goal: 0.6 of the bare loop',
      [
        ['sealed', 'shared', 'bare loop', 'ratio'],
        [relay.sealed, relay.shared, relay.bare, relay.ratio],
      ],
    ],
    [
      'Sealed: jobs of 2 ms, four users, jobs a second; the limit: the executors alone; goal: 0.7',
      [
        ['window', 'prefetch', 'held_per_user', 'kpx', 'limit', 'ratio'],
        ...busy.map((row) => [row.window, row.prefetch, row.heldPerUser, row.rate, row.limit, row.ratio]),
      ],
    ],
    [
      'Sealed: ms from publishing until the executor is exec’d; goals: 120 and 15 ms on top',
      [
        ['account', 'shared', 'sealed', 'on top'],
        ['new', starts.newShared, starts.newSealed, starts.newSealed - starts.newShared],
        ['known', starts.knownShared, starts.knownSealed, starts.knownSealed - starts.knownShared],
      ],
    ],
    [
      'Sealed: one job at a time, ms from publishing; goal for done: 0.5 ms on top',
      [
        ['', 'done', 'answered, p50', 'p99'],
        ['shared', one.sharedDoneMs, one.sharedAnswerP50Ms, one.sharedAnswerP99Ms],
        ['sealed', one.sealedDoneMs, one.sealedAnswerP50Ms, one.sealedAnswerP99Ms],
      ],
    ],
    [
      'Sealed: the broker with 200 executors under load; goal: 20 MB on top',
      [
        ['', 'MB resident', 'µs a job'],
        ['shared', memory.sharedMb, memory.sharedCpuUs],
        ['sealed', memory.sealedMb, memory.sealedCpuUs],
      ],
    ],
  ];
}
