import { Agent as HttpAgent, request as requestByHttp } from 'node:http';
import { request as requestByHttps } from 'node:https';
import { type Config, readPassword } from '../config/config.js';
import { problemOfCertificate, readTlsFiles, type TlsFiles } from '../config/tls-files.js';
import { shellWord } from '../output/format.js';

/* Questions to RabbitMQ's management API, and what it says of a queue: AMQP does not tell policies. */

/** How long it may take for its answer, in milliseconds. */
const ANSWER_TIMEOUT_MS = 5_000;
/** RabbitMQ's answer about one queue is far below that. */
const ANSWER_BYTES_MAX = 256 * 1024;
export const SHOWN_CHARS_MAX = 200;

/** Of a queue. */
export interface QueueFacts {
  readonly arguments: Readonly<Record<string, unknown>>;
  /** The names of the policies in force. */
  readonly policy: string | undefined;
  readonly operatorPolicy: string | undefined;
  /** Both answers together. */
  readonly definition: Readonly<Record<string, unknown>>;
}

/** Of RabbitMQ's management API. */
export interface Management {
  /** Its name in messages: the key that names it, or the option. */
  readonly name: string;
  readonly url: string;
  readonly user: string;
  readonly password: string;
  /** Read for `https://` alone. */
  readonly files: () => Promise<Partial<TlsFiles>>;
  /** How long it may take for an answer, in milliseconds, and how long that may be, in bytes. */
  readonly timeoutMs?: number;
  readonly bytesMax?: number;
}

interface ManagementAnswer {
  readonly status: number;
  readonly text: string;
}

/**
 * Asks with the broker's own login, which needs RabbitMQ's tag "management" and a right on the queue. Asks all of `amqp.management_urls` at once and takes
 * the first answer: nodes of a cluster say the same, and one of them may be away. Throws an Error without secrets that says what to do.
 */
export async function queueFacts(url: string, amqp: Config['amqp'], password = readPassword): Promise<QueueFacts> {
  const secret = await password(amqp);
  try {
    return await Promise.any(amqp.management_urls.map((at) => factsAt(at, url, amqp, secret)));
  } catch (error) {
    throw new Error((error as AggregateError).errors.map(({ message }: Error) => message).join('; '), { cause: error });
  }
}

async function factsAt(at: string, url: string, amqp: Config['amqp'], password: string): Promise<QueueFacts> {
  const { username, pathname } = new URL(url);
  const user = decodeURIComponent(username);
  const vhost = decodeURIComponent(pathname.slice(1)) || '/';
  const name = `the management API at ${at}`;
  const api = { name, url: at, user, password, files: () => readTlsFiles(amqp.tls) };
  const { status, text } = await askManagement(api, { method: 'GET', path: ['queues', vhost, amqp.queue] });
  if (status !== 200) throw refusedBy(api, { status, text });
  const facts = factsIn(text, name);
  if (facts === undefined) throw new Error(`${name} does not say the policies yet`);
  return facts;
}

/** Why there is no answer to what the broker has asked at the server. */
export function refusedBy({ name, user }: Management, { status, text }: ManagementAnswer): Error {
  if (status === 401 && text.includes('Not management user')) {
    return new Error(`RabbitMQ does not let "${user}" use its management API: rabbitmqctl set_user_tags ${shellWord(user)} management`);
  }
  if (status === 401) return new Error(`${name} refuses the login of "${user}"`);
  return new Error(`${name} answers with ${status}: ${text.slice(0, SHOWN_CHARS_MAX)}`);
}

/** Of the answer about a queue; undefined where it lacks the policies: of a new queue they take some seconds. `name` as in {@link Management}. */
export function factsIn(text: string, name: string): QueueFacts | undefined {
  const queue = parsed(text);
  if (!isRecord(queue)) throw new Error(`${name} does not answer as RabbitMQ does`);
  if (!('policy' in queue)) return undefined;
  const { policy, operator_policy: operatorPolicy, effective_policy_definition: definition } = queue;
  return {
    arguments: isRecord(queue.arguments) ? queue.arguments : {},
    policy: typeof policy === 'string' ? policy : undefined,
    operatorPolicy: typeof operatorPolicy === 'string' ? operatorPolicy : undefined,
    definition: isRecord(definition) ? definition : {},
  };
}

/** An empty table is an empty list in the JSON of RabbitMQ 3. */
export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the caller says what it is not
  }
}

/** Of questions that run at once; further ones wait, and their time counts. */
const CONNECTIONS_MAX = 16;
/** How long a connection is kept for the next question, in milliseconds: less than RabbitMQ keeps it. */
const KEPT_MS = 5_000;
const KEPT = { keepAlive: true, maxSockets: CONNECTIONS_MAX, timeout: KEPT_MS };
const BY_HTTP = new HttpAgent(KEPT);

/** A call. `path` follows `/api/`, in parts, none of them encoded. */
export interface Question {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  readonly path: readonly string[];
  /** The parts of each entry that a list is to have; not set: all of them. */
  readonly columns?: readonly string[];
  readonly parameters?: Readonly<Record<string, string>>;
  readonly body?: object;
}

/** Throws an Error without secrets when there is no whole answer in time. */
export async function askManagement(
  { name, url, user, password, files, timeoutMs = ANSWER_TIMEOUT_MS, bytesMax = ANSWER_BYTES_MAX }: Management,
  { method, path, columns, parameters = {}, body }: Question,
): Promise<ManagementAnswer> {
  const at = new URL(`/api/${path.map(encodeURIComponent).join('/')}`, url);
  for (const [key, value] of Object.entries(parameters)) at.searchParams.set(key, value);
  if (columns) at.searchParams.set('columns', columns.join(','));
  const isTls = at.protocol === 'https:';
  const signal = AbortSignal.timeout(timeoutMs);
  const options = { method, auth: `${user}:${password}`, signal, ...(isTls ? await files() : { agent: BY_HTTP }) };
  return await new Promise((resolve, reject) => {
    const failed = (error: Error) => {
      const ofCertificate = problemOfCertificate(error, { hostname: at.hostname, trusted: 'see amqp.tls.ca_file', urls: 'its URL' });
      const why = signal.aborted ? `does not answer within ${timeoutMs / 1_000} s` : `cannot be asked: ${ofCertificate ?? error.message}`;
      reject(new Error(`${name} ${why}`));
    };
    const asked = (isTls ? requestByHttps : requestByHttp)(at, options, (answer) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      answer.on('error', failed);
      answer.on('data', (part: Buffer) => {
        parts.push(part);
        bytes += part.length;
        if (bytes > bytesMax) answer.destroy(new Error(`its answer has more than ${bytesMax} bytes`));
      });
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(parts).toString('utf8') }));
    });
    asked.on('error', failed);
    if (body !== undefined) asked.setHeader('content-type', 'application/json');
    asked.end(body && JSON.stringify(body));
  });
}
