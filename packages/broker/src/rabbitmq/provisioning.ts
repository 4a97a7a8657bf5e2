import { shellWord } from '../output/format.js';
import { askManagement, isRecord, type Management, parsed, type Question, SHOWN_CHARS_MAX } from './management.js';
import type { Permissions } from './permissions.js';

/*
 * Work of an administrator of RabbitMQ, by its management API: virtual hosts, users, permissions, limits, policies. Every call has a deadline and can be
 * repeated. It leaves things as they are asked for, whatever they were. Tried with RabbitMQ 3.10.8, 4.0.5 and 4.3.6.
 */

/** Of a list, in bytes: some 100 for each virtual host, user or queue. */
const LIST_BYTES_MAX = 4 * 1024 * 1024;
/** RabbitMQ's largest page of a list. */
const PAGE_MAX = 500;
const ADMINISTRATOR = 'administrator';
const CREATED = 201;
/** RabbitMQ's words for what is not there, in its JSON. */
const NOT_THERE = 'Object Not Found';

/** A failed call. Its message is for operators, without secrets. `status`: of the answer; undefined: there was none, or not one of RabbitMQ's. */
class ManagementFailed extends Error {
  override name = 'ManagementFailed';

  constructor(
    message: string,
    readonly status?: number,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Of queues or exchanges whose names match `pattern`. */
interface PolicyOf {
  readonly pattern: string;
  readonly appliesTo: 'queues' | 'exchanges';
  readonly definition: Readonly<Record<string, string | number>>;
}

/** A virtual host and its description. */
export interface Vhost {
  readonly name: string;
  readonly description: string;
}

/** A part of a list: `items` are the first {@link PAGE_MAX} by name, at most, out of `total`. */
export interface Some<Item> {
  readonly items: readonly Item[];
  readonly total: number;
}

/** A queue or exchange that somebody has declared. */
export interface SeenQueue {
  readonly name: string;
  readonly durable: boolean;
  readonly auto_delete: boolean;
  readonly exclusive: boolean;
}
export type SeenExchange = Omit<SeenQueue, 'exclusive'> & { readonly type: string };

/** A queue as it was declared. */
export interface DeclaredQueue {
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  /** Some seconds ago; undefined: RabbitMQ does not say yet. */
  readonly messages?: number;
}

type Limits = Readonly<Record<string, number>>;

/** The management API, and what reads the password for each question. */
type Administered = Omit<Management, 'password' | 'bytesMax'> & { readonly password: () => Promise<string> };

/** All of it throws {@link ManagementFailed}. */
export class Provisioning {
  readonly #api: Administered;

  constructor(api: Administered) {
    this.#api = api;
  }

  /** The name of the own user. Throws where it is no administrator. */
  async administrator(): Promise<string> {
    const { name, tags } = this.#record(await this.#ask({ method: 'GET', path: ['whoami'] }));
    // A list in RabbitMQ 3.9 and later, before that one text.
    const all = Array.isArray(tags) ? tags : String(tags).split(',');
    if (all.includes(ADMINISTRATOR) && typeof name === 'string') return name;
    throw new ManagementFailed(
      `${this.#api.name} knows "${this.#api.user}" without the tag ${ADMINISTRATOR}, which making virtual hosts takes: rabbitmqctl set_user_tags ${shellWord(this.#api.user)} ${ADMINISTRATOR}`,
      401,
    );
  }

  /** Those whose names begin with `prefix`. */
  async vhosts(prefix: string): Promise<Vhost[]> {
    const all = this.#list(await this.#ask({ method: 'GET', path: ['vhosts'], columns: ['name', 'description'] }));
    return all
      .map((vhost) => {
        const { name, description } = isRecord(vhost) ? vhost : {};
        if (typeof name !== 'string') throw this.#strange();
        return { name, description: typeof description === 'string' ? description : '' };
      })
      .filter(({ name }) => name.startsWith(prefix));
  }

  /** The names that begin with `prefix`. */
  async users(prefix: string): Promise<string[]> {
    return (await this.#names(['users'])).filter((name) => name.startsWith(prefix));
  }

  /**
   * Queues that are declared there without a type are classic. RabbitMQ 4 may be set to make them quorum queues, which remove a message that was given back
   * 20 times; before 3.11 it knows no such default. Answers whether it was not there before.
   */
  async putVhost(vhost: string, description: string): Promise<boolean> {
    const made = await this.#ask({ method: 'PUT', path: ['vhosts', vhost], body: { description, default_queue_type: 'classic' } });
    return made === CREATED;
  }

  async deleteVhost(vhost: string): Promise<void> {
    await this.#ask({ method: 'DELETE', path: ['vhosts', vhost] });
  }

  async limitVhost(vhost: string, limits: Limits): Promise<void> {
    await this.#putLimits('vhost-limits', vhost, limits);
  }

  async hasUser(user: string): Promise<boolean> {
    return (await this.#ask({ method: 'GET', path: ['users', user] })) !== undefined;
  }

  /** A user without tags, who may do nothing yet. `passwordHash`: salt and SHA-256, in base64. Answers whether it was not there before. */
  async putUser(user: string, passwordHash: string): Promise<boolean> {
    const body = { password_hash: passwordHash, hashing_algorithm: 'rabbit_password_hashing_sha256', tags: '' };
    return (await this.#ask({ method: 'PUT', path: ['users', user], body })) === CREATED;
  }

  /** RabbitMQ closes the connections of that user a moment later. */
  async deleteUser(user: string): Promise<void> {
    await this.#ask({ method: 'DELETE', path: ['users', user] });
  }

  /** In one call; RabbitMQ refuses that where one of them is not there (400; tried with 3.10.8). */
  async deleteUsers(users: readonly string[]): Promise<void> {
    if (users.length === 0) return;
    try {
      await this.#ask({ method: 'POST', path: ['users', 'bulk-delete'], body: { users } });
    } catch (error) {
      if (!(error instanceof ManagementFailed && error.status === 400)) throw error;
      for (const user of users) await this.deleteUser(user);
    }
  }

  async limitUser(user: string, limits: Limits): Promise<void> {
    await this.#putLimits('user-limits', user, limits);
  }

  /** How many connections that user has, by RabbitMQ's own count, which does not lag behind. */
  async connectionsOf(user: string): Promise<number> {
    return this.#list(await this.#ask({ method: 'GET', path: ['connections', 'username', user] })).length;
  }

  async putPermissions(vhost: string, user: string, { configure, write, read }: Permissions): Promise<void> {
    await this.#ask({ method: 'PUT', path: ['permissions', vhost, user], body: { configure, write, read } });
  }

  async putPolicy(vhost: string, name: string, policy: PolicyOf): Promise<void> {
    await this.#putPolicy('policies', vhost, name, policy);
  }

  /** The names of its policies. None where there is no such virtual host. */
  async policies(vhost: string): Promise<string[]> {
    return await this.#names(['policies', vhost]);
  }

  async deletePolicy(vhost: string, name: string): Promise<void> {
    await this.#ask({ method: 'DELETE', path: ['policies', vhost, name] });
  }

  /** One that wins over policies, and over what a queue is declared with. */
  async putOperatorPolicy(vhost: string, name: string, policy: PolicyOf): Promise<void> {
    await this.#putPolicy('operator-policies', vhost, name, policy);
  }

  async queues(vhost: string): Promise<DeclaredQueue[]> {
    const all = this.#list(await this.#ask({ method: 'GET', path: ['queues', vhost], columns: ['name', 'arguments', 'messages'] }));
    return all.map((queue) => {
      const { name, arguments: declaredWith, messages } = isRecord(queue) ? queue : {};
      if (typeof name !== 'string') throw this.#strange();
      return { name, arguments: isRecord(declaredWith) ? declaredWith : {}, ...(typeof messages === 'number' && { messages }) };
    });
  }

  /** Queues whose names match this pattern. None where there is no such virtual host. */
  async queuesLike(vhost: string, pattern: string): Promise<Some<SeenQueue>> {
    const { items, total } = await this.#page('queues', vhost, pattern, ['exclusive']);
    return { items: items.map((item) => ({ ...this.#seen(item), exclusive: item.exclusive === true })), total };
  }

  /** The same of exchanges. */
  async exchangesLike(vhost: string, pattern: string): Promise<Some<SeenExchange>> {
    const { items, total } = await this.#page('exchanges', vhost, pattern, ['type']);
    return { items: items.map((item) => ({ ...this.#seen(item), type: String(item.type) })), total };
  }

  /** Without arguments, which can be as large as their owner likes. */
  async #page(kind: string, vhost: string, pattern: string, more: string[]) {
    const columns = ['name', 'durable', 'auto_delete', ...more];
    const parameters = { page: '1', page_size: `${PAGE_MAX}`, name: pattern, use_regex: 'true' };
    const answer = await this.#ask({ method: 'GET', path: [kind, vhost], columns, parameters });
    const { items, filtered_count: total } = answer === undefined ? { items: [], filtered_count: 0 } : this.#record(answer);
    if (!Array.isArray(items) || typeof total !== 'number' || !items.every(isRecord)) throw this.#strange();
    return { items, total };
  }

  #seen({ name, durable, auto_delete }: Record<string, unknown>) {
    if (typeof name !== 'string') throw this.#strange();
    return { name, durable: durable === true, auto_delete: auto_delete === true };
  }

  async #names(path: readonly string[]): Promise<string[]> {
    const all = this.#list(await this.#ask({ method: 'GET', path, columns: ['name'] }));
    return all.map((entry) => {
      if (isRecord(entry) && typeof entry.name === 'string') return entry.name;
      throw this.#strange();
    });
  }

  async #putLimits(kind: 'vhost-limits' | 'user-limits', of: string, limits: Limits): Promise<void> {
    for (const [limit, value] of Object.entries(limits)) await this.#ask({ method: 'PUT', path: [kind, of, limit], body: { value } });
  }

  async #putPolicy(kind: string, vhost: string, name: string, { pattern, appliesTo, definition }: PolicyOf): Promise<void> {
    await this.#ask({ method: 'PUT', path: [kind, vhost, name], body: { pattern, 'apply-to': appliesTo, definition } });
  }

  /** The answer, decoded; to other questions than GET its status; undefined: the thing that was asked for, or was to be deleted, is not there. */
  async #ask(question: Question): Promise<unknown> {
    const { method, path } = question;
    const { name, user } = this.#api;
    const password = await this.#api.password().catch((error: Error) => {
      throw new ManagementFailed(error.message, undefined, { cause: error });
    });
    const { status, text } = await askManagement({ ...this.#api, password, bytesMax: LIST_BYTES_MAX }, question).catch((error: Error) => {
      throw new ManagementFailed(`${error.message}; does RabbitMQ run there, with the plugin rabbitmq_management?`, undefined, {
        cause: error,
      });
    });
    if (status === 401)
      throw new ManagementFailed(
        `${name} refuses the login of "${user}", or what it asks: is the password the right one, and has the user the tag ${ADMINISTRATOR}?`,
        status,
      );
    if (method === 'GET' && status === 200) return this.#decoded(text);
    if (method !== 'GET' && (status === CREATED || status === 204)) return status;
    if (method !== 'PUT' && status === 404 && isNotThere(text)) return undefined;
    const shown = text.slice(0, SHOWN_CHARS_MAX);
    throw new ManagementFailed(`${name} answers ${method} ${path.join('/')} with ${status}: ${shown}`, status);
  }

  #decoded(text: string): unknown {
    const answer = parsed(text);
    if (answer === undefined) throw this.#strange();
    return answer;
  }

  #list(answer: unknown): unknown[] {
    if (answer === undefined) return [];
    if (!Array.isArray(answer)) throw this.#strange();
    return answer;
  }

  #record(answer: unknown): Record<string, unknown> {
    if (!isRecord(answer)) throw this.#strange();
    return answer;
  }

  #strange(): ManagementFailed {
    return new ManagementFailed(`${this.#api.name} does not answer as RabbitMQ does: is it RabbitMQ's management API?`);
  }
}

const isNotThere = (text: string) => {
  const answer = parsed(text);
  return isRecord(answer) && answer.error === NOT_THERE;
};
