import {
  decodeResponse,
  EXECUTORS_PER_PAGE,
  type ExecutorInfo,
  ExecutorState,
  encodeRequest,
  FINISH_MS_MAX,
  KpxError,
  osUserSchema,
  type PacketConnection,
  type PacketHandlers,
  PROTOCOL_VERSION,
  privhelperConfigSchema,
  REQUESTS_IN_FLIGHT_MAX,
  type Request,
  type Response,
  type Serving,
  SpawnOutcome,
  StopMode,
  type Verb,
  withMap,
} from '@kpx/protocol';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { judgeAccount } from './accounts.js';
import type { AuditLine } from './audit.js';
import type { Config } from './config.js';
import { prepareDirectories } from './directories.js';
import { serveBroker } from './dispatch.js';
import { executorEnvironment } from './environment.js';
import type { Launcher } from './launcher.js';

/*
 * How a session handles requests, with the account, the directories, the environment and the executor told by the test. The same with real ones:
 * test/integration/helper-session.test.ts.
 */
vi.mock('./accounts.js', async (original) => ({ ...(await original<typeof import('./accounts.js')>()), judgeAccount: vi.fn() }));
vi.mock('./directories.js');
vi.mock('./environment.js');

const PEER = { via: 'a test', connection: 7, pid: 42, uid: 995 };
const UID = 1_000;
const ENVIRONMENT = { LANG: 'C.UTF-8' };

const { accounts, ...others } = privhelperConfigSchema.parse({ executor: { profiles: { large: 'kpx-large@' }, max_executors: 17 } });
const config: Config = { ...others, accounts: withMap({ ...accounts, map: { al: 'alice' } }) };

const executorOf = (osUser: string): ExecutorInfo => ({
  osUser: osUserSchema.parse(osUser),
  uid: UID,
  knimeUsers: [],
  state: ExecutorState.running,
  sinceMs: 1,
  mainPid: 4_711,
  lastExit: '',
  cpuMs: 0,
});

const launcher = {
  fill: vi.fn<Launcher['fill']>(),
  start: vi.fn<Launcher['start']>(),
  stop: vi.fn<Launcher['stop']>(),
  list: vi.fn<Launcher['list']>(),
  stopAll: vi.fn(),
  msgqOf: vi.fn<Launcher['msgqOf']>(),
  passwords: new Map(),
};

beforeEach(() => {
  vi.resetAllMocks();
  vi.mocked(judgeAccount).mockImplementation(async (knimeUser) => {
    const osUser = osUserSchema.parse(knimeUser);
    return { osUser, uid: UID, gid: UID, home: `/home/${osUser}`, shell: '/bin/sh', knimeUsers: [knimeUser] };
  });
  vi.mocked(executorEnvironment).mockResolvedValue(ENVIRONMENT);
  launcher.start.mockImplementation(async ({ osUser }) => ({ outcome: SpawnOutcome.started, executor: executorOf(osUser) }));
  launcher.stop.mockResolvedValue(UID);
  launcher.list.mockResolvedValue([]);
});

/** A broker at the other end, that keeps what it gets. */
class Broker {
  readonly lines: AuditLine[] = [];
  readonly answers: Response[] = [];
  closedWhy: string | undefined;
  readonly session: PacketHandlers & Serving;
  #watch = () => {};

  constructor(configured = config) {
    const connection = {
      send: (packet: Buffer) => {
        this.answers.push(decodeResponse(packet));
        this.#watch();
      },
      close: (why: string) => {
        this.closedWhy ??= why;
      },
    } as unknown as PacketConnection;
    const audit = { line: (line: AuditLine) => void this.lines.push(line), ended: () => {}, info: () => {} };
    this.session = serveBroker({ config: configured, launcher, audit }, PEER, () => connection);
  }

  static async greeted(): Promise<Broker> {
    const broker = new Broker();
    await broker.ask('hello', { version: PROTOCOL_VERSION }, 1);
    return broker;
  }

