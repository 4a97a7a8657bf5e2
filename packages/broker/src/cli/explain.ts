import { parseArgs } from 'node:util';
import { knimeUserSchema } from '@kpx/protocol';
import { readControlSocket } from '../config.js';
import type { Explanation } from '../executors/machine.js';
import { askBroker } from './client.js';

const USAGE = `kpx-broker explain USER: what a job of this KNIME user would meet now, and why. Asks the running broker; changes nothing.

Usage: kpx-broker explain USER [--group GROUP]... [--config FILE] [--json]

  --group GROUP  as if the user were in this OS group (repeatable); default: the groups of the account of that name
  --config FILE  where the broker's control socket is configured (default: /etc/kpx/broker.toml)
  --json         for programs
  --help         this text

Exit codes: 0 answered, 64 wrong usage, 69 no broker answers or it cannot tell, 78 wrong configuration.
`;

const DEFAULT_CONFIG = '/etc/kpx/broker.toml';

/** What each decision means for the job. */
const DECISIONS: Record<Explanation['decision'], string> = {
  forward: 'goes to the executor at once',
  hold: 'is held until the executor is ready',
  start: 'starts an executor',
  wait: 'waits until there is room',
  park: 'is parked in kpx.dead-letter',
};

/** `kpx-broker explain`. Answers what is wrong with `args`; rejects with BrokerUnreachable, BrokerRefused or ConfigError. */
export async function explainCommand(args: string[]): Promise<string | undefined> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      group: { type: 'string', multiple: true, default: [] },
      config: { type: 'string', default: DEFAULT_CONFIG },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return undefined;
  }
  const [user] = positionals;
  if (user === undefined || positionals.length > 1) return 'give the name of one KNIME user';
  const name = knimeUserSchema.safeParse(user);
  if (!name.success) return `${JSON.stringify(user)} is no name of a KNIME user: ${name.error.issues[0]?.message}`;
  const socket = await readControlSocket(values.config);
  const query = new URLSearchParams({ user });
  for (const group of values.group) query.append('group', group);
  const explanation = (await askBroker(socket, `/explain?${query}`)) as Explanation;
  process.stdout.write(values.json ? `${JSON.stringify(explanation)}\n` : forPeople(explanation));
  return undefined;
}

function forPeople({ user, groups, rule, profile, state, executor, held, decision, why }: Explanation): string {
  const rows = [
    ['user', user],
    ['groups', groups.length === 0 ? 'none, or not asked for by any rule' : groups.join(', ')],
    ['rule', rule],
    ['profile', profile],
    ['state', state],
    ['executor', executor],
    ['jobs held', String(held)],
    ['a job now', `${DECISIONS[decision]}: ${why}`],
  ];
  return rows.map(([name = '', value = '']) => `${name.padEnd(10)} ${value}\n`).join('');
}
