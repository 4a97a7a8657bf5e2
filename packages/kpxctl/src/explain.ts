import { askBroker } from '@kpx/broker/control/client';
import type { Explanation, Planned } from '@kpx/broker/executors/explanation';
import { shownState } from '@kpx/broker/executors/states';
import { durationText } from '@kpx/broker/output/duration';
import { jsonLine, localTime } from '@kpx/broker/output/format';
import { bold, say } from '@kpx/broker/output/terminal';
import { nextStepOf } from '@kpx/broker/record/next-step';
import { type KnimeUser, knimeUserSchema, printable } from '@kpx/protocol';
import { type Command, InvalidArgumentError } from 'commander';
import { seen } from './account.js';
import { asksBroker, type BrokerOptions, judgesAccount } from './broker-options.js';
import { controlSocket } from './control-socket.js';

/** Of the longest name of a row. */
const NAME_CHARS = 10;

/** The meaning of each decision for the job. */
const DECISIONS: Record<Explanation['decision'], string> = {
  forward: 'goes to the executor at once',
  hold: 'waits for the executor',
  start: 'starts an executor',
  fail: 'asks for an executor, in vain; after start_attempts it is parked in kpx.dead-letter',
  wait: 'waits until there is room',
  park: 'is parked in kpx.dead-letter',
  'hand back': 'goes back to the queue, for another host',
  stay: 'stays in RabbitMQ, until this broker is connected',
};

interface Options extends BrokerOptions {
  readonly group?: readonly string[];
  readonly helperConfig: string;
}

export function addExplain(program: Command): void {
  const command = program
    .command('explain')
    .summary('what a job of a KNIME user would meet now, and why')
    .description('Says what a job of this KNIME user would meet now, and why. Asks the running broker; changes nothing.')
    .argument('<USER>', 'name of a KNIME user', knimeUser)
    .option(
      '--group <GROUP>',
      'as if the user were in this OS group (repeatable); default: the groups of the account of that name',
      collected,
    );
  asksBroker(judgesAccount(command)).action(explain);
}

export function knimeUser(text: string): KnimeUser {
  const name = knimeUserSchema.safeParse(text);
  if (!name.success) throw new InvalidArgumentError(`It is no name of a KNIME user: ${name.error.issues[0]?.message}`);
  return name.data;
}

const collected = (text: string, before: string[] = []) => [...before, text];

async function explain(user: KnimeUser, { group = [], config, helperConfig, json }: Options): Promise<void> {
  const socket = await controlSocket(config);
  const query = new URLSearchParams({ user });
  for (const name of group) query.append('group', name);
  const answer = (await askBroker(socket, `/explain?${query}`)) as Explanation;
  const { account, explanation } = await seen(answer, user, helperConfig);
  say(json ? `${jsonLine({ ...explanation, account })}\n` : explanationForPeople(explanation, account));
}

/** In words: what becomes of a job now, and why. */
export const decisionOf = ({ decision, why }: Explanation) => `${DECISIONS[decision]}: ${why}`;

export const stateOf = ({ state, place }: Explanation) => `${shownState(state)}${place === undefined ? '' : `, place ${place} in line`}`;

/** A time of the broker's as people on this host write it. */
export const timeHere = (iso: string) => localTime(Date.parse(iso));

/** When an executor is started, as an operator has planned; or why it was not. */
export const plannedOf = ({ at, refused }: Planned) =>
  refused === undefined ? `an executor is started at ${timeHere(at)}` : `no executor was started at ${timeHere(at)}: ${refused}`;

/** A broker of before an upgrade does not say it. */
const turnOf = ({ share, recent }: NonNullable<Explanation['turn']>) => `${share}, recent executor time ${durationText(recent)}`;

const forgedOf = ({ count, account, last }: NonNullable<Explanation['forged']>) =>
  `${count} job(s) in this name were refused, because the code of another account has published them; the last one at ${last}, account "${account}"`;

function explanationForPeople(explanation: Explanation, account: string): string {
  const { user, user_from, groups, rule, profile, executor, held, forged, turn, planned } = explanation;
  const rows: (readonly [name: string, value: string | undefined])[] = [
    ['a job now', decisionOf(explanation)],
    ['next step', nextStepOf(explanation)],
    ['user', user],
    ['named in', user_from],
    ['account', account],
    ['groups', groups.length === 0 ? 'none, or not asked for by any rule' : groups.join(', ')],
    ['rule', rule],
    ['profile', profile],
    ['state', stateOf(explanation)],
    ...(planned ? ([['planned', plannedOf(planned)]] as const) : []),
    ...(turn ? ([['share', turnOf(turn)]] as const) : []),
    ['executor', executor],
    ['jobs held', String(held)],
  ];
  if (forged !== undefined) rows.push(['forged', forgedOf(forged)]);
  return rowsForPeople(rows);
}

export const rowsForPeople = (rows: readonly (readonly [name: string, value: string | undefined])[]) =>
  rows.map(([name, value = '']) => `${bold(name.padEnd(NAME_CHARS))} ${printable(value)}\n`).join('');