  tell(verb: Verb, body: object, id: number): void {
    this.session.packet(encodeRequest({ id, verb, body } as Request));
  }

  async ask(verb: Verb, body: object, id = 2): Promise<Response> {
    this.tell(verb, body, id);
    return await this.answer(id);
  }

  async answer(id: number): Promise<Response> {
    return await new Promise((resolve) => {
      this.#watch = () => {
        const found = this.answers.find((answer) => answer.id === id);
        if (found) resolve(found);
      };
      this.#watch();
    });
  }

  get lastLine(): AuditLine | undefined {
    return this.lines.at(-1);
  }
}

const error = (id: number, code: string, message: string) => ({ id, kind: 'error', body: { code, message } });
const violation = (reason: string) => ({ peer: PEER, event: 'violation', decision: 'refused', reason });

/** A promise and what settles it. */
function gate(): { opened: Promise<void>; open: () => void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

describe('a connection', () => {
  const GONE = 'the peer closed the connection';

  it('is said in the audit log when it begins and when it ends', async () => {
    const broker = new Broker();
    expect(broker.lines).toEqual([{ peer: PEER, event: 'connected' }]);
    broker.session.closed(GONE);
    expect(await broker.session.ended).toBe(GONE);
    expect(broker.lastLine).toEqual({ peer: PEER, event: 'disconnected', reason: GONE });
  });

  it('has ended when what was under way is done and in the audit log, not before', async () => {
    const { opened, open } = gate();
    vi.mocked(prepareDirectories).mockReturnValue(opened);
    const broker = await Broker.greeted();
    broker.tell('spawnExecutor', { knimeUser: 'alice', profile: 'default' }, 2);
    broker.tell('prepareUser', { knimeUser: 'bob' }, 3);
    broker.session.closed(GONE);
    const ended = vi.fn();
    void broker.session.ended.then(ended);
    await vi.waitFor(() => expect(prepareDirectories).toHaveBeenCalledTimes(2));
    expect(ended).not.toHaveBeenCalled();
    open();
    await broker.session.ended;
    const requests = broker.lines.slice(-3, -1);
    expect(requests.map(({ verb, decision }) => [verb, decision]).sort()).toEqual([
      ['prepareUser', 'done'],
      ['spawnExecutor', 'done'],
    ]);
    expect(broker.lastLine).toEqual({ peer: PEER, event: 'disconnected', reason: GONE });
  });

  it('has ended in spite of what never will, and says so in the audit log', async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    vi.mocked(prepareDirectories).mockReturnValue(new Promise(() => {}));
    const broker = await Broker.greeted();
    broker.tell('prepareUser', { knimeUser: 'stuck' }, 2); // whose turn it is for ever
    const WAITED_MS = 5_000;
    await vi.advanceTimersByTimeAsync(WAITED_MS);
    broker.session.closed(GONE);
    await vi.advanceTimersByTimeAsync(FINISH_MS_MAX - WAITED_MS - 1);
    expect(broker.lastLine).not.toMatchObject({ event: 'disconnected' });
    await vi.advanceTimersByTimeAsync(1);
    expect(broker.lastLine).toEqual({ peer: PEER, event: 'disconnected', reason: `${GONE}; not finished in time: 1` });
  });

  it('has ended at once where what never will is late already', async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    vi.mocked(prepareDirectories).mockReturnValue(new Promise(() => {}));
    const broker = await Broker.greeted();
    broker.tell('prepareUser', { knimeUser: 'stuck2' }, 2);
    await vi.advanceTimersByTimeAsync(2 * FINISH_MS_MAX);
    broker.session.closed(GONE);
    await vi.advanceTimersByTimeAsync(1);
    expect(await broker.session.ended).toBe(`${GONE}; not finished in time: 1`);
  });

  it('ends when it is told to', async () => {
    const broker = await Broker.greeted();
    broker.session.end();
    expect(broker.closedWhy).toBe('the helper ends');
  });

  it('begins with Hello, which is answered with version, limits and profiles', async () => {
    const broker = new Broker();
    expect(await broker.ask('hello', { version: PROTOCOL_VERSION }, 9)).toEqual({
      id: 9,
      kind: 'hello',
      body: { version: PROTOCOL_VERSION, profiles: ['default', 'large'], foldsCase: true },
    });
    expect(broker.lastLine).toMatchObject({ peer: PEER, event: 'request', decision: 'done', id: 9, verb: 'hello' });
    expect(broker.closedWhy).toBeUndefined();
  });

  it('says in it whether names that differ in case alone are one user’s', async () => {
    const broker = new Broker({ ...config, accounts: { ...config.accounts, case: 'keep' } });
    expect((await broker.ask('hello', { version: PROTOCOL_VERSION }, 9)).body).not.toHaveProperty('foldsCase');
  });

  it('with a broker of another version ends after an answer', async () => {
    const broker = new Broker();
    const message = `the helper speaks version ${PROTOCOL_VERSION} of the protocol, the broker version ${PROTOCOL_VERSION + 1}`;
    expect(await broker.ask('hello', { version: PROTOCOL_VERSION + 1 }, 1)).toEqual(error(1, 'VERSION_MISMATCH', message));
    expect(broker.lastLine).toMatchObject({ decision: 'refused', code: 'VERSION_MISMATCH', reason: message });
    expect(broker.closedWhy).toMatch(/speaks another version$/);
    // Bytes that had been read before the end are no request either.
    broker.tell('listExecutors', { page: 1 }, 2);
    expect(broker.lastLine).toEqual(violation('listExecutors out of order'));
  });

  it.each([
    ['another request than Hello', async () => new Broker(), 'listExecutors', { page: 1 }],
    ['a second Hello', Broker.greeted, 'hello', { version: PROTOCOL_VERSION }],
  ] as const)('ends with %s out of order', async (_, open, verb, body) => {
    const broker = await open();
    broker.tell(verb, body, 3);
    expect(broker.lastLine).toEqual(violation(`${verb} out of order`));
    expect(broker.closedWhy).toBe('protocol violation');
  });

  it.each(['hello', 'listExecutors'] as const)('ends with %s before Hello is answered', (verb) => {
    const broker = new Broker();
    broker.tell('hello', { version: PROTOCOL_VERSION }, 1);
    broker.tell(verb, verb === 'hello' ? { version: PROTOCOL_VERSION } : { page: 1 }, 2);
    expect(broker.lastLine).toEqual(violation(`${verb} out of order`));
    expect(broker.closedWhy).toBe('protocol violation');
  });

  it('ends with a packet that does not decode', async () => {
    const broker = await Broker.greeted();
    broker.session.packet(Buffer.from([0xff]));
    expect(broker.lastLine).toEqual(violation('a packet that is not protobuf'));
    expect(broker.closedWhy).toBe('protocol violation');
  });

  it('does not take a defect of ours for a violation of the peer’s', async () => {
    const broker = await Broker.greeted();
    expect(() => broker.session.packet(undefined as never)).toThrow(TypeError);
    expect(broker.closedWhy).toBeUndefined();
  });

  it('ends with an id that is in flight, not with one that has been answered', async () => {
    const broker = await Broker.greeted();
    await broker.ask('listExecutors', { page: 1 }, 1);
    broker.tell('listExecutors', { page: 1 }, 2);
    expect(broker.closedWhy).toBeUndefined();
    broker.tell('prepareUser', { knimeUser: 'alice' }, 2);
    expect(broker.lastLine).toEqual(violation('prepareUser with the id of a request in flight'));
  });

  it('ends with more requests in flight than it was told, not with as many', async () => {
    const broker = await Broker.greeted();
    const ids = Array.from({ length: REQUESTS_IN_FLIGHT_MAX }, (_, index) => index + 2);
    for (const id of ids) broker.tell('listExecutors', { page: 1 }, id);
    expect(broker.closedWhy).toBeUndefined();
    for (const id of ids) await broker.answer(id);
    for (const id of ids) broker.tell('listExecutors', { page: 1 }, id);
    broker.tell('listExecutors', { page: 1 }, 1_000);
    expect(broker.lastLine).toEqual(violation(`more than ${REQUESTS_IN_FLIGHT_MAX} requests in flight`));
  });
});

