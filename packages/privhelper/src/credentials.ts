import { createHash, randomBytes } from 'node:crypto';
import { type Environment, isSealed, KpxError, type OsUser, PASSWORD, passwordIn, withPassword } from '@kpx/protocol';
import type { AuditLine } from './audit.js';
import type { Config } from './config.js';
import type { Launcher } from './launcher.js';

/*
 * Sealed executors: the password of an account's own RabbitMQ user. Root makes it for each start, the executor's environment has it, and the broker
 * only ever gets its hash. docs/audit.md has where it is at each moment, and who can read it.
 */

const PASSWORD_BYTES = 32;
const SALT_BYTES = 4;

type Context = Readonly<{ config: Config; launcher: Launcher; signal: AbortSignal; facts: Pick<AuditLine, 'credential'> }>;

/**
 * Makes the password of the account's next start, whatever was made before. While an executor runs, its own stays. Answers the hash that RabbitMQ
 * takes, with another salt each time. Nothing where the executor that runs shares its user with others, or the next one will: the broker does not choose.
 */
export async function prepareCredential(osUser: OsUser, { config: { executor }, launcher, signal, facts }: Context) {
  const made = isSealed(executor, osUser) ? randomBytes(PASSWORD_BYTES).toString('base64url') : undefined;
  const running = executor.sealed ? await launcher.msgqOf(osUser, signal) : undefined;
  const password = running === undefined ? made : passwordIn(running, executor, osUser);
  if (running === undefined && made) await launcher.passwords.set(osUser, made);
  if (password) facts.credential = running === undefined ? 'made' : 'in use';
  return password ? { passwordHash: rabbitmqHash(password) } : {};
}

/** The environment of a start, with the password that was made for it. Throws NOT_PREPARED when there is none. */
export async function useCredential(osUser: OsUser, environment: Environment, { config, launcher, facts }: Context): Promise<Environment> {
  if (!isSealed(config.executor, osUser)) return environment;
  const password = (await launcher.passwords.get(osUser)) ?? '';
  if (!PASSWORD.test(password)) throw new KpxError('NOT_PREPARED', `no password was prepared for a start of "${osUser}"`);
  facts.credential = 'used';
  return withPassword(environment, password);
}

/** base64(salt + sha256(salt + password)): https://www.rabbitmq.com/docs/passwords#computing-password-hash */
function rabbitmqHash(password: string): string {
  const salt = randomBytes(SALT_BYTES);
  return Buffer.concat([salt, createHash('sha256').update(salt).update(password).digest()]).toString('base64');
}
