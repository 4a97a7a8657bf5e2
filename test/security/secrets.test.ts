import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import type { ErrorCode } from '@kpx/protocol';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { BROKER_ACCOUNT } from '../fixtures/accounts.js';
import { eventually } from '../fixtures/eventually.js';
import type { HelperConnection } from '../fixtures/helper-connection.js';
import { HelperInstallation, idsOf } from '../fixtures/helper-installation.js';
import { argumentsOf, childrenOf, environmentOf } from '../fixtures/process.js';
import { refusal } from '../integration/installed-helper.js';
import { Attacker } from './attacker.js';
import { Target } from './target.js';

/*
 * The password in the MSGQ URL, which the broker never has, and what else of the helper and of an executor others might read or change. Unit
 * properties, the journal, core dumps and every file of a booted machine: test/system/secrets.test.ts.
 */

const SECRET = randomBytes(18).toString('base64url');
const MSGQ = `amqp://executor:${SECRET}@127.0.0.1:5672/knime`;
/** Whose executor has the secret, and may know it. */
const OWNER = 'alice';
const STRANGERS = [BROKER_ACCOUNT, 'bob', 'mallory'];

let target: Target;
const attackers = new Map<string, Attacker>();
const attackerOf = (account: string) => attackers.get(account) ?? target.attacker;

async function useAttackers(): Promise<() => Promise<void>> {
  for (const account of [OWNER, 'bob', 'mallory']) attackers.set(account, await Attacker.as(account));
  for (const { pid } of attackers.values()) target.bystanders.add(pid);
  return async () => {
    for (const attacker of attackers.values()) await attacker.end();
    await target.end();
  };
}

describe('while an executor runs', () => {
  let connection: HelperConnection;
  let mainPid = 0;

  beforeAll(async () => {
    target = await Target.start({ msgq: MSGQ });
    return await useAttackers();
  });
  afterEach(async () => {
    await target.stopped(connection, OWNER);
    await target.canary();
  });

  async function running(): Promise<void> {
    connection = await target.greeted();
    ({ mainPid } = await connection.spawned(OWNER));
    await expect.poll(() => environmentOf(mainPid).KNIME_EXECUTOR_MSGQ).toBe(MSGQ); // at first it is still setpriv
  }

  it.each(STRANGERS)('%s finds the password in nothing that /proc shows of any process', async (account) => {
    await running();
    const { value } = await attackerOf(account).tries('search', SECRET);
    expect(value).toEqual({ found: [], read: expect.any(Number) });
    expect((value as { read: number }).read).toBeGreaterThan(20);
  });

  it('its user finds it in the environment of the executor alone', async () => {
    await running();
    expect(await attackerOf(OWNER).tries('search', SECRET)).toMatchObject({ value: { found: [`/proc/${mainPid}/environ`] } });
  });

  /** What is tried, and on what. */
  const ATTEMPTS: readonly (readonly [operation: string, what: string, path: (it: HelperInstallation) => string])[] = [
    ['read', 'the helper’s environment', () => `/proc/${target.pid}/environ`],
    ['read', 'the helper’s memory', () => `/proc/${target.pid}/mem`],
    ['read', 'the helper’s memory map', () => `/proc/${target.pid}/maps`],
    ['list', 'the helper’s descriptors', () => `/proc/${target.pid}/fd`],
    ['read', 'what a system call of the helper is about', () => `/proc/${target.pid}/syscall`],
    ['link', 'the helper’s root', () => `/proc/${target.pid}/root`],
    ['write', 'the helper’s memory', () => `/proc/${target.pid}/mem`],
    ['write', 'the helper’s score for the lack of memory', () => `/proc/${target.pid}/oom_score_adj`],
    ['read', 'the executor’s environment', () => `/proc/${mainPid}/environ`],
    ['read', 'the executor’s memory', () => `/proc/${mainPid}/mem`],
    ['list', 'the executor’s descriptors', () => `/proc/${mainPid}/fd`],
    ['link', 'the executor’s working directory', () => `/proc/${mainPid}/cwd`],
    ['read', 'the MSGQ file', ({ msgqFile }) => msgqFile],
    ['write', 'the MSGQ file', ({ msgqFile }) => msgqFile],
    ['remove', 'the MSGQ file', ({ msgqFile }) => msgqFile],
    ['read', 'the configuration', ({ configFile }) => configFile],
    ['write', 'the configuration', ({ configFile }) => configFile],
    ['write', 'a file beside the configuration', ({ etc }) => `${etc}/evil`],
    ['remove', 'the socket', ({ socket }) => socket],
    ['write', 'a file beside the socket', ({ socket }) => `${socket}.evil`],
    ['list', 'the workspace', ({ workspaces }) => `${workspaces}/${OWNER}`],
    ['list', 'the temp directory', ({ temps }) => `${temps}/${OWNER}`],
    ['write', 'a file in the workspace', ({ workspaces }) => `${workspaces}/${OWNER}/evil`],
    ['write', 'a file in the temp directory', ({ temps }) => `${temps}/${OWNER}/evil`],
    ['write', 'a workspace for somebody', ({ workspaces }) => `${workspaces}/mallory`],
    ['write', 'what kpx makes a workspace under', ({ workspaces }) => `${workspaces}/.kpx-new-dave`],
    ['remove', 'the workspace', ({ workspaces }) => `${workspaces}/${OWNER}`],
  ];

  it.each(ATTEMPTS)('nobody else may %s %s', async (operation, _what, path) => {
    await running();
    for (const account of STRANGERS) {
      const outcome = await attackerOf(account).tries(operation, path(target.installation), 'evil');
      expect([account, outcome]).toMatchObject([account, { code: 'EACCES' }]);
    }
  });
});