describe('PrepareUser', () => {
  it('says what was made, to the broker and to the audit log', async () => {
    vi.mocked(prepareDirectories).mockImplementation(
      async (_account, _config, _launcher, created) => void created.push('workspace', 'temp'),
    );
    const broker = await Broker.greeted();
    const began = performance.now();
    expect(await broker.ask('prepareUser', { knimeUser: 'alice' })).toEqual({
      id: 2,
      kind: 'userPrepared',
      body: { osUser: 'alice', uid: UID, created: ['workspace', 'temp'] },
    });
    expect(broker.lastLine?.duration_ms).toBeLessThanOrEqual(Math.ceil(performance.now() - began));
    expect(broker.lastLine).toEqual({
      peer: PEER,
      event: 'request',
      decision: 'done',
      id: 2,
      verb: 'prepareUser',
      knime_user: 'alice',
      os_user: 'alice',
      uid: UID,
      created: ['workspace', 'temp'],
      duration_ms: expect.any(Number),
    });
    expect(judgeAccount).toHaveBeenCalledWith('alice', config.accounts, expect.any(AbortSignal));
    expect(prepareDirectories).toHaveBeenCalledWith(
      expect.objectContaining({ osUser: 'alice' }),
      config.directories,
      launcher,
      ['workspace', 'temp'],
      expect.any(AbortSignal),
    );
    expect(launcher.start).not.toHaveBeenCalled();
  });

  it('that fails half-way says to the audit log what was made before', async () => {
    vi.mocked(prepareDirectories).mockImplementation(async (_account, _config, _launcher, created) => {
      created.push('home');
      throw new KpxError('DIRECTORY_FAILED', 'no space');
    });
    const broker = await Broker.greeted();
    expect(await broker.ask('prepareUser', { knimeUser: 'alice' })).toEqual(error(2, 'DIRECTORY_FAILED', 'no space'));
    expect(broker.lastLine).toMatchObject({ decision: 'refused', created: ['home'], code: 'DIRECTORY_FAILED', reason: 'no space' });
    expect(broker.closedWhy).toBeUndefined();
  });

  it('of a refused account does nothing', async () => {
    vi.mocked(judgeAccount).mockRejectedValue(new KpxError('ACCOUNT_DENIED', 'no'));
    const broker = await Broker.greeted();
    expect(await broker.ask('prepareUser', { knimeUser: 'root' })).toEqual(error(2, 'ACCOUNT_DENIED', 'no'));
    expect(broker.lastLine).toMatchObject({ decision: 'refused', knime_user: 'root', code: 'ACCOUNT_DENIED' });
    expect(broker.lastLine).not.toHaveProperty('os_user');
    expect(prepareDirectories).not.toHaveBeenCalled();
  });
});

