import { expect, it } from 'vitest';
import { knimeUser } from '../../test-fixtures/executors.js';
import { rule } from '../../test-fixtures/policy.js';
import { prestartsInVain } from './rule-names.js';
import type { Rule } from './rules.js';
import { parseSchedule } from './schedule.js';

const numbered = (number: number, users: string[], given: Partial<Rule> = {}) => rule({ label: `rule ${number}`, users, ...given });
const early = (number: number, ...users: string[]) =>
  numbered(number, users, { prestart: { schedule: parseSchedule('07:30'), users: users.map(knimeUser) } });

it.each<[string, Rule[], string[]]>([
  ['whose rule is the first that names them', [early(1, 'alice', 'bob'), numbered(2, ['*'])], []],
  ['of whom a rule before asks for a group', [numbered(1, ['*'], { groups: ['analysts'] }), early(2, 'alice')], []],
  [
    'of another rule before',
    [numbered(1, ['al*']), early(2, 'bob', 'alice')],
    ['rule 2 has prestart for "alice", for whom rule 1 counts: put rule 2 before it'],
  ],
  ['who are denied', [early(1, 'mallory')], ['rule 1 has prestart for "mallory", whom policy.deny keeps out: take the name out of one']],
])('says of users whose executor is started in vain: %s', (_, rules, sentences) => {
  expect(prestartsInVain({ rules, deny: new Set(['mallory']) })).toEqual(sentences);
});
