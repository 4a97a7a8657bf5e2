import { removeAccounts } from '../fixtures/accounts-rabbitmq.js';
import { celeryClient, celeryOptions, createCeleryVhost } from '../fixtures/celery.js';
import { idsOf, Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import type { Check } from './isolation.js';

const USER = 'carol';
/** Of the chain of celery_client.py, the last task first: ((1 + 2) + 10) + 100. */
const CHAIN = '113, 13, 3';
const TIMEOUT_S = 20;

interface Result {
  readonly value: number;
  readonly uid: number;
}

/** A chain of an ordinary Celery client, whose tasks an unmodified Celery worker does as the sealed executor of one account. */
export async function celeryChecks(rabbitmq: RabbitmqServer, accounts: RabbitmqServer): Promise<Check[]> {
  await removeAccounts(accounts); // those of other executors
  const kpx = new Kpx(await createCeleryVhost(rabbitmq), { ...celeryOptions(), sealed: accounts });
  await kpx.start();
  const answer = (await celeryClient(kpx.vhost, 'chain', { user: USER, timeout: TIMEOUT_S })) as Result[] | { readonly error: string };
  await kpx.stop();
  const [results, problem] = Array.isArray(answer) ? [answer, undefined] : [[], answer.error];
  const values = results.map(({ value }) => value).join(', ');
  const uids = [...new Set(results.map(({ uid }) => uid))].join(', ');
  return [
    { what: `the client has the result of each task of ${USER}'s chain`, held: values === CHAIN, seen: problem ?? values },
    { what: `each task ran under ${USER}'s uid`, held: uids === String(idsOf(USER).uid), seen: uids },
  ];
}
