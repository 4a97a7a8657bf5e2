import { chmod, stat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { ConfigError, type KnimeUser, knimeUserSchema, osUserSchema, type ProfileName, StopMode } from '@kpx/protocol';
import type { Logger } from 'pino';
import * as z from 'zod';
import type { DeadLetterService } from '../dead-letters/serve.js';
import type { Way } from '../dead-letters/work.js';
import type { Explanation } from '../executors/explanation.js';
import { runCommand } from '../host/command.js';
import type { Drain } from '../host/kept-drain.js';
import { closeHttpServer, HttpError, httpServer, json, type Route, type Routes } from '../http/server.js';
import { CommandError, statusOf } from '../output/exit.js';
import { localTime } from '../output/format.js';
import type { Cancelled, JobStories } from '../record/job-story.js';
import type { Status, UserDetail } from '../record/status.js';
import type { SealedOperations } from '../sealed/vhosts.js';

/** Each is one question of an operator; a look at 10,000 dead letters, and waiting for another one's look, takes longest. */
const BOUNDS = { connectionsMax: 16, connectionMsMax: 160_000 };
/** Only the broker's own account, and root, may ask. */
const SOCKET_MODE = 0o600;
/** The same, and who is in {@link ADMIN_GROUP}. */
const ADMIN_SOCKET_MODE = 0o660;
/** Its members may ask and tell, where the socket is the group's. */
const ADMIN_GROUP = 'kpx-admin';
const GETENT_TIMEOUT_MS = 5_000;
const GROUPS_MAX = 1_000;
const GROUP_CHARS_MAX = 256;
/** Of a filter for dead letters. */
const FILTER_CHARS_MAX = 256;
const IDS_MAX = 1_000;
/** Of a job: AMQP has no longer ones, and as it is printed a character takes six at most. */
const JOB_ID_CHARS_MAX = 6 * 255;

/** The result of reading the configuration again. */
export interface Reloaded {
  /** As {@link differences} tells. */
  readonly changed: readonly string[];
  /** Sections that take effect with a restart, as a whole. */
  readonly restart: readonly string[];
  /** Why [sealed] is one of them: for each of its keys that cannot change meanwhile. */
  readonly reasons: readonly string[];
}

/** The questions and orders that a running broker takes. */
export interface Operations {
  explain(user: KnimeUser, groups: readonly string[] | undefined): Promise<Explanation>;
  status(): Status;
  user(user: KnimeUser): Promise<UserDetail>;
  /** Rejects with a CommandError where no job is known by this id. */
  job(id: string): Promise<JobStories>;
  /** Rejects with a CommandError where it is not to be cancelled. */
  cancel(id: string): Promise<Cancelled>;
  /** The configuration in force, without secrets: there are none in it. */
  configuration(): unknown;
  /** Of executors, as the helper has said last; undefined: it has said nothing yet. */
  profiles(): readonly ProfileName[] | undefined;
  /** Answers why a restart will not know of it; undefined: it will. */
  drain(drain: Drain | undefined): string | undefined;
  /** Rejects with a ConfigError; the old one stays in force then. */
  reload(): Promise<Reloaded>;
  /** As a job of this user would. */
  start(user: KnimeUser): Promise<Explanation>;
  /** The same at a time, in milliseconds since the epoch. Rejects with a CommandError where no more may be planned. */
  planStart(user: KnimeUser, atMs: number): Promise<Explanation & { readonly replaced?: string; readonly forgotten?: string }>;
  /** Rejects with a CommandError where there is none to be taken back. */
  cancelStart(user: KnimeUser): Promise<Explanation & { readonly taken_back: string | null; readonly forgotten?: string }>;
  /** Undefined: there is no executor of this user. Rejects with a CommandError before it is known which executors run. */
  stop(user: KnimeUser, mode: StopMode): Promise<Explanation | undefined>;
  /** Of this user, or of all; undefined: there is none of this user. Rejects as {@link stop}. */
  stopWhenIdle(
    user: KnimeUser | undefined,
  ): Promise<{ readonly executors: number; readonly idle: number; readonly forgotten?: string } | undefined>;
  readonly deadLetters: DeadLetterService;
  /** Undefined: executors are not sealed. */
  readonly sealed: SealedOperations | undefined;
}

/** A parameter that is given once. */
const once = <Schema extends z.ZodType>(schema: Schema) => z.tuple([schema], 'expected once').transform(([value]) => value);
const user = once(knimeUserSchema);
const NOTHING = z.strictObject({});
const ABOUT_USER = z.strictObject({ user });
const ABOUT_ACCOUNT = z.strictObject({ account: once(osUserSchema) });
const EXPLAIN = z.strictObject({ user, group: z.array(z.string().max(GROUP_CHARS_MAX)).max(GROUPS_MAX).optional() });
const STOP = z.strictObject({ user, mode: once(z.enum(['graceful', 'kill'])).prefault(['graceful']) });
const DAY_MS = 24 * 3_600_000;
/** Of a drain: longer than any work on a host. */
const DRAIN_MAX_MS = 366 * DAY_MS;
const REASON_CHARS_MAX = 200;
/** Of a start: beyond that nobody remembers who has planned it, and why. */
const AHEAD_MAX_DAYS = 31;
const timeAhead = (maxMs: number, tooFar: string) =>
  z.iso
    .datetime()
    .transform((text) => Date.parse(text))
    .refine((ms) => ms > Date.now(), { error: () => `the time is over: it is ${localTime(Date.now())} here`, abort: true })
    .refine((ms) => ms < Date.now() + maxMs, tooFar);
const until = timeAhead(DRAIN_MAX_MS, 'more than a year ahead: leave it out, and end it with kpxctl resume');
const at = timeAhead(AHEAD_MAX_DAYS * DAY_MS, `more than ${AHEAD_MAX_DAYS} days ahead: for every week there is prestart of a rule`);
const START = z.strictObject({ user, at: once(at).optional() });
const reason = z
  .string()
  .regex(new RegExp(`^\\P{C}{1,${REASON_CHARS_MAX}}$`, 'u'), `expected a line of 1 to ${REASON_CHARS_MAX} characters`);
const DRAIN = z.strictObject({ until: once(until).optional(), reason: once(reason).optional() });
const ABOUT_JOB = z.strictObject({ id: once(z.string().min(1).max(JOB_ID_CHARS_MAX)) });
const id = z.string().regex(/^[0-9a-f]{4,64}$/, 'expected 4 to 64 of 0-9 a-f');
const filter = once(z.string().max(FILTER_CHARS_MAX)).optional();
const DEAD_LETTERS = z.strictObject({ id: z.array(id).max(IDS_MAX).default([]), user: filter, reason: filter });
const DEAD_LETTER = z.strictObject({ id: once(id) });
const SETTLE = z.strictObject({ choice: once(z.uuid()) });

/**
 * HTTP with JSON on a Unix socket. By node:http and not by fastify, whose router makes code from strings: the broker runs under
 * --disallow-code-generation-from-strings.
 */
export class ControlServer {
  readonly #path: string;
  readonly #server;

  private constructor(path: string, operations: Operations, log: Logger) {
    this.#path = path;
    this.#server = httpServer(routesOf(operations), BOUNDS, log);
  }

  /** Replaces the socket that a killed broker has left; rejects when another one listens there. */
  static async open(path: string, operations: Operations, log: Logger): Promise<ControlServer> {
    const control = new ControlServer(path, operations, log);
    if (await somebodyListens(path)) throw new Error(`another broker listens at ${path}`);
    await unlink(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    await new Promise<void>((resolve, reject) => {
      control.#server.once('error', reject);
      control.#server.listen(path, resolve);
    });
    await chmod(path, SOCKET_MODE);
    await admitAdmins(path);
    return control;
  }

  close(): void {
    closeHttpServer(this.#server);
    unlink(this.#path).catch(() => {}); // the directory may be gone already
  }
}

/**
 * The group gets the socket from its directory, which is setgid (systemd/kpx.tmpfiles): the broker has no right to give files away. Where the
 * directory is another group's, or there is no such group, nobody else is admitted.
 */
async function admitAdmins(path: string): Promise<void> {
  const { gid } = await stat(path);
  const group = await runCommand('/usr/bin/getent', ['group', '--', ADMIN_GROUP], GETENT_TIMEOUT_MS).catch(() => undefined);
  if (group?.stdout.split(':')[2] === String(gid)) await chmod(path, ADMIN_SOCKET_MODE);
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

function routesOf(operations: Operations): Routes {
  const tell = (drain: Drain | undefined) => {
    const forgotten = operations.drain(drain);
    return { draining: drain !== undefined, ...(forgotten === undefined ? {} : { forgotten }) };
  };
  return {
    '/explain': route('GET', EXPLAIN, ({ user, group }) => operations.explain(user, group)),
    '/status': route('GET', NOTHING, () => operations.status()),
    '/user': route('GET', ABOUT_USER, ({ user }) => operations.user(user)),
    '/job': route('GET', ABOUT_JOB, ({ id }) => refusing(operations.job(id))),
    '/cancel': route('POST', ABOUT_JOB, ({ id }) => refusing(operations.cancel(id))),
    '/profiles': route('GET', NOTHING, () => ({ profiles: operations.profiles() ?? null })),
    '/configuration': route('GET', NOTHING, () => operations.configuration()),
    '/drain': route('POST', DRAIN, ({ until: untilMs, reason }) => tell({ untilMs, reason })),
    '/resume': route('POST', NOTHING, () => tell(undefined)),
    '/reload': route('POST', NOTHING, async () => {
      return await operations.reload().catch((error: Error) => {
        throw error instanceof ConfigError ? new HttpError(422, error.message) : error;
      });
    }),
    '/start': route('POST', START, ({ user, at }) =>
      at === undefined ? operations.start(user) : refusing(operations.planStart(user, at)),
    ),
    '/start/cancel': route('POST', ABOUT_USER, ({ user }) => refusing(operations.cancelStart(user))),
    '/stop': route('POST', STOP, async ({ user, mode }) => {
      const explanation = await refusing(operations.stop(user, mode === 'kill' ? StopMode.kill : StopMode.graceful));
      if (!explanation) throw new HttpError(409, `there is no executor of "${user}" on this host`);
      return explanation;
    }),
    '/stop-when-idle': route('POST', ABOUT_USER.partial(), async ({ user }) => {
      const stopped = await refusing(operations.stopWhenIdle(user));
      if (!stopped) throw new HttpError(409, `there is no executor of "${user}" on this host`);
      return stopped;
    }),
    ...deadLetterRoutes(operations.deadLetters),
    ...sealedRoutes(operations),
  };
}

/** Tells the one who asked why a command is refused. */
const refusing = async <T>(work: Promise<T>): Promise<T> =>
  await work.catch((error: unknown) => {
    throw error instanceof CommandError ? new HttpError(statusOf(error.exitCode), error.message) : error;
  });

function sealedRoutes({ sealed }: Operations): Routes {
  const there = () => {
    if (sealed) return sealed;
    throw new HttpError(503, 'Executors are not sealed here: sealed.enabled in broker.toml is false.');
  };
  return {
    '/sealed': route('GET', NOTHING, () => there().list()),
    '/sealed/refused': route('GET', ABOUT_ACCOUNT.partial(), ({ account }) => ({ refused: there().refused(account) })),
    '/sealed/account': route('GET', ABOUT_ACCOUNT, ({ account }) => refusing(there().holdingsOf(account))),
    '/sealed/learn': route('GET', ABOUT_ACCOUNT, ({ account }) => refusing(there().learned(account))),
    '/sealed/purge': route('POST', ABOUT_ACCOUNT, ({ account }) => refusing(there().purge(account))),
  };
}

function deadLetterRoutes(letters: DeadLetterService): Routes {
  const settle = (way: Way) => route('POST', SETTLE, ({ choice }) => refusing(letters.settle(way, choice)));
  return {
    '/dead-letters': route('GET', DEAD_LETTERS, ({ id: ids, user, reason }) => refusing(letters.choose({ ids, user, reason }))),
    '/dead-letter': route('GET', DEAD_LETTER, ({ id }) => refusing(letters.show(id))),
    '/dead-letters/replay': settle('replay'),
    '/dead-letters/drop': settle('drop'),
  };
}

function route<Schema extends z.ZodType>(method: Route['method'], schema: Schema, answer: (input: z.output<Schema>) => unknown): Route {
  return {
    method,
    answer: async (query) => {
      const input = schema.safeParse(Object.fromEntries([...new Set(query.keys())].map((key) => [key, query.getAll(key)])));
      if (input.success) return json(await answer(input.data));
      throw new HttpError(400, input.error.issues.map(({ path: [key], message }) => `${String(key ?? 'query')}: ${message}`).join('; '));
    },
  };
}