describe('SpawnExecutor', () => {
  it('prepares, then starts under the profile', async () => {
    const broker = await Broker.greeted();
    const executor = executorOf('alice');
    expect(await broker.ask('spawnExecutor', { knimeUser: 'alice', profile: 'large' })).toEqual({
      id: 2,
      kind: 'executorSpawned',
      body: { outcome: SpawnOutcome.started, executor },
    });
    const alice = expect.objectContaining({ osUser: 'alice' });
    expect(executorEnvironment).toHaveBeenCalledWith(alice, config);
    expect(launcher.start).toHaveBeenCalledWith(alice, 'large', expect.any(Function), expect.any(AbortSignal));
    expect(await launcher.start.mock.calls[0]?.[2]()).toEqual(ENVIRONMENT);
    expect(vi.mocked(prepareDirectories).mock.invocationCallOrder[0]).toBeLessThan(launcher.start.mock.invocationCallOrder[0] ?? 0);
    expect(broker.lastLine).toMatchObject({ decision: 'done', os_user: 'alice', uid: UID, outcome: 'started, pid 4711' });
  });

  it('of one that runs says so', async () => {
    launcher.start.mockResolvedValue({ outcome: SpawnOutcome.alreadyRunning, executor: executorOf('alice') });
    const broker = await Broker.greeted();
    await broker.ask('spawnExecutor', { knimeUser: 'alice', profile: 'default' });
    expect(broker.lastLine).toMatchObject({ decision: 'done', outcome: 'already running, pid 4711' });
  });

  it('under a profile that does not exist is refused before anything is done', async () => {
    const broker = await Broker.greeted();
    const message = 'there is no executor profile "constructor"';
    expect(await broker.ask('spawnExecutor', { knimeUser: 'alice', profile: 'constructor' })).toEqual(error(2, 'PROFILE_UNKNOWN', message));
    expect(judgeAccount).not.toHaveBeenCalled();
  });

  it('starts nothing where the directories are not as they must be', async () => {
    vi.mocked(prepareDirectories).mockRejectedValue(new KpxError('DIRECTORY_UNSAFE', 'a link'));
    const broker = await Broker.greeted();
    expect(await broker.ask('spawnExecutor', { knimeUser: 'alice', profile: 'default' })).toEqual(error(2, 'DIRECTORY_UNSAFE', 'a link'));
    expect(launcher.start).not.toHaveBeenCalled();
    expect(broker.lastLine).not.toHaveProperty('outcome');
  });

  it('makes and starts nothing where there is no environment for the executor', async () => {
    vi.mocked(executorEnvironment).mockRejectedValue(new KpxError('LAUNCH_FAILED', 'no URL'));
    const broker = await Broker.greeted();
    expect(await broker.ask('spawnExecutor', { knimeUser: 'alice', profile: 'default' })).toEqual(error(2, 'LAUNCH_FAILED', 'no URL'));
    expect(prepareDirectories).not.toHaveBeenCalled();
    expect(launcher.start).not.toHaveBeenCalled();
  });

  it('is one at a time for one account, on all connections together, also after one that failed', async () => {
    const [first, second] = [gate(), gate()];
    const ofAlice = vi.fn();
    vi.mocked(prepareDirectories).mockImplementation(async ({ osUser }) => {
      if (osUser !== 'alice') return;
      ofAlice();
      await (ofAlice.mock.calls.length === 1 ? first : second).opened;
      if (ofAlice.mock.calls.length === 1) throw new KpxError('DIRECTORY_FAILED', 'no space');
    });
    const [broker, other] = [await Broker.greeted(), await Broker.greeted()];
    broker.tell('spawnExecutor', { knimeUser: 'alice', profile: 'default' }, 2);
    other.tell('spawnExecutor', { knimeUser: 'alice', profile: 'default' }, 2);
    // Another account's is done meanwhile.
    expect(await broker.ask('spawnExecutor', { knimeUser: 'bob', profile: 'default' }, 4)).toMatchObject({ kind: 'executorSpawned' });
    broker.tell('stopExecutor', { knimeUser: 'alice', mode: StopMode.kill }, 3);
    expect(ofAlice).toHaveBeenCalledTimes(1);
    first.open();
    expect(await broker.answer(2)).toMatchObject({ kind: 'error' });
    await vi.waitFor(() => expect(ofAlice).toHaveBeenCalledTimes(2));
    other.tell('stopExecutor', { knimeUser: 'alice', mode: StopMode.kill }, 3);
    expect(await broker.ask('stopExecutor', { knimeUser: 'bob', mode: StopMode.kill }, 5)).toMatchObject({ kind: 'executorStopped' });
    expect(launcher.stop).toHaveBeenCalledTimes(1);
    second.open();
    expect(await other.answer(2)).toMatchObject({ kind: 'executorSpawned' });
    expect(await broker.answer(3)).toMatchObject({ kind: 'executorStopped' });
  });
});

