import { closeSync, openSync, rmSync } from 'node:fs';
import { encodeRequest, type KnimeUser, PROTOCOL_VERSION, REQUESTS_IN_FLIGHT_MAX, type Request } from '@kpx/protocol';
import { describe, expect, it, onTestFinished } from 'vitest';
import { HelperConnection } from '../fixtures/helper-connection.js';
import { isGone } from '../fixtures/process.js';
import { installHelper, rawAccounts, refusal, startHelper, waitingLookUp } from './installed-helper.js';

/** A helper that listens, and a connection on which nothing has been said yet. */
async function silentConnection() {
  const installation = installHelper();
  await installation.startHelper();
  return { installation, connection: await HelperConnection.open(installation.socket) };
}

const packet = (request: object) => encodeRequest(request as Request);
const HELLO = packet({ id: 1, verb: 'hello', body: { version: PROTOCOL_VERSION } });

describe('Hello', () => {
  it('answers version, limits and profiles', async () => {
    const { connection } = await silentConnection();
    const body = { version: PROTOCOL_VERSION, profiles: ['default'], foldsCase: true };
    expect(await connection.hello()).toEqual({ id: 1, kind: 'hello', body });
  });

  it('of another version is answered with a typed error, then the connection is closed', async () => {
    const { connection, installation } = await silentConnection();
    expect(await connection.hello(PROTOCOL_VERSION + 1)).toEqual(
      refusal(
        'VERSION_MISMATCH',
        `the helper speaks version ${PROTOCOL_VERSION} of the protocol, the broker version ${PROTOCOL_VERSION + 1}`,
      ),
    );
    expect(await connection.closed).toBe('the peer closed the connection');
    expect(await installation.helperLog.line({ verb: 'hello' })).toMatchObject({ decision: 'refused', code: 'VERSION_MISMATCH' });
  });
});

describe('requests in flight', () => {
  it('may be as many as Hello says, and are answered each under its id', async () => {
    const { connection } = await startHelper();
    const ids = Array.from({ length: REQUESTS_IN_FLIGHT_MAX }, (_, index) => 1_000 + index);
    const answers = await Promise.all(ids.map((id) => connection.ask('prepareUser', { knimeUser: 'alice' as KnimeUser }, id)));
    expect(answers.map(({ id, kind }) => [id, kind])).toEqual(ids.map((id) => [id, 'userPrepared']));
  });

  it('may have an id again that has been answered', async () => {
    const { connection } = await startHelper();
    for (let round = 0; round < 3; round++) expect(await connection.ask('listExecutors', { page: 1 }, 7)).toMatchObject({ id: 7 });
  });

  it('are finished and audited when their broker vanishes, and the next broker is served', async () => {
    const { connection, installation } = await startHelper();
    const executor = connection.spawned('alice').catch((error: Error) => error.message);
    connection.close();
    expect(await executor).toBe('no answer to spawnExecutor: the test is done');
    await installation.helperLog.line({ event: 'disconnected' });
    const next = await HelperConnection.greeted(installation.socket);
    expect(await next.prepare('bob')).toMatchObject({ kind: 'userPrepared' });
    expect(await installation.helperLog.line({ event: 'request', knime_user: 'alice' })).toMatchObject({ decision: 'done' });
    expect(await next.list()).toMatchObject({ body: { executors: [{ osUser: 'alice' }] } });
  });

  it('are finished and audited when the helper is told to end', async () => {
    const installation = installHelper();
    const lookUp = waitingLookUp(installation, 'alice');
    await installation.startHelper({ wrap: lookUp.wrap });
    const connection = await HelperConnection.greeted(installation.socket);
    const other = await HelperConnection.greeted(installation.socket);
    connection.prepare('alice').catch(() => {}); // nobody waits for the answer
    const goOn = await lookUp.begun();
    const code = installation.endHelper();
    await installation.helperLog.line({ msg: 'SIGTERM: ending' });
    await Promise.all([connection.closed, other.closed]);
    await goOn();
    expect(await code).toBe(0);
    const requests = installation.helperLog.lines.filter(({ event, verb }) => event === 'request' && verb === 'prepareUser');
    expect(requests).toMatchObject([{ decision: 'done', os_user: 'alice', created: expect.arrayContaining(['workspace', 'temp']) }]);
  });
});

