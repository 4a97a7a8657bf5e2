import { expect, it } from 'vitest';
import { type DescribedVhost, outdated, usedAt } from './retention.js';

const HOUR_MS = 3_600_000;
const NOW = Date.UTC(2026, 10, 28, 12);
const KEEP = { keepMs: 24 * HOUR_MS, max: 3 };
const used = (name: string, hoursAgo: number): DescribedVhost => ({ name, description: usedAt(NOW - hoursAgo * HOUR_MS) });

it.each<[what: string, unused: DescribedVhost[], inUse: number, gone: string[]]>([
  ['those that were not used for so long', [used('a', 25), used('b', 23)], 0, ['a']],
  ['the oldest where there are too many', [used('new', 1), used('old', 3), used('middle', 2)], 2, ['old', 'middle']],
  ['none of those in use, however many they are', [], 9, []],
  ['none that was used after now, as the clock was set back', [used('a', -99)], 0, []],
  [
    'none that does not say when it was used',
    [
      { name: 'a', description: '' },
      { name: 'b', description: 'kpx: last used tomorrow' },
    ],
    3,
    [],
  ],
])('removes %s', (_, unused, inUse, gone) => {
  expect(outdated(unused, inUse, KEEP, NOW)).toEqual(gone);
});
