import { readFile } from 'node:fs/promises';
import { type AccountsPorts, configurationText, OWN_SETTINGS_DIRECTORY, SETTINGS_DIRECTORY } from '../accounts-rabbitmq.js';
import { fileStep, type Step, write } from './steps.js';

const FILE = `${SETTINGS_DIRECTORY}/rabbitmq.conf`;
/** The first by name: the operator's other files win over it. */
const KEPT_FILE = `${OWN_SETTINGS_DIRECTORY}/00-kept.conf`;
const MODE = 0o644;
/** Those that broker.toml decides, or by which RabbitMQ listens on loopback alone. */
const OF_SETUP = /^(?:listeners\.|management\.tcp\.|load_definitions\b)/;

interface Changes {
  /** The operator's: they go on in a file of the operator's own. */
  readonly kept: readonly string[];
  readonly gone: readonly string[];
  readonly added: readonly string[];
}

/**
 * The difference between a file that is there and the one that setup makes. To the settings that are kept belongs each value that this version does
 * not make: a version that makes another one has to know that of before.
 */
export function changesOf(there: string, made: string): Changes {
  const [before, after] = [settingsIn(there), settingsIn(made)];
  const others = before.filter((setting) => !after.includes(setting));
  const kept = others.filter((setting) => !OF_SETUP.test(setting));
  const keys = kept.map(keyOf);
  return {
    kept,
    gone: others.filter((setting) => OF_SETUP.test(setting)),
    added: after.filter((setting) => !before.includes(setting) && !keys.includes(keyOf(setting))),
  };
}

/** Without comments; those that mean the same are the same text. */
function settingsIn(text: string): string[] {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.filter((line) => line !== '' && !line.startsWith('#')).map((line) => line.replace(/\s*=\s*/, ' = '));
}

const keyOf = (setting: string) => setting.split(' ', 1)[0];

/** RabbitMQ's settings as setup makes them. Those that an operator has written into the file go on in one of the operator's own. */
export async function settingsStep(ports: AccountsPorts): Promise<Step> {
  const content = configurationText(ports);
  const why = `loopback alone, ports ${ports.amqp} and ${ports.management}, limits of memory and disk`;
  const step = await fileStep({ path: FILE, content, mode: MODE, gid: 0, why });
  const { kept, gone, added } = changesOf(await readFile(FILE, 'utf8').catch(() => content), content);
  if (kept.length + gone.length + added.length === 0) return step;
  const apply = async () => {
    if (kept.length > 0) await keep(kept);
    await step.apply?.();
  };
  const lines = [
    ...kept.map((setting) => `goes on in ${KEPT_FILE}: ${setting}`),
    ...gone.map((setting) => `is taken out: ${setting}`),
    ...added.map((setting) => `is added: ${setting}`),
  ];
  return { ...step, why: `${why}. The file has other settings`, lines, apply };
}

async function keep(settings: readonly string[]): Promise<void> {
  const there = await readFile(KEPT_FILE, 'utf8').catch(() => '# Yours: kpxctl sealed setup has found these in rabbitmq.conf.\n');
  const known = settingsIn(there);
  const lines = settings.filter((setting) => !known.includes(setting)).map((setting) => `${setting}\n`);
  await write(KEPT_FILE, `${there}${there.endsWith('\n') ? '' : '\n'}${lines.join('')}`, MODE, 0);
}
