import type { Explanation } from '@kpx/broker/executors/explanation';
import { judgeAccount } from '@kpx/privhelper/accounts';
import { readConfig } from '@kpx/privhelper/config';
import { lookUpAccount } from '@kpx/privhelper/system/name-service';
import { accountNameOf, type KnimeUser, KpxError, templatesOf } from '@kpx/protocol';
import { lookAtNameService } from './name-service.js';

const DEFAULT_TEMPLATE = 'kpx-executor@';
/** How long the name service may take, in milliseconds. */
const LOOK_UP_TIMEOUT_MS = 10_000;

/** The account as it is known before the helper is asked, in words, and the explanation that takes it into account. */
export interface Seen<E extends Explanation> {
  readonly account: string;
  readonly explanation: E;
}

/**
 * The broker knows no account before the helper has answered, and asking the helper would make directories. So root, who may read the helper's
 * configuration, gets the helper's own judgement; others get what the name service says of the user's own name.
 */
export async function seen<E extends Explanation>(explanation: E, user: KnimeUser, helperFile: string): Promise<Seen<E>> {
  const signal = AbortSignal.timeout(LOOK_UP_TIMEOUT_MS);
  const config = process.getuid?.() === 0 ? await readConfig(helperFile).catch(() => undefined) : undefined;
  if (config === undefined) return { explanation, account: await known(user, signal) };
  try {
    const { osUser, uid } = await judgeAccount(user, config.accounts, signal);
    return { explanation, account: `"${osUser}", uid ${uid}` };
  } catch (error) {
    if (!(error instanceof KpxError)) throw error;
    const account = `${error.code}: ${error.message}`;
    if (explanation.decision !== 'start') return { explanation, account };
    if (error.code === 'ACCOUNT_DENIED')
      return { explanation: { ...explanation, decision: 'park', why: account, cause: error.code }, account };
    return { explanation: { ...explanation, decision: 'fail', why: account, cause: error.code }, account };
  }
}

/** The units that an executor of this account may have: of the default template, and, for root, of every profile. */
export async function unitsOf(osUser: string, helperFile: string): Promise<string[]> {
  const config = await readConfig(helperFile).catch(() => undefined);
  const templates = config === undefined ? [] : templatesOf(config.executor);
  return [...new Set([DEFAULT_TEMPLATE, ...templates])].map((template) => `${template}${osUser}.service`);
}

/** Says what the name service knows, and what only the helper knows. */
async function known(user: KnimeUser, signal: AbortSignal): Promise<string> {
  const name = user.toLowerCase();
  if (accountNameOf(name) === undefined) return `no account can be called "${name}"; only the helper knows whether accounts.map names one`;
  try {
    const found = await lookUpAccount(name, signal);
    if (found) return `"${name}", uid ${found.uid}; whether it may have an executor, the helper says when it is asked`;
    const { unsure } = await lookAtNameService(signal);
    if (unsure !== undefined) return `not known: ${unsure}`;
    return `there is no account "${name}" on this machine; only the helper knows whether accounts.map names another one`;
  } catch (error) {
    return `not known: ${(error as Error).message}`;
  }
}
