import type { Answer, KnimeUser, PacketConnection, Request, RequestBody, Verb } from '@kpx/protocol';
import { answerError, answerHello, osUserOf, pageOf, ServingSession, SpawnOutcome, StopMode, templateOf } from '@kpx/protocol';
import { type Account, judgeAccount, refusalOf } from './accounts.js';
import type { Audit, AuditLine, Peer } from './audit.js';
import type { Config } from './config.js';
import { prepareCredential, useCredential } from './credentials.js';
import { type Created, prepareDirectories } from './directories.js';
import { executorEnvironment } from './environment.js';
import type { Launcher } from './launcher.js';

/** The parts that last as long as the process. */
export type Services = Readonly<{ config: Config; launcher: Launcher; audit: Audit }>;

/** The same for one connection, with the list whose pages it asks for: all are of the moment of the first, with which PID 1 is asked once. */
type Connected = Services & Readonly<{ pages: { listed: Awaited<ReturnType<Launcher['list']>> } }>;

/** The tools of a handler. `facts` is what the audit line will say, as far as it is known. */
type Context = Connected & Readonly<{ signal: AbortSignal; facts: Partial<AuditLine> }>;
type Handler<V extends Verb> = (body: RequestBody<V>, context: Context) => Promise<Answer>;

const hello: Handler<'hello'> = async ({ version }, { config }) => answerHello(version, config);

/** Everything that a broker can make root do. Anything else, and anything but Hello before Hello, closes the connection: see ServingSession. */
const TABLE: { readonly [V in Verb]: Handler<V> } = { hello, prepareUser, spawnExecutor, stopExecutor, listExecutors };

async function prepareUser({ knimeUser }: RequestBody<'prepareUser'>, context: Context): Promise<Answer> {
  const account = await judge(knimeUser, context);
  const { osUser, uid } = account;
  return await alone(osUser, async () => {
    const created = await prepare(account, context);
    return { kind: 'userPrepared', body: { osUser, uid, created, ...(await prepareCredential(osUser, context)) } };
  });
}

async function spawnExecutor({ knimeUser, profile }: RequestBody<'spawnExecutor'>, context: Context): Promise<Answer> {
  templateOf(context.config.executor, profile);
  const account = await judge(knimeUser, context);
  const body = await alone(account.osUser, async () => {
    // First, so that no directory is made for a start that fails here, and an executor follows its directories without a wait.
    const environment = await executorEnvironment(account, context.config);
    await prepare(account, context);
    return await context.launcher.start(account, profile, () => useCredential(account.osUser, environment, context), context.signal);
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

async function listExecutors({ page, judge }: RequestBody<'listExecutors'>, { config, launcher, pages, signal }: Context): Promise<Answer> {
  if (page === 1) pages.listed = await launcher.list(signal);
  const body = pageOf(pages.listed, page);
  if (judge) for (const executor of body.executors) executor.refusal = await refusalOf(executor, config.accounts, signal);
  return { kind: 'executorPage', body };
}

async function judge(knimeUser: KnimeUser, { config, signal, facts }: Context): Promise<Account> {
  const account = await judgeAccount(knimeUser, config.accounts, signal);
  Object.assign(facts, { os_user: account.osUser, uid: account.uid });
  return account;
}

async function prepare(account: Account, { config, launcher, signal, facts }: Context): Promise<Created> {
  const created: Created = [];
  facts.created = created;
  await alone(account.home, () => prepareDirectories(account, config.directories, launcher, created, signal));
  return created;
}

/**
 * One request at a time for one account, and within it for one home, which two accounts may share: two never make the same directory or start the
 * same executor. An account has no slash and a home begins with one; the account always comes first, so that no two wait for each other.
 */
const lines = new Map<string, Promise<unknown>>();

async function alone<T>(key: string, work: () => Promise<T>): Promise<T> {
  const mine = (lines.get(key) ?? Promise.resolve()).then(work, work);
  lines.set(key, mine);
  return await mine.finally(() => lines.get(key) === mine && lines.delete(key));
}

/** One broker's connection, with an audit line for everything that happens on it. */
export function serveBroker(services: Services, peer: Peer, connection: () => PacketConnection): ServingSession {
  services.audit.line({ peer, event: 'connected' });
  const connected: Connected = { ...services, pages: { listed: [] } };
  const violated = (reason: string) => services.audit.line({ peer, event: 'violation', decision: 'refused', reason });
  const session = new ServingSession({ answer: (request, signal) => dispatch(request, peer, connected, signal), violated }, connection);
  void session.ended.then((reason) => services.audit.line({ peer, event: 'disconnected', reason }));
  return session;
}

/** Has a request handled. The audit log has the request before anything is done, and the outcome before the answer. */
async function dispatch({ id, verb, body }: Request, peer: Peer, services: Connected, signal: AbortSignal): Promise<Answer> {
  const began = performance.now();
  const facts: Context['facts'] = 'knimeUser' in body ? { knime_user: body.knimeUser } : {};
  if (facts.knime_user !== undefined) services.audit.line({ peer, event: 'received', id, verb, ...facts });
  const answer = await (TABLE[verb] as Handler<Verb>)(body, { ...services, facts, signal }).catch((error) => {
    const { answer, ...why } = answerError(error);
    // A start beyond a limit has used no password: the direct launcher counts when it has the environment.
    Object.assign(facts, why, why.code === 'LIMIT_REACHED' && { credential: undefined });
    return answer;
  });
  const duration_ms = Math.round(performance.now() - began);
  services.audit.line({ peer, event: 'request', decision: answer.kind === 'error' ? 'refused' : 'done', id, verb, ...facts, duration_ms });
  return answer;
}