describe('further connections', () => {
  it('are served beside the first, of the same executors', async () => {
    const { connection, installation } = await startHelper();
    const second = await HelperConnection.greeted(installation.socket);
    const executors = await Promise.all([connection.spawned('alice'), second.spawned('alice')]);
    expect(executors[0].mainPid).toBe(executors[1].mainPid);
  });

  it('are refused from the seventeenth, until one has ended; the others go on', async () => {
    const { connection, installation } = await startHelper();
    for (let count = 2; count <= 16; count++) await HelperConnection.greeted(installation.socket);
    const refused = await HelperConnection.open(installation.socket);
    refused.send(HELLO);
    await refused.closed;
    expect(refused.unclaimed).toEqual([]);
    expect(await installation.helperLog.line({ event: 'refused connection' })).toMatchObject({
      decision: 'refused',
      peer: { connection: 17 },
      reason: '16 connections are open',
    });
    expect(await connection.prepare('alice')).toMatchObject({ kind: 'userPrepared' });
    connection.close();
    await installation.helperLog.line({ event: 'disconnected' });
    await HelperConnection.greeted(installation.socket);
  });
});

describe('the audit log', () => {
  it('has a line for every request: who, what, for whom, what became of it and how long it took', async () => {
    const { connection, installation } = await startHelper();
    const { uid, home } = rawAccounts().account('audited');
    onTestFinished(() => rmSync(home, { recursive: true }));
    await connection.prepare('Audited');
    await connection.spawn('audited');
    await connection.spawn('audited');
    await connection.prepare('root');
    await connection.prepare('no-such-user');
    await connection.spawn('audited', 'huge');
    await connection.stop('audited');
    await connection.list();
    await installation.helperLog.line({ event: 'request', verb: 'listExecutors' });
    const created = ['home', 'workspace', 'temp'];
    const person = { knime_user: 'audited', os_user: 'audited', uid };
    const lines = installation.helperLog.lines.filter(({ event }) => event === 'request');
    expect(lines).toMatchObject([
      { verb: 'hello', decision: 'done' },
      { verb: 'prepareUser', decision: 'done', ...person, knime_user: 'Audited', created },
      { verb: 'spawnExecutor', decision: 'done', ...person, created: [], outcome: expect.stringMatching(/^started, pid \d+$/) },
      { verb: 'spawnExecutor', decision: 'done', ...person, created: [], outcome: expect.stringMatching(/^already running, pid \d+$/) },
      { verb: 'prepareUser', decision: 'refused', knime_user: 'root', code: 'ACCOUNT_DENIED', reason: expect.stringContaining('root') },
      { verb: 'prepareUser', decision: 'refused', knime_user: 'no-such-user', code: 'ACCOUNT_UNKNOWN' },
      {
        verb: 'spawnExecutor',
        decision: 'refused',
        knime_user: 'audited',
        code: 'PROFILE_UNKNOWN',
        reason: expect.stringContaining('huge'),
      },
      { verb: 'stopExecutor', decision: 'done', ...person, outcome: 'asked to end' },
      { verb: 'listExecutors', decision: 'done' },
    ]);
    for (const line of lines) {
      expect(line).toMatchObject({
        id: expect.any(Number),
        peer: { via: installation.socket, connection: 1 },
        duration_ms: expect.any(Number),
      });
      expect(Date.parse(String(line.time))).toBeGreaterThan(Date.now() - 60_000);
    }
  });

  it('is one JSON object a line, whatever a message holds', async () => {
    const installation = installHelper();
    const wrap = installation.inPlaceOf('/usr/bin/setfacl', String.raw`printf 'two\nlines "and" \033[2J\n' >&2; exit 1`);
    await installation.startHelper({ wrap });
    let text = '';
    installation.helper?.stdout?.on('data', (chunk: string) => {
      text += chunk;
    });
    const connection = await HelperConnection.greeted(installation.socket);
    const message = 'the ACL could not be set: two\nlines "and" \u001b[2J';
    expect(await connection.prepare('alice')).toEqual(refusal('DIRECTORY_FAILED', message));
    await installation.endHelper();
    const lines = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(lines).toContainEqual(expect.objectContaining({ reason: message }));
    expect(text).not.toContain('\u001b');
  });

  it('that cannot be written any more ends the helper, with its executors, before it answers', async () => {
    const { connection, installation } = await startHelper();
    const { mainPid } = await connection.spawned('alice');
    const ended = new Promise((resolve) => installation.helper?.once('exit', (code, signal) => resolve({ code, signal })));
    installation.helper?.stdout?.destroy();
    await expect(connection.prepare('bob')).rejects.toThrow('no answer to prepareUser: the peer closed the connection');
    expect(await ended).toEqual({ code: 74, signal: null });
    await expect.poll(() => isGone(mainPid)).toBe(true);
  });

  it('that cannot be written at the start ends the helper before it listens', async () => {
    const installation = installHelper();
    const full = openSync('/dev/full', 'w');
    onTestFinished(() => closeSync(full));
    expect(await installation.runHelper(['--listen', installation.socket], { stdio: ['ignore', full, 'pipe'] })).toMatchObject({
      code: 74,
      stderr: expect.stringContaining('the audit log cannot be written: ENOSPC'),
    });
  });
});
