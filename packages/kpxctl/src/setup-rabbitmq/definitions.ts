import type { Config } from '@kpx/broker/config/config';
import { brokerPermissions, executorPermissions, type Rights } from '@kpx/broker/rabbitmq/permissions';
import { HASHING, passwordHash } from './password-hash.js';
import type { Login } from './passwords.js';

export const vhostOf = ({ urls }: Config['amqp']) => decodeURIComponent(new URL(urls[0] ?? '').pathname.slice(1)) || '/';

export const leastPermissions = ({ of }: Login, config: Rights) =>
  of === 'broker' ? brokerPermissions(config) : executorPermissions(config.amqp);

/** The broker looks at its queue's policies, where the configuration says by which URL. */
export const tagsFor = ({ of }: Login, { management_urls }: Config['amqp']) =>
  of === 'broker' && management_urls.length > 0 ? ['management'] : [];

/** For `rabbitmqctl import_definitions`: both users with hashes of their passwords, and the least permissions. Tried with 3.10.8, 4.0.5 and 4.3.6. */
export const definitionsOf = (logins: readonly Login[], { amqp, sealed }: Rights) => ({
  users: logins.map((login) => ({
    name: login.user,
    password_hash: passwordHash(login.password),
    hashing_algorithm: HASHING,
    tags: tagsFor(login, amqp),
  })),
  permissions: logins.map((login) => ({ user: login.user, vhost: vhostOf(amqp), ...leastPermissions(login, { amqp, sealed }) })),
});
