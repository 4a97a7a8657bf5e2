import type { ProfileName } from '@kpx/protocol';
import { shellWord } from '../output/format.js';
import type { Policy } from './policy.js';
import { type Rule, ruleFor } from './rules.js';

/** The groups and profiles that exist. */
interface Existing {
  /** Groups of rules that the host does not know. */
  readonly missingGroups: ReadonlySet<string>;
  /** undefined: not known, and not judged. */
  readonly profiles: ReadonlySet<ProfileName> | undefined;
}

/** Every group that rules name, each once. */
export const groupsOf = (rules: readonly Rule[]): string[] => [...new Set(rules.flatMap(({ groups }) => groups))];

/** One sentence for each group and profile that a rule names and that does not exist: what follows, and what to do. */
export function namesThatDoNotExist(rules: readonly Rule[], { missingGroups, profiles }: Existing): string[] {
  return rules.flatMap(({ label, groups, profile }) => [
    ...groups
      .filter((group) => missingGroups.has(group))
      .map((group) => `${label} names the group "${group}", ${NO_GROUP} (getent group ${shellWord(group)})`),
    ...(profiles && !profiles.has(profile) ? [`${label} names the profile "${profile}", ${NO_PROFILE}`] : []),
  ]);
}

/** One sentence for each user whom a rule names for prestart in vain, as far as names alone tell. */
export function prestartsInVain(policy: Pick<Policy, 'rules' | 'deny'>): string[] {
  const byName = policy.rules.filter(({ groups }) => groups.length === 0);
  return policy.rules.flatMap(({ label, prestart }) =>
    (prestart?.users ?? []).flatMap((user) => {
      if (policy.deny.has(user.toLowerCase()))
        return [`${label} has prestart for "${user}", whom policy.deny keeps out: take the name out of one`];
      const before = ruleFor(byName, user, []);
      const isBefore = before && policy.rules.indexOf(before) < policy.rules.findIndex((rule) => rule.label === label);
      return isBefore ? [`${label} has prestart for "${user}", for whom ${before.label} counts: put ${label} before it`] : [];
    }),
  );
}

const NO_GROUP = 'which this host does not know: it matches nobody by it';
const NO_PROFILE =
  'which the helper does not have: jobs of its users are parked (PROFILE_UNKNOWN); ' +
  'correct the rule, or add the profile to [executor.profiles] in privhelper.toml and restart kpx-broker';
