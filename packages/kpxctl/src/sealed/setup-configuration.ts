import { readFile } from 'node:fs/promises';
import type { Config } from '@kpx/broker/config/config';
import { problemOfMsgq, type Sealed, sharedMsgqFile } from '@kpx/protocol';
import type { AccountsPorts } from '../accounts-rabbitmq.js';
import { declaredAtServer, linesFor } from './declared.js';
import { isThere, ROOTS_MODE, type Step, type Wanted, write } from './steps.js';

/** Both configurations are the administrator's: only their lines are said. The template goes with `executor.sealed`. */
export async function configurationSteps(
  config: Config,
  executor: { readonly sealed: Sealed; readonly msgq_file: string },
  { user, ports, passwordFile }: Wanted,
  file: string,
  helperFile: string,
): Promise<Step[]> {
  const { sealed } = config;
  const { why, lines } = await jobObjects(config);
  const ofBroker: Step = {
    ...{ name: file, state: 'by hand', why: `then systemctl restart kpx-broker. ${why}` },
    lines: [
      '[sealed]',
      'enabled = true',
      `urls = ["amqp://${user}@127.0.0.1:${ports.amqp}"]`,
      `management_url = "http://127.0.0.1:${ports.management}"`,
      `management_password_file = "${passwordFile}"`,
      ...lines,
    ],
  };
  const ofHelper: Step = executor.sealed
    ? {
        name: helperFile,
        state: 'ok',
        why: executor.sealed === true ? 'executor.sealed is true' : 'executor.sealed has the accounts that are sealed',
      }
    : {
        name: helperFile,
        state: 'by hand',
        why: 'in [executor]; then run this again, which writes the template',
        lines: ['sealed = true'],
      };
  const enabled: Step = { name: file, state: 'ok', why: `sealed.enabled is true. ${why}` };
  const changed: Step[] = lines.length > 0 ? [{ name: `${file}, job queue`, state: 'by hand', why: OTHERWISE, lines }] : [];
  return [
    ...(sealed.enabled ? [enabled, ...changed] : [ofBroker]),
    ...[ofHelper, ...(executor.sealed ? [await templateStep(executor.msgq_file, ports)] : [])],
  ];
}

const OTHERWISE =
  'the server has the job queue or the exchange otherwise. RabbitMQ refuses an executor that declares it as the server does. Stop the executors first, and remove their virtual hosts: kpxctl sealed purge';

/** How the virtual hosts of accounts have to have the job queue and the exchange: in words, and as lines that the configuration lacks. */
async function jobObjects(config: Config): Promise<{ why: string; lines: string[] }> {
  const { queue, exchange } = config.amqp;
  const quoted = (names: readonly string[], between: string) => names.map((name) => JSON.stringify(name)).join(between);
  const all = quoted([queue, ...(exchange === '' ? [] : [exchange])], ' and ');
  const byHand = `${all} have to be declared as the executor does it: rabbitmqctl list_queues name durable arguments, list_exchanges name type durable arguments at the server`;
  try {
    const declared = await declaredAtServer(config);
    if (declared === undefined) return { why: config.sealed.enabled ? '' : byHand, lines: [] };
    const lines = linesFor(declared, config.sealed);
    const missing = [...(declared.queue === null ? [queue] : []), ...(declared.exchange === null ? [exchange] : [])];
    if (missing.length > 0) return { why: `The server has no ${quoted(missing, ' and no ')} yet. ${byHand}`, lines };
    return { why: `${all} are declared as the server has them`, lines };
  } catch (error) {
    return { why: `How the server declares them is not known: ${(error as Error).message}. ${byHand}`, lines: [] };
  }
}

async function templateStep(path: string, { amqp }: AccountsPorts): Promise<Step> {
  const there = (await readFile(path, 'utf8').catch(() => '')).trim();
  const why = 'the URL of each executor, in which the helper writes the user, the password and the virtual host of its account';
  if (problemOfMsgq(there, true) === undefined) return { name: path, state: 'ok', why };
  const template = `amqp://{user}:{password}@127.0.0.1:${amqp}/{vhost}`;
  const shared = sharedMsgqFile(path);
  const keeps = there !== '' && !(await isThere(shared));
  const apply = async () => {
    if (keeps) await write(shared, `${there}\n`, ROOTS_MODE, 0);
    await write(path, `${template}\n`, ROOTS_MODE, 0);
  };
  const kept = keeps ? `. The one until now is kept in ${shared}, by which kpxctl doctor sees whether its user can still log in` : '';
  return { name: path, state: 'to do', why: `${why}${kept}`, lines: [template], apply };
}