/** While it is there, what is to become the executor is still root. */
const HELD = `/srv/kpx-test-held-${process.pid}`;

describe('while an executor is being started', () => {
  beforeAll(async () => {
    const installation = new HelperInstallation({ msgq: MSGQ });
    const slow = installation.inPlaceOf(
      '/usr/bin/setpriv',
      `case "$*" in *--init-groups*) while [ -e ${HELD} ]; do /usr/bin/sleep 0.05; done;; esac; exec $real "$@"`,
    );
    target = await Target.of(installation, { wrap: slow });
    return await useAttackers();
  });
  afterEach(async () => {
    rmSync(HELD, { force: true });
    await target.canary();
  });

  it.each([...STRANGERS, OWNER])('%s finds the password in nothing that /proc shows of what is still root', async (account) => {
    const connection = await target.greeted();
    writeFileSync(HELD, '');
    const start = connection.spawned(OWNER);
    const [child = 0] = await eventually('it is being started', () => {
      const starting = childrenOf(target.pid).filter((pid) => argumentsOf(pid).includes('--init-groups'));
      return starting.length > 0 && starting;
    });
    expect(environmentOf(child).KNIME_EXECUTOR_MSGQ).toBe(MSGQ);
    expect(await attackerOf(account).tries('search', SECRET)).toMatchObject({ value: { found: [] } });
    rmSync(HELD);
    await start;
    await target.stopped(connection, OWNER);
  });
});

