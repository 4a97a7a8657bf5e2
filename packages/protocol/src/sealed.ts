import { hostname } from 'node:os';
import { KpxError } from './errors.js';
import type { Environment } from './executor-text.js';
import type { OsUser } from './names.js';

/*
 * Sealed executors: each account has a RabbitMQ user and virtual host of its own, both called `kpx.NODE.ACCOUNT`. Helper and kpxctl judge the
 * template for its URL here. Pure.
 */

/** A password: 32 bytes in base64url. */
export const PASSWORD = /^[A-Za-z0-9_-]{43}$/;

/** NODE is in lower case, because RabbitMQ compares names exactly. */
export const NODE = /^[a-z0-9-]{1,32}$/;
export const NODE_RULE = 'expected 1 to 32 characters out of a-z 0-9 -';

type Executor = Readonly<{ node: string }>;

/** Looked up once: a process must not see it change. */
const HOST = hostname();

/** NODE: as configured, or else the short name of the host, which may not be one that {@link NODE} takes. */
export const nodeOf = ({ node }: Executor, host = HOST) => node || host.replace(/\..*/s, '').toLowerCase();

/** The name of an account's virtual host and user: at most 101 characters, of which RabbitMQ takes 255 bytes. */
export const sealedName = (node: string, osUser: OsUser) => `kpx.${node}.${osUser}`;

const EXAMPLE = 'amqp://{user}:{password}@127.0.0.1:5673/{vhost}';
const PLACEHOLDERS = ['{user}', '{password}', '{vhost}'];
/** Where the first URL has its placeholders; further hosts of a cluster come after a comma. */
const TEMPLATE = /^amqps?:\/\/\{user\}:\{password\}@[^{}/]+\/\{vhost\}(?:[?,]|$)/;

/** The accounts with a RabbitMQ user of their own: all, none, or these while an installation moves from one to the other. */
export type Sealed = boolean | readonly string[];
type SealedFor = Readonly<{ sealed: Sealed }>;

/** Has this account a RabbitMQ user of its own? */
export const isSealed = ({ sealed }: SealedFor, osUser: OsUser) => sealed === true || (sealed !== false && sealed.includes(osUser));

/**
 * Beside the template: the address that all others share while some accounts are sealed. When all are, it says whose user has to be deleted, which
 * kpxctl doctor looks at.
 */
export const sharedMsgqFile = (msgqFile: string) => `${msgqFile}.shared`;

/** The configuration for one account. While some accounts are sealed msgq_file has the template, and a file beside it the address that all others share. */
export function executorFor<E extends SealedFor & { readonly msgq_file: string }>(executor: E, osUser: OsUser) {
  const sealed = isSealed(executor, osUser);
  return { ...executor, sealed, msgq_file: sealed || executor.sealed === false ? executor.msgq_file : sharedMsgqFile(executor.msgq_file) };
}

/** The problem of a text in msgq_file, with the text to write; undefined: there is none. Quotes nothing of the text, which may be a secret. */
export function problemOfMsgq(text: string, sealed: boolean): string | undefined {
  if (!/^amqps?:\/\/[\x21-\x7e]+$/.test(text)) return 'does not hold one line that starts with amqp:// or amqps://';
  if (!sealed) return text.includes('{password}') ? 'line 1: {password} is for sealed = true: write the password' : undefined;
  const others = text.replace(/\{(?:user|password|vhost)\}/g, (known) => '.'.repeat(known.length)).search(/[{}]/);
  const missing = PLACEHOLDERS.filter((placeholder) => !text.includes(placeholder));
  if (others >= 0) return `line 1, column ${others + 1}: unknown placeholder: with sealed = true write ${EXAMPLE}`;
  if (missing.length > 0) return `line 1: ${missing.join(' and ')} missing: with sealed = true write ${EXAMPLE}`;
  return TEMPLATE.test(text) ? undefined : `line 1: placeholders in other places: with sealed = true write ${EXAMPLE}`;
}

/** The URL of an account's executor, but for the password where that is its own. */
export function msgqOf(text: string, executor: Executor & { readonly sealed: boolean }, osUser: OsUser): string {
  if (!executor.sealed) return text;
  const name = encodeURIComponent(sealedName(nodeOf(executor), osUser));
  return text.replace(/\{(?:user|vhost)\}/g, () => name);
}

/** Where an executor finds RabbitMQ: as KNIME reads it, and for other programs the first address alone. */
export const addressVariables = (msgq: string) => ({ KNIME_EXECUTOR_MSGQ: msgq, KPX_AMQP_URL: msgq.replace(/,.*/s, '') });

/** The environment of a sealed executor, with the password of its account. */
export const withPassword = (environment: Environment, password: string): Environment => ({
  ...environment,
  ...addressVariables(environment.KNIME_EXECUTOR_MSGQ?.replaceAll('{password}', () => password) ?? ''),
});

/** The password in the URL of an account's executor; undefined: that of a user who is shared. Throws NOT_PREPARED for that of another account or node. */
export function passwordIn(msgq: string, executor: Executor, osUser: OsUser): string | undefined {
  const [, user = '', password = ''] = /^amqps?:\/\/([^:@/]+):([^:@/]+)@/.exec(msgq) ?? [];
  const name = sealedName(nodeOf(executor), osUser);
  if (user === encodeURIComponent(name) && PASSWORD.test(password)) return password;
  if (!user.startsWith('kpx.')) return undefined;
  throw new KpxError('NOT_PREPARED', `the executor of "${osUser}" was not started with the RabbitMQ user "${name}": stop it`);
}
