import { DEFAULT_PROFILE, type ProfileName } from '@kpx/protocol';
import { MAC_KEY_FILE, macKeyFile, readMacKey } from '../amqp/mac-key.js';
import { type Config, policyOf } from '../config/config.js';
import { missingGroups } from '../host/missing-groups.js';
import { groupsOf, namesThatDoNotExist, prestartsInVain } from '../policy/rule-names.js';
import { askBroker, BrokerRefused, BrokerUnreachable } from './client.js';
import { asJson, differences } from './difference.js';

/** The text of --check for a configuration without errors: names that do not exist, and what differs from the running broker. */
export async function checkText(file: string, config: Config): Promise<string> {
  const policy = policyOf(config);
  const { rules } = policy;
  const groups = await missingGroups(groupsOf(rules)).catch((error: Error) => error);
  const profiles = await running<{ profiles: ProfileName[] | null }>(config, '/profiles');
  const unknown = namesThatDoNotExist(rules, {
    missingGroups: groups instanceof Error ? new Set() : groups,
    profiles: profiles?.profiles ? new Set(profiles.profiles) : undefined,
  });
  const head =
    unknown.length === 0
      ? 'no errors in the file; kpxctl doctor looks at the rest.'
      : 'no errors in the file, but rules name what does not exist:';
  return [
    `${file}: ${head}`,
    ...unknown.map((reason) => `  ${reason}`),
    ...prestartsInVain(policy).map((reason) => `${reason}.`),
    ...(await unseenKey(config)),
    ...(groups instanceof Error ? [`Groups of rules are not judged: ${groups.message}.`] : []),
    ...(!profiles?.profiles && rules.some(({ profile }) => profile !== DEFAULT_PROFILE) ? [NO_HELPER] : []),
    ...comparedWith(config, await running(config, '/configuration')),
    '',
  ].join('\n');
}

const NO_HELPER = 'Profiles of rules are not compared, as no broker answers that is connected to the helper: kpxctl doctor compares them.';

/** Throws ConfigError where the key of x-kpx-mac is missing or wrong. Answers a line where it cannot be looked at: the file is root's. */
async function unseenKey({ jobs }: Config): Promise<string[]> {
  try {
    await readMacKey(macKeyFile(jobs) ?? MAC_KEY_FILE);
    return [];
  } catch (error) {
    if (((error as Error).cause as NodeJS.ErrnoException | undefined)?.code !== 'EACCES') throw error;
    return [
      `The key in ${MAC_KEY_FILE} is not judged, as only root may read it: systemd hands it to the broker. kpxctl doctor looks at it.`,
    ];
  }
}

/** The answer of the running broker; undefined: none does. */
async function running<Answer>(config: Config, question: string): Promise<Answer | undefined> {
  const { socket } = config.control;
  if (socket === '') return undefined;
  try {
    return (await askBroker(socket, question)) as Answer;
  } catch (error) {
    if (!(error instanceof BrokerUnreachable || error instanceof BrokerRefused)) throw error;
    return undefined;
  }
}

function comparedWith(config: Config, other: unknown): string[] {
  if (other === undefined) return [];
  const changed = differences(other, asJson(config));
  if (changed.length === 0) return ['The running broker has the same configuration.'];
  return ['The running broker has another configuration; with this one would change:', ...changed.map((line) => `  ${line}`)];
}
