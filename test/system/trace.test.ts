import type { ChildProcess } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { decodeResponse, encodeRequest, PROTOCOL_VERSION, type Request, StopMode } from '@kpx/protocol';
import { beforeAll, describe, expect, it } from 'vitest';
import { classesOf, documentedCommand, documentedRequest, observed } from '../fixtures/audit-document.js';
import { SOCKET } from '../fixtures/booted/kpx.js';
import { eventually } from '../fixtures/eventually.js';
import { readTrace, STRACE, type SystemCall, type Trace, tracerOf } from '../fixtures/strace.js';
import { withKpx } from './kpx-of-file.js';
import { bootedLdap, bootedMachine } from './shared-machine.js';

/*
 * What the helper does for each request where PID 1 starts it and it has PID 1 start the executors, seen from the kernel, against what
 * docs/audit.md says that it does. With the direct launcher: test/integration/helper-trace.test.ts.
 */

const machine = bootedMachine();
const ldap = bootedLdap();
/** Nobody else's: there must be nothing of theirs yet. */
const USER = 'trace';
const UID = 23_010;
const TRACE_FILE = '/run/kpx-test-trace';
const UNTRACED = 0;

let helperPid = 0;
let peer: ChildProcess;
let answers: AsyncIterator<string>;

beforeAll(async () => {
  await ldap.addUser(USER, { uid: UID });
  const helper = { accounts: { denied_groups: ['denied-people'] }, directories: { extra_acl: ['group:physics:r-x'] } };
  const endKpx = await withKpx({ helper }, async (kpx) => {
    await machine.systemctl('start', SOCKET); // and no broker: its place is taken here
    await kpx.mark();
    peer = await machine.start(['/usr/bin/node', `${machine.facts.checkout}/test/fixtures/booted/attacker.mjs`], { user: 'kpx-broker' });
    const lines: Interface = createInterface({ input: peer.stdout ?? process.stdin });
    answers = lines[Symbol.asyncIterator]();
    await kpx.helperSays({ msg: 'serving one connection' });
    const [unit = ''] = (await machine.systemctl('list-units', '--plain', '--no-legend', 'kpx-privhelper@*')).split(' ');
    helperPid = Number((await machine.show(unit, 'MainPID')).MainPID);
  });
  return async () => {
    peer.stdin?.end();
    await endKpx();
    await machine.remove(TRACE_FILE);
    await ldap.deleteUser(USER);
  };
});

let lastId = 0;

async function ask(request: object) {
  peer.stdin?.write(`${encodeRequest({ id: ++lastId, ...request } as Request).toString('hex')}\n`);
  const { value } = await answers.next();
  return decodeResponse(Buffer.from(value, 'hex'));
}

/** What the helper does for one request. */
async function traced(act: () => Promise<unknown>): Promise<Trace> {
  const strace = machine.run([...STRACE, `--output=${TRACE_FILE}`, `--attach=${helperPid}`], { allowFailure: true });
  const tracers = async () => {
    const { stdout } = await machine.run(['/usr/bin/cat', '--', ...(await threads())]);
    return stdout.split(/^(?=Name:)/m).map(tracerOf);
  };
  const [tracer] = await eventually('the helper is traced', async () => {
    const found = await tracers();
    return found.every((pid) => pid !== UNTRACED) && found;
  });
  await act();
  await machine.run(['/usr/bin/kill', '-INT', `${tracer}`]);
  await strace;
  return readTrace(await machine.readFile(TRACE_FILE));
}

/** The status of each of the helper's threads. */
async function threads(): Promise<string[]> {
  const { stdout } = await machine.run(['/usr/bin/find', `/proc/${helperPid}/task`, '-maxdepth', '2', '-name', 'status']);
  return stdout.trimEnd().split('\n');
}

const traces: Trace[] = [];
const knimeUser = USER;

// In this order: each finds what the one before has left.
describe('for the request', () => {
  it.each<[request: string, kind: string, body: object]>([
    ['Hello', 'hello', { verb: 'hello', body: { version: PROTOCOL_VERSION } }],
    ['PrepareUser of who may not', 'error', { verb: 'prepareUser', body: { knimeUser: 'root' } }],
    ['PrepareUser, nothing there yet', 'userPrepared', { verb: 'prepareUser', body: { knimeUser } }],
    ['PrepareUser, all there', 'userPrepared', { verb: 'prepareUser', body: { knimeUser } }],
    ['SpawnExecutor', 'executorSpawned', { verb: 'spawnExecutor', body: { knimeUser, profile: 'default' } }],
    ['SpawnExecutor of one that runs', 'executorSpawned', { verb: 'spawnExecutor', body: { knimeUser, profile: 'default' } }],
    ['ListExecutors', 'executorPage', { verb: 'listExecutors', body: { page: 1 } }],
    ['StopExecutor, by force', 'executorStopped', { verb: 'stopExecutor', body: { knimeUser, mode: StopMode.kill } }],
    ['SpawnExecutor', 'executorSpawned', { verb: 'spawnExecutor', body: { knimeUser, profile: 'default' } }],
    ['StopExecutor', 'executorStopped', { verb: 'stopExecutor', body: { knimeUser, mode: StopMode.graceful } }],
  ])('%s: what docs/audit.md says, and nothing else', async (request, kind, body) => {
    const trace = await traced(async () => expect(await ask(body)).toMatchObject({ kind }));
    traces.push(trace);
    expect(observed(trace)).toEqual(documentedRequest(request, 'systemd'));
  });
});

it.each(['getent', 'id', 'setfacl', 'getfacl', 'systemctl'])('%s calls what docs/audit.md says, and nothing else', (command) => {
  const calls = traces.flatMap(({ programs }) => programs.filter(({ program }) => program === command).flatMap(({ calls }) => calls));
  expect(classesOf(calls)).toEqual(documentedCommand(command));
});

it('is refused nothing by its unit, and its commands nothing that they need: systemctl asks for more buffers and descriptors than it gets', () => {
  // No socket can have such a mark: the kernel refuses it to everybody.
  const marksSocket = ({ name, args }: SystemCall) => name === 'fsetxattr' && /^\d+<(socket|UNIX).*"user\./.test(args);
  const refused = (calls: readonly SystemCall[]) =>
    calls.filter((call) => call.result === '-1 EPERM' && !marksSocket(call)).map(({ name }) => name);
  expect(traces.flatMap(({ own }) => refused(own))).toEqual([]);
  const ofCommands = traces.flatMap(({ programs }) =>
    programs.flatMap(({ program, calls }) => refused(calls).map((call) => `${program} ${call}`)),
  );
  expect([...new Set(ofCommands)].sort()).toEqual(['systemctl prlimit64', 'systemctl setsockopt']);
});
