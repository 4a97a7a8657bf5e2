import { type Config as BrokerConfig, readConfig as readBrokerConfig } from '@kpx/broker/config/config';
import { type Account, judgeAccount } from '@kpx/privhelper/accounts';
import { type Config as HelperConfig, readConfig as readHelperConfig } from '@kpx/privhelper/config';
import { lookUpAccount, type PasswdEntry } from '@kpx/privhelper/system/name-service';
import type { KnimeUser } from '@kpx/protocol';
import { ASK_AS_ROOT, once, Skipped } from './check.js';
import { showUnit, type Unit } from './systemd.js';

export type { BrokerConfig, HelperConfig };
export type Amqp = BrokerConfig['amqp'];

/** The account that the units run the broker under, and that the helper serves. */
export const BROKER_ACCOUNT = 'kpx-broker';
export const BROKER_UNIT = 'kpx-broker.service';

/** Shared by all checks. Each getter throws {@link Skipped} where its thing cannot be read: the check of that thing says why. */
export interface Scene {
  readonly brokerFile: string;
  readonly helperFile: string;
  /** undefined: where the configuration says, or root's file. */
  readonly passwordFile: string | undefined;
  /** Somebody who shall get an executor. */
  readonly user: KnimeUser | undefined;
  readonly isRoot: boolean;
  broker(): Promise<BrokerConfig>;
  helper(): Promise<HelperConfig>;
  /** Throws {@link Skipped} where executors are no units of systemd, and so neither is the helper's way. */
  underSystemd(): Promise<void>;
  brokerUnit(): Promise<Unit>;
  brokerAccount(): Promise<PasswdEntry>;
  /** Of {@link user}, judged as the helper will; undefined: nobody was asked about. Throws an Error with the helper's words. */
  account(): Promise<Account | undefined>;
}

export type Asked = Pick<Scene, 'brokerFile' | 'helperFile' | 'passwordFile' | 'user'>;

/** How long what several checks need may take, in milliseconds: each of them has more. */
const SHARED_TIMEOUT_MS = 15_000;

export function sceneOf(asked: Asked): Scene {
  const isRoot = process.getuid?.() === 0;
  const unseen = (what: string) => () => {
    throw new Skipped(what);
  };
  const signal = AbortSignal.timeout(SHARED_TIMEOUT_MS);
  const helper = once(() => readHelperConfig(asked.helperFile).catch(unseen(isRoot ? `${asked.helperFile} cannot be used` : ASK_AS_ROOT)));
  return {
    ...asked,
    isRoot,
    helper,
    broker: once(() => readBrokerConfig(asked.brokerFile).catch(unseen(`${asked.brokerFile} cannot be used`))),
    underSystemd: once(async () => {
      const { launcher } = (await helper().catch(() => undefined))?.executor ?? {};
      if (launcher === 'direct') throw new Skipped('executors are no units here (launcher "direct")');
    }),
    brokerUnit: once(() => showUnit(BROKER_UNIT, signal).catch(unseen('systemd does not answer'))),
    brokerAccount: once(async () => {
      const account = await lookUpAccount(BROKER_ACCOUNT, signal).catch(unseen('the name service does not answer'));
      return account ?? unseen(`there is no account ${BROKER_ACCOUNT}`)();
    }),
    account: once(async () => (asked.user === undefined ? undefined : await judgeAccount(asked.user, (await helper()).accounts, signal))),
  };
}