describe('StopExecutor', () => {
  it.each([
    ['graceful', 'asked to end'],
    ['kill', 'killed'],
  ] as const)('(%s) goes by the name alone, without a judgement', async (mode, outcome) => {
    const broker = await Broker.greeted();
    expect(await broker.ask('stopExecutor', { knimeUser: 'AL', mode: StopMode[mode] })).toEqual({
      id: 2,
      kind: 'executorStopped',
      body: { osUser: 'alice', uid: UID },
    });
    expect(launcher.stop).toHaveBeenCalledWith('alice', StopMode[mode], expect.any(AbortSignal));
    expect(judgeAccount).not.toHaveBeenCalled();
    expect(broker.lastLine).toMatchObject({ knime_user: 'AL', os_user: 'alice', uid: UID, outcome });
  });

  it('of none that runs is refused', async () => {
    launcher.stop.mockRejectedValue(new KpxError('NOT_RUNNING', 'none'));
    const broker = await Broker.greeted();
    expect(await broker.ask('stopExecutor', { knimeUser: 'alice', mode: StopMode.kill })).toEqual(error(2, 'NOT_RUNNING', 'none'));
    expect(broker.lastLine).toMatchObject({ decision: 'refused', os_user: 'alice', code: 'NOT_RUNNING' });
    expect(broker.lastLine).not.toHaveProperty('outcome');
  });
});

