import type { ProfileName } from '@kpx/protocol';
import type { Rule } from './rules.js';

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
      .map((group) => `${label} names the group "${group}", ${NO_GROUP} (getent group ${group})`),
    ...(profiles && !profiles.has(profile) ? [`${label} names the profile "${profile}", ${NO_PROFILE}`] : []),
  ]);
}

const NO_GROUP = 'which this host does not know: it matches nobody by it';
const NO_PROFILE =
  'which the helper does not have: jobs of its users are parked (PROFILE_UNKNOWN); ' +
  'correct the rule, or add the profile to [executor.profiles] in privhelper.toml and restart kpx-broker';
