import { request } from 'node:http';
import { printableLines } from '../output/format.js';
import type { Status } from '../record/status.js';

const ANSWER_TIMEOUT_MS = 10_000;
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

/** No broker answers at the control socket. The message says why. */
export class BrokerUnreachable extends Error {
  override name = 'BrokerUnreachable';
}

/** The broker answers that it cannot answer. The message has its own words. */
export class BrokerRefused extends Error {
  override name = 'BrokerRefused';
  /** Of HTTP. */
  readonly status: number | undefined;

  constructor(message: string, status?: number) {
    super(message);
    this.status = status;
  }
}

interface Asking {
  /** Ends it. */
  readonly signal?: AbortSignal;
  /** How long an answer may take, in milliseconds. */
  readonly timeoutMs?: number;
}

/** The meaning of an answer of 404: every path that is asked for is one of the broker of this version. */
export const OLDER =
  'The broker is older than this kpxctl, and does not know of this. Restart it, as after an upgrade: systemctl restart kpx-broker (executors live on).';

/** Asks the running broker. Rejects with {@link BrokerUnreachable} or {@link BrokerRefused}; with the former also when it is ended. */
export const askBroker = (socketPath: string, path: string, asking?: Asking) => converse(socketPath, 'GET', path, asking);

/** Has the running broker do something. Rejects like {@link askBroker}. */
export const tellBroker = (socketPath: string, path: string, asking?: Asking) => converse(socketPath, 'POST', path, asking);

/** The broker's status. Rejects like {@link askBroker}, also where an older broker says less. */
export async function askStatus(socketPath: string, asking?: Asking): Promise<Status> {
  const status = (await askBroker(socketPath, '/status', asking)) as Status;
  if (status.jobs === undefined) throw new BrokerRefused(OLDER);
  return status;
}

async function converse(socketPath: string, method: 'GET' | 'POST', path: string, asking?: Asking): Promise<unknown> {
  if (socketPath === '') throw new BrokerUnreachable('control.socket is "": the broker answers nowhere');
  const { status, text } = await send(socketPath, method, path, asking);
  const body = parsed(text);
  if (body === undefined) throw new BrokerUnreachable(`${socketPath}: what answers there is no broker, or has ended before its answer did`);
  if (status === 200) return body;
  if (status === 404) throw new BrokerRefused(OLDER);
  const { error = `the broker answered with status ${status}` } = body as { error?: string };
  throw new BrokerRefused(printableLines(error), status);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

async function send(socketPath: string, method: string, path: string, asking: Asking = {}): Promise<Answer> {
  const { signal, timeoutMs = ANSWER_TIMEOUT_MS } = asking;
  return await new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException) => reject(new BrokerUnreachable(explain(socketPath, error)));
    const giveUp = (why: string) => {
      failed(new Error(why));
      asked.destroy();
    };
    const asked = request({ socketPath, method, path, timeout: timeoutMs, ...(signal && { signal }) }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > ANSWER_BYTES_MAX) giveUp('the answer is too long');
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      response.on('error', failed);
    });
    asked.once('timeout', () => giveUp(`no answer within ${timeoutMs} ms`));
    asked.on('error', failed);
    asked.end();
  });
}

function explain(path: string, error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return `no broker answers: there is no socket at ${path} (see systemctl status kpx-broker)`;
  if (error.code === 'EACCES') return `no permission to use ${path}: ask as root, or as a member of kpx-admin`;
  if (error.code === 'ECONNREFUSED') return `no broker answers: nothing listens at ${path} (see systemctl status kpx-broker)`;
  if (error.code === 'ECONNRESET') return `${path}: the broker has ended before its answer did`;
  return `${path}: ${error.message}`;
}