describe('ListExecutors', () => {
  const everybody = Array.from({ length: 2 * EXECUTORS_PER_PAGE }, (_, index) => executorOf(`user${index}`));

  it('has pages of one moment, whatever other connections ask for: PID 1 is asked once for all of them', async () => {
    launcher.list.mockReset().mockResolvedValueOnce(everybody).mockResolvedValue([]);
    const broker = await Broker.greeted();
    const pageOf = async (id: number, page: number) => await broker.ask('listExecutors', { page }, id);
    const answer = (id: number, executors: readonly object[], more: boolean) => ({ id, kind: 'executorPage', body: { executors, more } });
    expect(await pageOf(2, 1)).toEqual(answer(2, everybody.slice(0, EXECUTORS_PER_PAGE), true));
    expect(broker.lastLine).toEqual({
      peer: PEER,
      event: 'request',
      decision: 'done',
      id: 2,
      verb: 'listExecutors',
      duration_ms: expect.any(Number),
    });
    expect(launcher.list).toHaveBeenCalledTimes(1);
    await (await Broker.greeted()).ask('listExecutors', { page: 1 });
    expect(await pageOf(3, 2)).toEqual(answer(3, everybody.slice(EXECUTORS_PER_PAGE), false));
    expect(await pageOf(4, 3)).toEqual(answer(4, [], false));
    expect(launcher.list).toHaveBeenCalledTimes(2);
    expect(await pageOf(5, 1)).toEqual(answer(5, [], false));
  });
});

describe('what was not foreseen', () => {
  it.each([
    ['an error', new TypeError('of nothing'), /^TypeError: of nothing\n +at /],
    ['no error', 'text', /^text$/],
  ])('(%s) is said in full to the audit log only', async (_, thrown, reason) => {
    launcher.list.mockRejectedValue(thrown);
    const broker = await Broker.greeted();
    const message = 'the helper met an error it does not know; its audit log says more';
    expect(await broker.ask('listExecutors', { page: 1 })).toEqual(error(2, 'INTERNAL', message));
    expect(broker.lastLine).toMatchObject({ decision: 'refused', code: 'INTERNAL', reason: expect.stringMatching(reason) });
  });
});
