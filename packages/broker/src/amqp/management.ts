import { request as requestByHttp } from 'node:http';
import { request as requestByHttps } from 'node:https';
import { type Config, readPassword } from '../config.js';
import { readTlsFiles } from './tls-files.js';

/* What RabbitMQ's management API says of a queue: AMQP does not tell policies. */

/** How long it may take for its answer, in milliseconds. */
const ANSWER_TIMEOUT_MS = 5_000;
/** RabbitMQ's answer about one queue is far below that. */
const ANSWER_BYTES_MAX = 256 * 1024;
const SHOWN_CHARS_MAX = 200;

/** Of a queue. */
export interface QueueFacts {
  readonly arguments: Readonly<Record<string, unknown>>;
  /** The names of the policies in force. */
  readonly policy: string | undefined;
  readonly operatorPolicy: string | undefined;
  /** What both say together. */
  readonly definition: Readonly<Record<string, unknown>>;
}

/**
 * Asks with the broker's own login, which needs RabbitMQ's tag "management" and a right on the queue. Undefined where RabbitMQ does not say the policies
 * yet: of a new queue it takes some seconds. Throws an Error without secrets that says what to do.
 */
export async function queueFacts(url: string, amqp: Config['amqp'], password = readPassword): Promise<QueueFacts | undefined> {
  const { username, pathname } = new URL(url);
  const user = decodeURIComponent(username);
  const vhost = decodeURIComponent(pathname.slice(1)) || '/';
  const path = `/api/queues/${encodeURIComponent(vhost)}/${encodeURIComponent(amqp.queue)}`;
  const { status, text } = await get(new URL(path, amqp.management_url), `${user}:${await password(amqp)}`, amqp);
  if (status === 401 && text.includes('Not management user')) {
    throw new Error(`RabbitMQ does not let "${user}" use its management API: rabbitmqctl set_user_tags ${user} management`);
  }
  if (status === 401) throw new Error(`amqp.management_url ${amqp.management_url} refuses the login of "${user}"`);
  if (status !== 200)
    throw new Error(`amqp.management_url ${amqp.management_url} answers with ${status}: ${text.slice(0, SHOWN_CHARS_MAX)}`);
  return factsIn(text, amqp.management_url);
}

function factsIn(text: string, url: string): QueueFacts | undefined {
  const queue = parsed(text);
  if (!isRecord(queue)) throw new Error(`amqp.management_url ${url} does not answer as RabbitMQ does`);
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
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the caller says what it is not
  }
}

async function get(url: URL, auth: string, { tls, management_url }: Config['amqp']): Promise<{ status: number; text: string }> {
  const isTls = url.protocol === 'https:';
  const files = isTls ? await readTlsFiles(tls) : {};
  const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
  return await new Promise((resolve, reject) => {
    const failed = ({ message }: Error) => {
      const why = signal.aborted ? `does not answer within ${ANSWER_TIMEOUT_MS / 1_000} s` : `cannot be asked: ${message}`;
      reject(new Error(`amqp.management_url ${management_url} ${why}`));
    };
    const asked = (isTls ? requestByHttps : requestByHttp)(url, { auth, signal, ...files }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('error', failed);
      answer.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > ANSWER_BYTES_MAX) answer.destroy(new Error(`its answer has more than ${ANSWER_BYTES_MAX} bytes`));
      });
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }));
    });
    asked.on('error', failed);
    asked.end();
  });
}
