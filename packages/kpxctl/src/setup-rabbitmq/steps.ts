import { setTimeout as delay } from 'node:timers/promises';
import { isAtLeast, type JobQueue, judged, POLICY } from '@kpx/broker/amqp/job-queue';
import type { Config } from '@kpx/broker/config/config';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { askManagement, factsIn, isRecord, type Management, parsed } from '@kpx/broker/rabbitmq/management';
import type { Permissions, Rights } from '@kpx/broker/rabbitmq/permissions';
import { leastPermissions, tagsFor, vhostOf } from './definitions.js';
import { HASHING, isHashOf, passwordHash } from './password-hash.js';
import type { Login } from './passwords.js';

const SHOWN_CHARS_MAX = 200;
/** RabbitMQ tells the policies of a new queue after 10 s at the latest. How long they are waited for, and how often asked, in milliseconds. */
const POLICIES_TIMEOUT_MS = 15_000;
const POLICIES_POLL_MS = 500;

/** One thing that has to be so, and what makes it so. */
export interface Step {
  readonly name: string;
  /** `fails`: an operator has to do something first, and nothing is done. */
  readonly state: 'ok' | 'to do' | 'fails';
  /** The thing as it is, or what is done to it, and why. */
  readonly text: string;
  /** Of one that is to do. Throws {@link CommandError}. */
  readonly apply?: () => Promise<void>;
}

export interface Wanted extends Rights {
  readonly api: Management;
  readonly logins: readonly Login[];
  /** Whether users that are there get other passwords. */
  readonly anew: boolean;
}

const ok = (name: string, text: string): Step => ({ name, state: 'ok', text });
const fails = (name: string, text: string): Step => ({ name, state: 'fails', text });

export interface Seen {
  readonly version: string;
  readonly vhost: string;
  readonly steps: readonly Step[];
}

/** Looks, and changes nothing. Throws {@link CommandError} where RabbitMQ does not answer, or not to this login. */
export async function stepsOf({ api, amqp, sealed, logins, anew }: Wanted): Promise<Seen> {
  const server = new Server(api);
  const version = await server.version();
  const vhost = vhostOf(amqp);
  const seen = { version, vhost };
  if ((await server.find(['vhosts', vhost])) === undefined) {
    const text =
      'there is none: KNIME Server’s has to be there, and its name in amqp.urls; on the RabbitMQ machine: rabbitmqctl list_vhosts';
    return { ...seen, steps: [fails(`virtual host ${vhost}`, text)] };
  }
  const steps: Step[] = [];
  if (new Set(logins.map(({ user }) => user)).size < logins.length) {
    const text = `broker and executors have the same one (${logins.map(({ file }) => file).join(', ')}): each KNIME user can read the executors' password. Empty the executors' file, and it gets another user`;
    return { ...seen, steps: [fails(`user ${logins[0]?.user}`, text)] };
  }
  for (const login of logins) {
    steps.push(...(await userSteps(server, login, amqp, anew)), await permissionStep(server, login, { amqp, sealed }, vhost));
  }
  return { ...seen, steps: [...steps, await policyStep(server, version, amqp, vhost)] };
}

/** The management API, to an administrator. */
class Server {
  constructor(readonly api: Management) {}

  async version(): Promise<string> {
    const { tags } = (await this.find(['whoami'])) ?? {};
    if (!String(tags).split(',').includes('administrator')) {
      throw new CommandError(
        EXIT.noPermission,
        `"${this.api.user}" has not RabbitMQ's tag "administrator", which users and permissions take.`,
      );
    }
    return String((await this.find(['overview']))?.rabbitmq_version ?? 'unknown');
  }

  /** Undefined: there is no such thing. */
  async find(path: readonly string[]): Promise<Readonly<Record<string, unknown>> | undefined> {
    const text = await this.#ask('GET', path);
    if (text === undefined) return undefined;
    const answer = parsed(text);
    if (!isRecord(answer)) throw new CommandError(EXIT.unavailable, `${this.api.name} does not answer as RabbitMQ does.`);
    return answer;
  }

  async put(path: readonly string[], body: object): Promise<void> {
    await this.#ask('PUT', path, body);
  }

  async #ask(method: 'GET' | 'PUT', path: readonly string[], body?: object): Promise<string | undefined> {
    const { name, user } = this.api;
    const { status, text } = await askManagement(this.api, { method, path, ...(body && { body }) }).catch((error: Error) => {
      throw new CommandError(EXIT.unavailable, `${error.message}. Does RabbitMQ have the plugin rabbitmq_management?`);
    });
    if (status === 404 && method === 'GET') return undefined;
    if (status >= 200 && status < 300) return text;
    if (status === 401) throw new CommandError(EXIT.noPermission, `${name} refuses the login of "${user}".`);
    throw new CommandError(
      EXIT.unavailable,
      `${name} answers ${method} ${path.join('/')} with ${status}: ${text.slice(0, SHOWN_CHARS_MAX)}`,
    );
  }
}