describe('a MSGQ file that cannot be used', () => {
  const directory = `/var/lib/kpx-test-msgq-${process.pid}`;
  const file = `${directory}/executor-msgq`;
  const write = (text: string | Buffer, mode = 0o600) => {
    writeFileSync(file, text, { mode });
    chmodSync(file, mode);
  };
  const NO_LINE = 'does not hold one line that starts with amqp:// or amqps://';

  beforeAll(async () => {
    mkdirSync(directory, { mode: 0o755 });
    write(MSGQ);
    target = await Target.start({ config: { executor: { msgq_file: file } } });
    return async () => {
      await target.end();
      rmSync(directory, { recursive: true });
    };
  });
  afterEach(() => target.canary());

  it.each<[what: string, code: ErrorCode, message: string, spoil: () => void]>([
    ['with another scheme', 'HOST_FAILED', NO_LINE, () => write(`http://executor:${SECRET}@127.0.0.1`)],
    ['with a scheme in capitals', 'HOST_FAILED', NO_LINE, () => write(`AMQP://executor:${SECRET}@127.0.0.1`)],
    ['without a scheme', 'HOST_FAILED', NO_LINE, () => write(`executor:${SECRET}@127.0.0.1`)],
    ['with a setting', 'HOST_FAILED', NO_LINE, () => write(`password = ${SECRET}`)],
    ['with a variable', 'HOST_FAILED', NO_LINE, () => write(`KNIME_EXECUTOR_MSGQ=${MSGQ}`)],
    ['with two lines', 'HOST_FAILED', NO_LINE, () => write(`${MSGQ}\n${MSGQ}\n`)],
    ['with a second variable', 'HOST_FAILED', NO_LINE, () => write(`${MSGQ}\nLD_PRELOAD=/tmp/evil.so\n`)],
    ['with a carriage return in it', 'HOST_FAILED', NO_LINE, () => write(`${MSGQ}\rLD_PRELOAD=/tmp/evil.so`)],
    ['with NUL and a second variable', 'HOST_FAILED', NO_LINE, () => write(`${MSGQ}\0LD_PRELOAD=/tmp/evil.so`)],
    ['with a blank', 'HOST_FAILED', NO_LINE, () => write(`${MSGQ} more`)],
    ['with a terminal’s escape sequence', 'HOST_FAILED', NO_LINE, () => write(`${MSGQ}\u001b[2K`)],
    ['that is not ASCII', 'HOST_FAILED', NO_LINE, () => write(`${MSGQ}ß`)],
    ['with bytes that are not UTF-8', 'HOST_FAILED', NO_LINE, () => write(Buffer.from(`${MSGQ}\xff`, 'latin1'))],
    ['that is empty', 'HOST_FAILED', NO_LINE, () => write('')],
    ['that is too long', 'DIRECTORY_FAILED', 'at most 4096 are read', () => write(MSGQ.padEnd(5_000, 'x'))],
    ['that its group may read', 'DIRECTORY_UNSAFE', 'has mode 640, expected 600', () => write(MSGQ, 0o640)],
    ['that everybody may read', 'DIRECTORY_UNSAFE', 'has mode 644, expected 600', () => write(MSGQ, 0o644)],
    ['that everybody may write', 'DIRECTORY_UNSAFE', 'has mode 602, expected 600', () => write(MSGQ, 0o602)],
    ['of somebody else', 'DIRECTORY_UNSAFE', 'expected root', () => chownSync(file, idsOf('bob').uid, 0)],
    ['in somebody else’s directory', 'DIRECTORY_UNSAFE', 'expected root', () => chownSync(directory, idsOf('bob').uid, 0)],
    ['in a directory that everybody may write to', 'DIRECTORY_UNSAFE', 'is writable by others', () => chmodSync(directory, 0o777)],
    [
      'that is a link',
      'DIRECTORY_UNSAFE',
      'is a symbolic link',
      () => {
        rmSync(file);
        symlinkSync(target.installation.msgqFile, file);
      },
    ],
    [
      'that is a directory',
      'DIRECTORY_UNSAFE',
      'is not a regular file',
      () => {
        rmSync(file);
        mkdirSync(file);
      },
    ],
    ['that is gone', 'DIRECTORY_FAILED', 'does not exist', () => rmSync(file)],
  ])('%s starts nothing, and nobody is told what is in it', async (_what, code, message, spoil) => {
    const connection = await target.greeted();
    spoil();
    const answer = await connection.spawn('bob');
    chownSync(directory, 0, 0);
    chmodSync(directory, 0o755);
    rmSync(file, { recursive: true, force: true });
    write(MSGQ);
    expect(answer).toEqual(refusal(code, message));
    expect(await target.audited({ verb: 'spawnExecutor', decision: 'refused', code })).toMatchObject({ os_user: 'bob' });
    for (const told of [answer, target.heard, target.installation.helperLog.stderr]) expect(JSON.stringify(told)).not.toContain(SECRET);
    expect(childrenOf(target.pid)).toEqual([]);
  });
});
