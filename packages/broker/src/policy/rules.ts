import type { KnimeUser, ProfileName } from '@kpx/protocol';
import type { Schedule } from './schedule.js';

export interface Prestart {
  readonly schedule: Schedule;
  readonly users: readonly KnimeUser[];
}

/** One `[[policy.rule]]`, times in milliseconds. */
export interface Rule {
  /** For people: `rule 2 "reports"`. */
  readonly label: string;
  /** Patterns for KNIME names, folded to lower case, `*` for any characters; empty: everybody. */
  readonly users: readonly string[];
  /** OS groups; empty: whatever the groups are. */
  readonly groups: readonly string[];
  readonly action: 'allow' | 'deny';
  readonly profile: ProfileName;
  /** Executors at once of the users that this rule is for; undefined: no limit of its own. */
  readonly maxExecutors: number | undefined;
  /** The order in which waiting users start; higher first. */
  readonly priority: number;
  /** Executor time counts this many times less where it decides who waits behind whom. */
  readonly share: number;
  /** Instead of the policy's own. */
  readonly idleStopMs: number | undefined;
  /** An idle executor is not ended within this time after its last job, neither for idleness nor for another user. */
  readonly keepWarmMs: number | undefined;
  /** An executor that is older is ended when it is idle. */
  readonly maxAgeMs: number | undefined;
  /** Jobs held for each of these users; undefined: as for everybody. */
  readonly jobsMax: number | undefined;
  /** How long an executor may work without a pause and without taking a job; undefined: for ever. */
  readonly runTimeMaxMs: number | undefined;
  /** When executors of these users, whom the rule names, start before their jobs; undefined: never. */
  readonly prestart: Prestart | undefined;
}

/** `*` stands for any characters, none included; everything else for itself. */
export function matchesPattern(pattern: string, name: string): boolean {
  const parts = pattern.split('*');
  const [first = ''] = parts;
  if (parts.length === 1) return name === pattern;
  const last = parts.at(-1) ?? '';
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length) return false;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= name.length - last.length;
}

/** The first rule for this user; a rule with users and groups asks for both. `groups` are the user's OS groups. */
export function ruleFor(rules: readonly Rule[], user: KnimeUser, groups: readonly string[]): Rule | undefined {
  const name = user.toLowerCase();
  return rules.find((rule) => names(rule, name) && (rule.groups.length === 0 || rule.groups.some((group) => groups.includes(group))));
}

/** Whether it depends on the user's groups which rule is the first for this user. */
export function groupsDecide(rules: readonly Rule[], user: KnimeUser): boolean {
  const name = user.toLowerCase();
  return (rules.find((rule) => names(rule, name))?.groups.length ?? 0) > 0;
}

/** `name` is folded to lower case. A rule for everybody names each user. */
const names = ({ users }: Rule, name: string) => users.length === 0 || users.some((pattern) => matchesPattern(pattern, name));

/** Whether anybody's groups have to be looked up at all. */
export const rulesAskForGroups = (rules: readonly Rule[]) => rules.some(({ groups }) => groups.length > 0);