const PURPOSE = { broker: 'kpx-broker takes jobs as this user', executors: 'executors take jobs as this user' };

async function userSteps(server: Server, login: Login, amqp: Config['amqp'], anew: boolean): Promise<Step[]> {
  const { of, user, password, file, content } = login;
  const name = `user ${user}`;
  const existing = await server.find(['users', user]);
  const tags = tagsOf(existing);
  const wanted = tags.includes('administrator') ? tags : [...new Set([...tags, ...tagsFor(login, amqp)])];
  const hashed = { password_hash: passwordHash(password), hashing_algorithm: HASHING };
  const put = (secret: object) => () => server.put(['users', user], { ...secret, tags: wanted.join(',') });
  const writing: Step[] =
    content === undefined
      ? [ok(file, `has the password of "${user}"`)]
      : [{ name: file, state: 'to do', text: `gets a new password of "${user}"` }];
  const tagged =
    wanted.includes('management') && !tags.includes('management') ? ' with the tag "management", for amqp.management_urls' : '';
  if (existing === undefined) {
    return [...writing, { name, state: 'to do', text: `is made${tagged}: ${PURPOSE[of]}`, apply: put(hashed) }];
  }
  const { password_hash: kept, hashing_algorithm: algorithm } = existing;
  if (content === undefined && isHashOf(kept, algorithm, password)) {
    if (tagged === '') return [...writing, ok(name, 'is there, with this password')];
    const same = put({ password_hash: kept, hashing_algorithm: algorithm });
    return [...writing, { name, state: 'to do', text: `is changed:${tagged}`, apply: same }];
  }
  if (!anew) {
    const text = `is there, with another password than ${content === undefined ? 'the one in ' : 'that which would be made for '}${file}: copy the file from a host that has it, or say --new-passwords, which each host with this user then needs`;
    return [fails(name, text)];
  }
  return [...writing, { name, state: 'to do', text: `gets the new password${tagged}; connections that exist stay`, apply: put(hashed) }];
}

/** A list from RabbitMQ 3.9 on, before that a text with commas. */
function tagsOf(user: Readonly<Record<string, unknown>> | undefined): string[] {
  const { tags = '' } = user ?? {};
  return (Array.isArray(tags) ? tags.map(String) : String(tags).split(',')).filter((tag) => tag !== '');
}

export const shown = ({ configure, write, read }: Permissions) => `configure '${configure}' write '${write}' read '${read}'`;

async function permissionStep(server: Server, login: Login, config: Rights, vhost: string): Promise<Step> {
  const { of, user } = login;
  const name = `permissions of ${user}`;
  const least = leastPermissions(login, config);
  const apply = () => server.put(['permissions', vhost, user], least);
  const existing = await server.find(['permissions', vhost, user]);
  if (existing === undefined) return { name, state: 'to do', text: `the least for its work: ${shown(least)}`, apply };
  const { configure, write, read } = existing;
  const has = { configure: String(configure), write: String(write), read: String(read) };
  if (shown(has) === shown(least)) return ok(name, `as they have to be: ${shown(least)}`);
  if (of === 'executors') return ok(name, `are left as they are, KNIME's executors may need more: ${shown(has)}`);
  return { name, state: 'to do', text: `the least for its work: ${shown(least)}; until now ${shown(has)}`, apply };
}

/** Where RabbitMQ would remove jobs that were given back too often. */
async function policyStep(server: Server, version: string, { queue, management_urls }: Config['amqp'], vhost: string): Promise<Step> {
  const name = `queue ${queue}`;
  const find = () => server.find(['queues', vhost, queue]);
  let found = await find();
  if (found === undefined) return ok(name, 'is not there yet: when KNIME Server has made it, run this again, or kpxctl doctor');
  const { type } = found;
  if (type !== 'quorum') return ok(name, `is a ${type} queue: it has no delivery limit`);
  for (const until = performance.now() + POLICIES_TIMEOUT_MS; !('policy' in found) && performance.now() < until; ) {
    await delay(POLICIES_POLL_MS);
    found = (await find()) ?? found;
  }
  const facts = factsIn(JSON.stringify(found), server.api.name);
  const unknown = 'RabbitMQ does not say its policies yet';
  const { danger, fix, policy }: JobQueue = judged({ version, vhost, queue, facts, unknown });
  const isUnseen = management_urls.length === 0 && isAtLeast(version, 4, 0);
  const blind = isUnseen ? '. The broker sees that by amqp.management_urls alone: set it, and run this again' : '';
  if (danger === undefined) return ok(name, `is a quorum queue without a delivery limit${blind}`);
  if (policy === undefined) return fails(name, `${danger}; ${fix}`);
  const text = `gets the policy ${POLICY}, ${JSON.stringify(policy.definition)}: ${danger}${blind}`;
  return { name, state: 'to do', text, apply: () => server.put(['policies', vhost, POLICY], policy) };
}
