import type { Config } from '../config/config.js';

/** The permissions of a user in a virtual host, as RabbitMQ has them: regular expressions over names of queues and exchanges. */
export interface Permissions {
  readonly configure: string;
  readonly write: string;
  readonly read: string;
}

/** RabbitMQ's name for the exchange with the empty name, through which one publishes to a queue itself. */
const DEFAULT_EXCHANGE = 'amq.default';
const NOTHING = '^$';

export const literally = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
const oneOf = (names: readonly string[]) => `^(${names.map(literally).join('|')})$`;

/** A part of a configuration. */
export type Rights = Pick<Config, 'amqp' | 'sealed'>;

/** The least that kpx-broker can do its work with. */
export function brokerPermissions({ amqp: { queue, exchange, declare }, sealed }: Rights): Permissions {
  const exchanges = exchange === '' ? [] : [exchange];
  const { up, down, learn } = sealed.enabled ? sealed : { up: [], down: [], learn: [] };
  const [published, heard] = [up, down].map((rules) => rules.map((rule) => rule.exchange)) as [string[], string[]];
  const learned = learn.map((rule) => `^${rule.queue.split('*').map(literally).join('.*')}$`);
  return {
    configure: ['^kpx\\.', ...(declare ? [oneOf([queue, ...exchanges])] : []), ...learned].join('|'),
    write: `^kpx\\.|${oneOf([...exchanges, DEFAULT_EXCHANGE, ...(declare ? [queue] : []), ...published])}`,
    read: [`^kpx\\.|${oneOf([queue, ...(declare ? exchanges : []), ...heard])}`, ...learned].join('|'),
  };
}

/** The least that executors take jobs from the queue with, and give them back. */
export const executorPermissions = ({ queue, exchange }: Config['amqp']): Permissions => ({
  configure: NOTHING,
  write: oneOf([...(exchange === '' ? [] : [exchange]), DEFAULT_EXCHANGE]),
  read: oneOf([queue]),
});
