import {
  type Answer,
  EXECUTORS_PER_PAGE,
  type KnimeUser,
  KpxError,
  type OsUser,
  type PacketConnection,
  PROTOCOL_VERSION,
  REQUEST_DEADLINE_MS,
  REQUESTS_IN_FLIGHT_MAX,
  type Request,
  type RequestBody,
  ServingSession,
  SpawnOutcome,
  StopMode,
  type Verb,
} from '@kpx/protocol';
import { type Account, judgeAccount, osUserOf } from './accounts.js';
import type { Audit, AuditLine, Peer } from './audit.js';
import { type Config, templateOf } from './config.js';
import { type Created, prepareDirectories } from './directories.js';
import { executorEnvironment } from './environment.js';
import type { Launcher } from './launchers/launcher.js';

/** What lasts as long as the process. */
export interface Services {
  readonly config: Config;
  readonly launcher: Launcher;
  readonly audit: Audit;
}

/** What a handler may use. `facts` is what the audit line will say, as far as it is known. */
interface Context extends Services {
  readonly signal: AbortSignal;
  readonly facts: Partial<Writable<AuditLine>>;
}
type Writable<T> = { -readonly [Key in keyof T]: T[Key] };
type Handler<V extends Verb> = (body: RequestBody<V>, context: Context) => Promise<Answer>;

/** Everything that a broker can make root do. Anything else, and anything but Hello before Hello, closes the connection: see ServingSession. */
const TABLE: { readonly [V in Verb]: Handler<V> } = { hello, prepareUser, spawnExecutor, stopExecutor, listExecutors };

async function hello({ version }: RequestBody<'hello'>, { config }: Context): Promise<Answer> {
  if (version !== PROTOCOL_VERSION) {
    throw new KpxError('VERSION_MISMATCH', `the helper speaks version ${PROTOCOL_VERSION} of the protocol, the broker version ${version}`);
  }
  return { kind: 'hello', body: { version, requestsInFlightMax: REQUESTS_IN_FLIGHT_MAX, executorsMax: config.executor.max_executors } };
}

async function prepareUser({ knimeUser }: RequestBody<'prepareUser'>, context: Context): Promise<Answer> {
  const account = await judge(knimeUser, context);
  const created = await alone(account.osUser, () => prepare(account, context));
  return { kind: 'userPrepared', body: { osUser: account.osUser, uid: account.uid, created } };
}

async function spawnExecutor({ knimeUser, profile }: RequestBody<'spawnExecutor'>, context: Context): Promise<Answer> {
  templateOf(context.config.executor, profile);
  const account = await judge(knimeUser, context);
  const body = await alone(account.osUser, async () => {
    // First, so that no directory is made for a start that fails here, and an executor follows its directories without a wait.
    const environment = await executorEnvironment(account, context.config);
    await prepare(account, context);
    return await context.launcher.start(account, profile, environment, context.signal);
  });
  context.facts.outcome = `${body.outcome === SpawnOutcome.started ? 'started' : 'already running'}, pid ${body.executor.mainPid}`;
  return { kind: 'executorSpawned', body };
}

async function stopExecutor({ knimeUser, mode }: RequestBody<'stopExecutor'>, context: Context): Promise<Answer> {
  const osUser = osUserOf(knimeUser, context.config.accounts);
  context.facts.os_user = osUser;
  const uid = await alone(osUser, () => context.launcher.stop(osUser, mode, context.signal));
  Object.assign(context.facts, { uid, outcome: mode === StopMode.kill ? 'killed' : 'asked to end' });
  return { kind: 'executorStopped', body: { osUser, uid } };
}

async function listExecutors({ page }: RequestBody<'listExecutors'>, { launcher, signal }: Context): Promise<Answer> {
  const all = await launcher.list(signal);
  const executors = all.slice((page - 1) * EXECUTORS_PER_PAGE, page * EXECUTORS_PER_PAGE);
  return { kind: 'executorPage', body: { executors, more: all.length > page * EXECUTORS_PER_PAGE } };
}

async function judge(knimeUser: KnimeUser, { config, signal, facts }: Context): Promise<Account> {
  const account = await judgeAccount(knimeUser, config.accounts, signal);
  facts.os_user = account.osUser;
  facts.uid = account.uid;
  return account;
}

async function prepare(account: Account, { config, signal, facts }: Context): Promise<Created[]> {
  const created: Created[] = [];
  facts.created = created;
  await prepareDirectories(account, config.directories, created, signal);
  return created;
}

/** One request at a time for one account: two never make the same directory or start the same executor. */
const lines = new Map<string, Promise<unknown>>();

async function alone<T>(osUser: OsUser, work: () => Promise<T>): Promise<T> {
  const before = lines.get(osUser) ?? Promise.resolve();
  const mine = before.then(work, work);
  lines.set(osUser, mine);
  try {
    return await mine;
  } finally {
    if (lines.get(osUser) === mine) lines.delete(osUser);
  }
}

/** One broker's connection, with an audit line for everything that happens on it. */
export function serveBroker(services: Services, peer: Peer, connection: () => PacketConnection, onClosed: () => void): ServingSession {
  const { audit } = services;
  audit.line({ peer, event: 'connected' });
  const answer = (request: Request) => dispatch(request, peer, services);
  const violated = (reason: string) => audit.line({ peer, event: 'violation', decision: 'refused', reason });
  const closed = (reason: string) => {
    audit.line({ peer, event: 'disconnected', reason });
    onClosed();
  };
  return new ServingSession({ answer, violated, closed }, connection);
}

/** Has a request handled; its audit line is out before its answer is. */
async function dispatch({ id, verb, body }: Request, peer: Peer, services: Services): Promise<Answer> {
  const began = performance.now();
  const facts: Context['facts'] = 'knimeUser' in body ? { knime_user: body.knimeUser } : {};
  const context = { ...services, facts, signal: AbortSignal.timeout(REQUEST_DEADLINE_MS) };
  const handle = TABLE[verb] as Handler<Verb>;
  const answer = await handle(body, context).catch((error) => failure(error, facts));
  const decision = answer.kind === 'error' ? 'refused' : 'done';
  const duration_ms = Math.round(performance.now() - began);
  services.audit.line({ peer, event: 'request', decision, id, verb, ...facts, duration_ms });
  return answer;
}

/** The typed error that travels; what was not foreseen is said in full to the audit log only. */
function failure(error: unknown, facts: Context['facts']): Answer {
  const known = error instanceof KpxError;
  const { code, message } = known ? error : new KpxError('INTERNAL', 'the helper met an error it does not know; its audit log says more');
  facts.code = code;
  facts.reason = known ? message : String(error instanceof Error ? error.stack : error);
  return { kind: 'error', body: { code, message } };
}
