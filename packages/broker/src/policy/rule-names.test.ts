import { knimeUserSchema, profileNameSchema } from '@kpx/protocol';
import { expect, it } from 'vitest';
import { prestartsInVain } from './rule-names.js';
import type { Rule } from './rules.js';
import { parseSchedule } from './schedule.js';

const rule = (number: number, users: string[], given: Partial<Rule> = {}): Rule => ({
  ...{ label: `rule ${number}`, users, groups: [], action: 'allow', profile: profileNameSchema.parse('default'), maxExecutors: undefined },
  ...{
    priority: 0,
    share: 1,
    jobsMax: undefined,
    runTimeMaxMs: undefined,
    idleStopMs: undefined,
    keepWarmMs: undefined,
    maxAgeMs: undefined,
  },
  ...{ prestart: undefined, ...given },
});
const early = (number: number, ...users: string[]) =>
  rule(number, users, { prestart: { schedule: parseSchedule('07:30'), users: users.map((user) => knimeUserSchema.parse(user)) } });

it.each<[string, Rule[], string[]]>([
  ['whose rule is the first that names them', [early(1, 'alice', 'bob'), rule(2, ['*'])], []],
  ['of whom a rule before asks for a group', [rule(1, ['*'], { groups: ['analysts'] }), early(2, 'alice')], []],
  [
    'of another rule before',
    [rule(1, ['al*']), early(2, 'bob', 'alice')],
    ['rule 2 has prestart for "alice", for whom rule 1 counts: put rule 2 before it'],
  ],
  ['who are denied', [early(1, 'mallory')], ['rule 1 has prestart for "mallory", whom policy.deny keeps out: take the name out of one']],
])('says of users whose executor is started in vain: %s', (_, rules, sentences) => {
  expect(prestartsInVain({ rules, deny: new Set(['mallory']) })).toEqual(sentences);
});
