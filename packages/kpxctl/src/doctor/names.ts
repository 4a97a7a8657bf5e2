import { policyOf } from '@kpx/broker/config/config';
import { missingGroups } from '@kpx/broker/host/missing-groups';
import { groupsOf, namesThatDoNotExist } from '@kpx/broker/policy/rule-names';
import { profileNamesOf } from '@kpx/protocol';
import { type Check, fail, ok, Skipped, warn } from './check.js';
import type { Scene } from './scene.js';

/** Names in both configurations that may not exist: nothing else finds a typing error there. */
export const nameChecks = (scene: Scene): Check[] => [rules(scene), accountLists(scene)];

/** That the name service does not answer is said by the check of it. */
const missingOf = (groups: readonly string[], byAnyName = false) =>
  missingGroups(groups, byAnyName).catch((error: Error) => {
    throw new Skipped(error.message);
  });

const GETENT = 'Look at getent group NAME, and at systemctl status sssd.';

const rules = ({ broker, helper }: Scene): Check => ({
  name: 'rules',
  fix: GETENT,
  look: async () => {
    const { rules } = policyOf(await broker());
    // Not readable for everybody; groups are judged all the same.
    const profiles = await helper().then(
      ({ executor }) => new Set(profileNamesOf(executor)),
      () => undefined,
    );
    const unknown = namesThatDoNotExist(rules, { missingGroups: await missingOf(groupsOf(rules)), profiles });
    if (unknown.length > 0) return warn(unknown.join('; '), 'Correct [[policy.rule]] in broker.toml, then: kpxctl reload.');
    const seen = rules.length === 0 ? 'there are none' : `${rules.length}: every group exists`;
    return ok(`${seen}${rules.length > 0 && profiles ? ', and every profile' : ''}`);
  },
});

/** A group that is misspelt in denied_groups keeps nobody out. */
const accountLists = ({ helper }: Scene): Check => ({
  name: 'account lists',
  fix: GETENT,
  look: async () => {
    const { accounts, directories } = await helper();
    const lists: [key: string, groups: readonly string[], byAnyName?: boolean][] = [
      ['accounts.denied_groups', accounts.denied_groups, true],
      ['accounts.allowed_groups', accounts.allowed_groups],
      ['directories.extra_acl', directories.extra_acl.flatMap((entry) => /^group:(.*[^\d:].*):/.exec(entry)?.[1] ?? [])],
    ];
    const looked = lists.map(async ([key, groups, byAnyName]) =>
      [...(await missingOf(groups, byAnyName))].map((group) => `${key} names "${group}"`),
    );
    const unknown = (await Promise.all(looked)).flat();
    if (unknown.length === 0) return ok('every group of privhelper.toml exists');
    return fail(
      `${unknown.join(', ')}, which this host does not know`,
      'Correct [accounts] or directories.extra_acl in privhelper.toml, then: systemctl restart kpx-broker.',
    );
  },
});
