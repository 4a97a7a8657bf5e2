import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';

/** Of each server: requests at once, and how long one may take from connecting until the answer has been read. */
interface Bounds {
  readonly connectionsMax: number;
  readonly connectionMsMax: number;
}

const HEADER_BYTES_MAX = 8 * 1024;

/** A page in a browser runs and loads nothing from elsewhere, makes nothing from strings, is in no other page, and is kept by nobody. */
const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; " +
    "frame-ancestors 'none'; require-trusted-types-for 'script'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  connection: 'close',
};

/** The answer instead: a status, and a sentence for whoever asked. */
export class HttpError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export interface Answer {
  /** Of HTTP; undefined: 200. */
  readonly status?: number;
  readonly type: string;
  readonly text: string;
}

export interface Route {
  readonly method: 'GET' | 'POST';
  /** Throws {@link HttpError}. */
  answer(query: URLSearchParams): Answer | Promise<Answer>;
}

/** An answer without an end. The new owner of the response bounds how long that is, and how much of it may be unread. */
interface StreamRoute {
  readonly method: 'GET';
  /** Headers are set, to be sent with the first write. Throws {@link HttpError}. */
  stream(response: ServerResponse): void;
}

export type Routes = Readonly<Record<string, Route | StreamRoute>>;

/** Is the header `Host` one of ours? */
type HostCheck = (host: string | undefined) => boolean;

/**
 * HTTP for a few questions: one for each connection, without a body, within a bounded time. That bound is what cuts slow clients, whether they are
 * slow in asking or in reading; but for streams, see {@link StreamRoute}.
 */
export function httpServer(
  routes: Routes,
  { connectionsMax, connectionMsMax }: Bounds,
  log: Logger,
  isOurs: HostCheck = () => true,
): Server {
  const bounds = new WeakMap<Socket, NodeJS.Timeout>();
  const server = createServer({ maxHeaderSize: HEADER_BYTES_MAX }, (request, response) => {
    const unbound = () => clearTimeout(bounds.get(request.socket));
    answer(routes, isOurs, request, response, unbound).catch((error: Error) => {
      const [path] = (request.url ?? '').split('?', 1);
      log.error({ path, reason: error.message }, 'an HTTP answer failed halfway; its connection is closed, the broker goes on');
      response.destroy();
    });
  });
  server.maxConnections = connectionsMax;
  server.maxRequestsPerSocket = 1;
  server.on('connection', (socket) => {
    const timer = setTimeout(() => socket.destroy(), connectionMsMax);
    bounds.set(socket, timer);
    socket.once('close', () => clearTimeout(timer));
  });
  return server;
}

/** Ends it, with all connections. */
export function closeHttpServer(server: Server): void {
  server.close();
  server.closeAllConnections();
}

/** The base of paths; nobody asks for the host. */
const BASE = 'http://broker';

async function answer(
  routes: Routes,
  isOurs: HostCheck,
  request: IncomingMessage,
  response: ServerResponse,
  unbound: () => void,
): Promise<void> {
  for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
  try {
    const { host } = request.headers;
    if (!isOurs(host)) throw new HttpError(421, `"${host}" is no name of this host here: use its address, or localhost`);
    const { route, query } = judged(routes, request);
    if ('stream' in route) {
      route.stream(response);
      unbound();
    } else {
      const found = await route.answer(query);
      respond(response, found.status ?? 200, found);
    }
  } catch (error) {
    if (response.headersSent) throw error; // an answer has begun: there is no place for another
    if (error instanceof MethodRefused) response.setHeader('allow', error.allow);
    respond(response, error instanceof HttpError ? error.status : 500, json({ error: (error as Error).message }));
  }
}

class MethodRefused extends HttpError {
  readonly allow: string;

  constructor(path: string, allow: string) {
    super(405, `${path} takes ${allow}`);
    this.allow = allow;
  }
}

function judged(routes: Routes, { method = '', url: target = '/', headers }: IncomingMessage) {
  if (!URL.canParse(target, BASE)) throw new HttpError(400, `${target}: expected a path`);
  const { pathname, searchParams: query } = new URL(target, BASE);
  const route = routes[pathname];
  if (!route) throw new HttpError(404, `there is nothing at ${pathname}`);
  const allow = route.method === 'GET' && 'answer' in route ? ['GET', 'HEAD'] : [route.method];
  if (!allow.includes(method)) throw new MethodRefused(pathname, allow.join(', '));
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0;
  if (hasBody) throw new HttpError(413, 'a request has no body here');
  return { route, query };
}

export const json = (body: unknown): Answer => ({ type: 'application/json', text: `${JSON.stringify(body)}\n` });

/**
 * Answers at once, and closes when no more comes, or when the connection's time is over: a connection that is closed with something unread in it
 * takes the answer away from who still sends. The body is not looked at.
 */
function respond(response: ServerResponse, status: number, { type, text }: Answer): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) });
  response.write(text);
  const { req: request } = response;
  if (request.complete) response.end();
  else request.once('end', () => response.end()).resume();
}
