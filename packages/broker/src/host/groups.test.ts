import { expect, it } from 'vitest';
import { knimeUser } from '../../test-fixtures/executors.js';
import { Groups } from './groups.js';

/* Real look-ups: of root, who is in the group of the same name, and of a name that no host has. */

const nobody = knimeUser('kpx-has-no-such-user');
const groups = (down?: string) =>
  new Groups(
    () => performance.now(),
    () => {},
    async () => down,
  );

it('an account has its groups, and a name without an account has none', async () => {
  expect(await groups().of(knimeUser('Root'))).toContain('root');
  expect(await groups().of(nobody)).toEqual([]);
});

it('nothing is known of a name that the name service may know, while that is away', async () => {
  await expect(groups('nobody listens at /run/name-service').of(nobody)).rejects.toThrow(
    'the groups of "kpx-has-no-such-user" could not be looked up: nobody listens at /run/name-service',
  );
});

it('of many users who come at once all are looked up', async () => {
  const ofMany = groups();
  const names = Array.from({ length: 100 }, (_, index) => knimeUser(`kpx-has-no-user-${index}`));
  expect(await Promise.all(names.map((name) => ofMany.of(name)))).toEqual(names.map(() => []));
});
