import { mkdirSync } from 'node:fs';
import { StopMode } from '@kpx/protocol';
import { beforeAll, describe, expect, it } from 'vitest';
import { classesOf, documentedCommand, documentedRequest, observed } from '../fixtures/audit-document.js';
import { HelperConnection } from '../fixtures/helper-connection.js';
import { HelperInstallation } from '../fixtures/helper-installation.js';
import { RawAccounts } from '../fixtures/raw-accounts.js';
import { startTracing, type Trace } from '../fixtures/strace.js';

/*
 * What the helper does for each request, seen from the kernel, against what docs/audit.md says that it does. With systemd's launcher:
 * test/system/trace.test.ts.
 */

/** What executors run. */
const EXECUTOR = 'sleep';

const accounts = new RawAccounts();
let installation: HelperInstallation;
let connection: HelperConnection;

beforeAll(async () => {
  installation = new HelperInstallation();
  const homes = `${installation.srv}/homes`;
  mkdirSync(homes);
  // With everything that makes the helper ask for more.
  const directories = { home_parents: [homes], extra_acl: ['group:knime-admins:r-x'] };
  installation.writeHelperConfig({ accounts: { denied_groups: ['sudo'] }, directories });
  accounts.account('person', { home: `${homes}/person` });
  // As under its unit, which forbids io_uring: no file is read or written by it.
  mkdirSync(`${installation.etc}/audit`);
  const variables = [`LOGS_DIRECTORY=${installation.etc}`, `RUNTIME_DIRECTORY=${installation.etc}/audit`];
  await installation.startHelper({ wrap: ['/usr/bin/env', ...variables, 'UV_USE_IO_URING=0'] });
  connection = await HelperConnection.open(installation.socket);
  return async () => {
    await installation.endHelper();
    installation.removeDirectories();
    accounts.remove();
  };
});

/** What becomes visible while the helper does this, and after that until it waits again. */
async function traced(act: () => Promise<unknown>): Promise<Trace> {
  const stop = await startTracing(installation.helper?.pid ?? 0, `${installation.etc}/trace`);
  await act();
  return await stop();
}

const traces: Trace[] = [];

const stopped = (mode: StopMode) => async () => {
  const from = installation.helperLog.lines.length;
  expect(await connection.stop('person', mode)).toMatchObject({ kind: 'executorStopped' });
  await installation.helperLog.line({ event: 'executor ended' }, { from });
};

const answered = (kind: string, ask: () => Promise<unknown>) => async () => expect(await ask()).toMatchObject({ kind });

// In this order: each finds what the one before has left.
describe('for the request', () => {
  it.each<[request: string, act: () => Promise<unknown>]>([
    ['Hello', answered('hello', () => connection.hello())],
    ['PrepareUser of who may not', answered('error', () => connection.prepare('root'))],
    ['PrepareUser, nothing there yet', answered('userPrepared', () => connection.prepare('person'))],
    ['PrepareUser, all there', answered('userPrepared', () => connection.prepare('person'))],
    ['SpawnExecutor', answered('executorSpawned', () => connection.spawn('person'))],
    ['SpawnExecutor of one that runs', answered('executorSpawned', () => connection.spawn('person'))],
    ['ListExecutors', answered('executorPage', () => connection.list())],
    ['StopExecutor', stopped(StopMode.graceful)],
    ['SpawnExecutor', answered('executorSpawned', () => connection.spawn('person'))],
    ['StopExecutor, by force', stopped(StopMode.kill)],
  ])('%s: what docs/audit.md says, and nothing else', async (request, act) => {
    const trace = await traced(act);
    traces.push(trace);
    expect(observed(trace, EXECUTOR)).toEqual(documentedRequest(request, 'direct'));
  });
});

it.each(['getent', 'id', 'setpriv', 'cp', 'setfacl', 'getfacl'])('%s calls nothing but what docs/audit.md says', (command) => {
  const calls = traces.flatMap(({ programs }) => programs.filter(({ program }) => program === command).flatMap(({ calls }) => calls));
  // Accounts are in files here, and the name service's sockets are not answered: less than what there is to say.
  expect(documentedCommand(command)).toEqual(expect.arrayContaining(classesOf(calls)));
});
