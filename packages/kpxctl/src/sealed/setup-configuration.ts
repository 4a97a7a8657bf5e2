import { readFile } from 'node:fs/promises';
import type { Config } from '@kpx/broker/config/config';
import { problemOfMsgq, type Sealed } from '@kpx/protocol';
import { type AccountsPorts, SHARED_MSGQ_FILE } from '../accounts-rabbitmq.js';
import { isThere, ROOTS_MODE, type Step, type Wanted, write } from './steps.js';

/** Both configurations are the administrator's: only their lines are said. The template goes with `executor.sealed`. */
export async function configurationSteps(
  { sealed, amqp }: Config,
  executor: { readonly sealed: Sealed; readonly msgq_file: string },
  { user, ports, passwordFile }: Wanted,
  file: string,
  helperFile: string,
): Promise<Step[]> {
  const [queue, exchange] = [JSON.stringify(amqp.queue), JSON.stringify(amqp.exchange)];
  const ofBroker: Step = sealed.enabled
    ? { name: file, state: 'ok', why: 'sealed.enabled is true' }
    : {
        ...{
          name: file,
          state: 'by hand',
          why: `then systemctl restart kpx-broker. ${queue} and ${exchange} have to be declared as the executor does it: rabbitmqctl list_queues name durable arguments, list_exchanges name type durable arguments at the server`,
        },
        lines: [
          '[sealed]',
          'enabled = true',
          `urls = ["amqp://${user}@127.0.0.1:${ports.amqp}"]`,
          `management_url = "http://127.0.0.1:${ports.management}"`,
          `management_password_file = "${passwordFile}"`,
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
  return [ofBroker, ofHelper, ...(executor.sealed ? [await templateStep(executor.msgq_file, ports)] : [])];
}

async function templateStep(path: string, { amqp }: AccountsPorts): Promise<Step> {
  const there = (await readFile(path, 'utf8').catch(() => '')).trim();
  const why = 'the URL of each executor, in which the helper writes the user, the password and the virtual host of its account';
  if (problemOfMsgq(there, true) === undefined) return { name: path, state: 'ok', why };
  const template = `amqp://{user}:{password}@127.0.0.1:${amqp}/{vhost}`;
  const keeps = there !== '' && !(await isThere(SHARED_MSGQ_FILE));
  const apply = async () => {
    if (keeps) await write(SHARED_MSGQ_FILE, `${there}\n`, ROOTS_MODE, 0);
    await write(path, `${template}\n`, ROOTS_MODE, 0);
  };
  const kept = keeps
    ? `. The one until now is kept in ${SHARED_MSGQ_FILE}, by which kpxctl doctor sees whether its user can still log in`
    : '';
  return { name: path, state: 'to do', why: `${why}${kept}`, lines: [template], apply };
}
