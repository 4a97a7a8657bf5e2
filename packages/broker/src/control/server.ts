import { chmod, unlink } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { type KnimeUser, knimeUserSchema } from '@kpx/protocol';
import type { Explanation } from '../executors/machine.js';

/** Requests at once; each is one question of an operator. */
const CONNECTIONS_MAX = 16;
const REQUEST_TIMEOUT_MS = 5_000;
const HEADER_BYTES_MAX = 8 * 1024;
/** Only the broker's own account, and root, may ask. */
const SOCKET_MODE = 0o600;
const GROUPS_MAX = 1_000;

/** In words, for people. */
export interface Status {
  readonly doing: string;
  readonly draining: boolean;
}

/** What can be asked of a running broker. All of it is read-only. */
export interface Questions {
  explain(user: KnimeUser, groups: readonly string[] | undefined): Promise<Explanation>;
  status(): Status;
  /** The configuration in force, without secrets: there are none in it. */
  configuration(): unknown;
}

class BadRequest extends Error {}

/** HTTP with JSON on a Unix socket: `GET /explain?user=NAME[&group=G…]`, `GET /status` and `GET /configuration`. */
export class ControlServer {
  readonly #path: string;
  readonly #server;

  private constructor(path: string, questions: Questions) {
    this.#path = path;
    const options = { maxHeaderSize: HEADER_BYTES_MAX, requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS };
    this.#server = createServer(options, (request, response) => void answer(questions, request, response));
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  /** Replaces the socket that a killed broker has left; rejects when another one listens there. */
  static async open(path: string, questions: Questions): Promise<ControlServer> {
    const control = new ControlServer(path, questions);
    if (await somebodyListens(path)) throw new Error(`another broker listens at ${path}`);
    await unlink(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    await new Promise<void>((resolve, reject) => {
      control.#server.once('error', reject);
      control.#server.listen(path, resolve);
    });
    await chmod(path, SOCKET_MODE);
    return control;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
    void unlink(this.#path).catch(() => {}); // the directory may be gone already
  }
}

async function somebodyListens(path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function answer(questions: Questions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method, url: target = '/' } = request;
  try {
    if (!URL.canParse(target, BASE)) throw new BadRequest(`${target}: expected a path`);
    const { pathname, searchParams } = new URL(target, BASE);
    const handler = method === 'GET' ? HANDLERS[pathname] : undefined;
    if (handler) respond(response, 200, await handler(questions, searchParams));
    else respond(response, 404, { error: `there is nothing at ${method} ${pathname}` });
  } catch (error) {
    respond(response, error instanceof BadRequest ? 400 : 500, { error: (error as Error).message });
  }
}

/** What paths are relative to; nobody asks for the host. */
const BASE = 'http://broker';

const HANDLERS: Record<string, (questions: Questions, query: URLSearchParams) => unknown> = {
  '/explain': async (questions, query) => {
    const user = knimeUserSchema.safeParse(query.get('user') ?? '');
    if (!user.success) throw new BadRequest(`user: ${user.error.issues[0]?.message}`);
    const groups = query.getAll('group');
    if (groups.length > GROUPS_MAX) throw new BadRequest(`group: at most ${GROUPS_MAX}`);
    return await questions.explain(user.data, query.has('group') ? groups : undefined);
  },
  '/status': (questions) => questions.status(),
  '/configuration': (questions) => questions.configuration(),
};

function respond(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}
