import { chownSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type ErrorCode, ExecutorState, SpawnOutcome, StopMode } from '@kpx/protocol';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { HelperConnection } from '../fixtures/helper-connection.js';
import { type HelperInstallation, idsOf, type Section } from '../fixtures/helper-installation.js';
import { installHelper, rawAccounts, refusal } from './installed-helper.js';

/*
 * What PID 1 may say that is hard to have from a real one, told by a systemctl that answers from files. The real one: test/system.
 */

/** As in kpx-privhelper@.service. */
const ENVIRONMENTS = '/run/kpx/executors';
const EXIT_CONFIG = 78;
/** systemd's "not set" of a 64-bit number, where systemctl does not say it in words. */
const NOT_SET = '18446744073709551615';

type Unit = Record<string, string>;
/** One that runs, but for what is given. */
const unit = (name: string, given: Unit = {}): Unit => ({
  Id: `${name}.service`,
  LoadState: 'loaded',
  ActiveState: 'active',
  MainPID: '42',
  UID: '64999', // of no account here
  StateChangeTimestampMonotonic: '1',
  Result: 'success',
  ExecMainCode: '0',
  ExecMainStatus: '0',
  CPUUsageNSec: '1500001',
  ...given,
});
const uidOf = (osUser: string) => String(idsOf(osUser).uid);
const ended = { ActiveState: 'failed', MainPID: '0', UID: '[not set]', Result: 'exit-code', ExecMainCode: '1', ExecMainStatus: '3' };

class ToldSystemctl {
  readonly #directory: string;
  constructor({ etc }: HelperInstallation) {
    this.#directory = etc;
    this.shows([]);
    this.#write('exit', '0');
    this.#write('show-exit', '0');
  }

  /** For inPlaceOf. What it is asked to show is written down, and whatever else it is told. */
  get script(): string {
    const at = this.#directory;
    return `told="$*"
    until [ "$1" = -- ]; do shift; done
    shift
    case "$told" in
      *" stop -- kpx-home@"*) exit 0 ;;
      *" start -- kpx-home@"*) set -- "\${1#kpx-home@}"; . ${ENVIRONMENTS}/"\${1%.service}.home"; exec chmod 0 "$KPX_HOME" ;;
      *" list-units "*) what=list ;;
      *" show "*) what=show; echo "$*" >>${at}/shown ;;
      *)
        echo "$told" >>${at}/asked
        [ -e ${at}/afterwards ] && rm -r ${at}/units && cp -r ${at}/afterwards ${at}/units
        exit $(cat ${at}/exit) ;;
    esac
    for pattern; do for unit in ${at}/units/$pattern.$what; do [ -e "$unit" ] && cat "$unit"; done; done
    echo "the bus is gone" >&2
    exit $(cat ${at}/show-exit)`;
  }

  shows(units: Unit[]): void {
    this.#has('units', units);
  }
  /** What it shows once it has been asked for something. */
  showsAfterwards(units: Unit[]): void {
    this.#has('afterwards', units);
  }
  fails(what: 'exit' | 'show-exit'): void {
    this.#write(what, '1');
  }

  get asked(): string[] {
    return this.#lines('asked');
  }
  /** The names of the units that each `systemctl show` was asked for. */
  get shown(): string[] {
    return this.#lines('shown');
  }

  #has(directory: string, units: Unit[]): void {
    rmSync(`${this.#directory}/${directory}`, { recursive: true, force: true });
    mkdirSync(`${this.#directory}/${directory}`);
    for (const one of units) {
      const properties = Object.entries(one).map(([name, value]) => `${name}=${value}\n`);
      this.#write(`${directory}/${one.Id}.show`, `${properties.join('')}\n`);
      this.#write(`${directory}/${one.Id}.list`, `${one.Id}  ${one.LoadState} ${one.ActiveState} dead Executor of somebody\n`);
    }
  }

  #lines(name: string): string[] {
    const file = `${this.#directory}/${name}`;
    return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
  }

  #write(name: string, text: string): void {
    writeFileSync(`${this.#directory}/${name}`, text);
  }
}

function install(executor: Section = {}): { installation: HelperInstallation; systemctl: ToldSystemctl; wrap: string[] } {
  const installation = installHelper({ config: { executor: { launcher: 'systemd', command: [], ...executor } } });
  const systemctl = new ToldSystemctl(installation);
  return { installation, systemctl, wrap: installation.inPlaceOf('/usr/bin/systemctl', systemctl.script) };
}

async function start(executor?: Section): Promise<{ systemctl: ToldSystemctl; connection: HelperConnection }> {
  const { installation, systemctl, wrap } = install(executor);
  await installation.startHelper({ wrap });
  return { systemctl, connection: await HelperConnection.greeted(installation.socket) };
}

beforeEach(() => {
  mkdirSync(ENVIRONMENTS, { recursive: true, mode: 0o700 });
  onTestFinished(() => rmSync(ENVIRONMENTS, { recursive: true }));
});

describe('executors that are units are listed', () => {
  it('as systemd describes them, those of other units, of nobody, of nobody yet, and of root left out', async () => {
    const { systemctl, connection } = await start({ profiles: { big: 'kpx-big@' } });
    const byKernel = { ...ended, Result: 'oom-kill', ExecMainCode: '2', ExecMainStatus: '9' };
    systemctl.shows([
      unit('kpx-executor@alice'),
      unit('kpx-executor@bob', { ActiveState: 'deactivating', CPUUsageNSec: NOT_SET }),
      unit('kpx-executor@carol', ended),
      unit('kpx-executor@dave', byKernel),
      unit('kpx-executor@erin', { ...byKernel, Result: 'signal', ExecMainStatus: '64' }),
      unit('kpx-executor@frank', { ActiveState: 'activating', UID: '[not set]' }),
      unit('kpx-executor@grace', { UID: '0' }),
      unit('kpx-executor@1000'),
      unit('kpx-other@mallory'),
      unit('kpx-big@alice', ended),
      unit('kpx-big@carol'),
    ]);
    const page = await connection.list();
    const of = (osUser: string, state: number, lastExit: string, facts: object) => ({
      ...{ osUser, knimeUsers: [osUser], state, lastExit, ...facts },
      sinceMs: expect.any(Number),
    });
    const alive = { uid: 64_999, mainPid: 42 };
    const gone = { uid: 0, mainPid: 0, cpuMs: 0 };
    expect(page).toEqual({
      id: expect.any(Number),
      kind: 'executorPage',
      body: {
        executors: [
          of('alice', ExecutorState.running, '', { ...alive, cpuMs: 2 }),
          of('bob', ExecutorState.stopping, '', { ...alive, cpuMs: 0 }),
          of('carol', ExecutorState.running, '', { ...alive, cpuMs: 2 }),
          of('dave', ExecutorState.exited, 'signal SIGKILL (oom-kill)', gone),
          of('erin', ExecutorState.exited, 'signal 64', gone),
        ],
        more: false,
      },
    });
  });

  it('as not to be known, where systemd does not answer, and none is stopped or started then', async () => {
    const { systemctl, connection } = await start();
    systemctl.fails('show-exit');
    expect(await connection.list()).toEqual(refusal('HOST_FAILED', 'systemd does not answer: the bus is gone'));
    expect(await connection.stop('alice')).toEqual(refusal('HOST_FAILED', 'systemd does not answer'));
    expect(await connection.spawn('alice')).toEqual(refusal('HOST_FAILED', 'systemd does not answer'));
    expect(systemctl.asked).toEqual([]);
  });
});

describe('an executor that is a unit', () => {
  it('is started with its environment in a file of root’s, whatever a crash has left there', async () => {
    const { systemctl, connection } = await start();
    writeFileSync(`${ENVIRONMENTS}/.new-alice.env`, 'half of it', { mode: 0o644 });
    systemctl.showsAfterwards([unit('kpx-executor@alice', { UID: uidOf('alice') })]);
    expect(await connection.spawn('alice')).toMatchObject({ body: { outcome: SpawnOutcome.started, executor: { mainPid: 42 } } });
    expect(systemctl.asked).toEqual(['--no-ask-password start -- kpx-executor@alice.service']);
    const file = `${ENVIRONMENTS}/alice.env`;
    expect(statSync(file)).toMatchObject({ mode: 0o100600, uid: 0, gid: 0 });
    expect(readFileSync(file, 'utf8')).toContain('KNIME_EXECUTOR_RESERVATION="(user = \'alice\')"\n');
    expect(await connection.spawn('alice')).toMatchObject({ body: { outcome: SpawnOutcome.alreadyRunning } });
    expect(systemctl.asked).toHaveLength(1);
  });

  it('is not started without its environment', async () => {
    const { systemctl, connection } = await start();
    mkdirSync(`${ENVIRONMENTS}/.new-alice.env`);
    expect(await connection.spawn('alice')).toEqual(refusal('DIRECTORY_FAILED', `${ENVIRONMENTS}/alice.env: ERR_FS_EISDIR`));
    expect(systemctl.asked).toEqual([]);
  });

  it('is not started when there are as many as may be, of all profiles together; one that runs is no obstacle to itself', async () => {
    const { systemctl, connection } = await start({ max_executors: 2, profiles: { big: 'kpx-big@' } });
    systemctl.shows([
      unit('kpx-executor@bob'),
      unit('kpx-big@carol', { ActiveState: 'activating', UID: uidOf('carol') }),
      unit('kpx-executor@dave', ended),
    ]);
    expect(await connection.spawn('alice')).toEqual(refusal('LIMIT_REACHED', 'max_executors of the helper is 2'));
    expect(await connection.spawn('carol')).toMatchObject({ body: { outcome: SpawnOutcome.alreadyRunning } });
    expect(systemctl.asked).toEqual([]);
  });

  it.each<[string, Unit[], ErrorCode, string]>([
    [
      'systemd cannot load',
      [unit('kpx-executor@alice', { ...ended, LoadState: 'bad-setting' })],
      'HOST_FAILED',
      'systemd cannot load kpx-executor@alice.service (bad-',
    ],
    ['ends at once', [unit('kpx-executor@alice', ended)], 'LAUNCH_FAILED', 'did not start: result exit-code, exit 3: see journalctl'],
    [
      'has no program',
      [unit('kpx-executor@alice', { ...ended, ExecMainStatus: '203' })],
      'HOST_FAILED',
      'result exit-code, exit 203, the program of ExecStart= cannot be run: see',
    ],
    ['ends with a code of its own', [unit('kpx-executor@alice', { ...ended, ExecMainStatus: '244' })], 'LAUNCH_FAILED', 'exit 244: see'],
    ['PAM refuses', [unit('kpx-executor@alice', { ...ended, ExecMainStatus: '224' })], 'LAUNCH_FAILED', 'result exit-code, exit 224: see'],
    [
      'never becomes a process',
      [unit('kpx-executor@alice', { ...ended, ExecMainCode: '0', Result: 'resources' })],
      'HOST_FAILED',
      'result resources, no process: see',
    ],
    [
      'is refused a ticket',
      [
        unit('kpx-executor@alice', { ActiveState: 'inactive', MainPID: '0', UID: '[not set]' }),
        unit('kpx-ticket@alice', { ...ended, ExecMainStatus: '77', StatusText: 'outdated', StateChangeTimestampMonotonic: '2' }),
      ],
      'CREDENTIALS_REFUSED',
      "outdated (journalctl --unit 'kpx-ticket@alice.service')",
    ],
    [
      'has no drive',
      [
        unit('kpx-executor@alice', { ActiveState: 'inactive', MainPID: '0', UID: '[not set]' }),
        unit('kpx-drive@alice', { ...ended, ExecMainStatus: '75', StatusText: 'no server', StateChangeTimestampMonotonic: '2' }),
      ],
      'HOST_FAILED',
      "no server (journalctl --unit 'kpx-drive@alice.service')",
    ],
    ['systemd forgets', [], 'HOST_FAILED', 'systemd knows nothing of kpx-executor@alice.service: see journalctl'],
  ])('that %s is said to be so, and whether it is the host’s fault', async (_, afterwards, code, message) => {
    const { systemctl, connection } = await start();
    systemctl.showsAfterwards(afterwards);
    expect(await connection.spawn('alice')).toEqual(refusal(code, message));
  });

  describe('with ask_pam', () => {
    const config = { accounts: { ask_pam: true }, executor: { launcher: 'systemd', command: [] } };
    async function startAsking() {
      const installation = installHelper({ config });
      const systemctl = new ToldSystemctl(installation);
      await installation.startHelper({ wrap: installation.inPlaceOf('/usr/bin/systemctl', systemctl.script) });
      return { systemctl, connection: await HelperConnection.greeted(installation.socket) };
    }
    const ASK = '--no-ask-password start -- kpx-account@alice.service';

    it('is started after PAM has been asked, once it says yes', async () => {
      const { systemctl, connection } = await startAsking();
      systemctl.showsAfterwards([unit('kpx-executor@alice', { UID: uidOf('alice') })]);
      await connection.spawn('alice');
      expect(systemctl.asked).toEqual([ASK, '--no-ask-password start -- kpx-executor@alice.service']);
    });

    it.each<[string, Unit, ErrorCode, string]>([
      [
        'refuses, or has nobody to ask',
        { ...ended, ExecMainStatus: '224' },
        'LAUNCH_FAILED',
        "PAM refuses the account, or cannot tell: it is disabled, locked or expired, or its password is, or SSSD was away: see journalctl --unit 'kpx-account@alice.service'",
      ],
      [
        'hangs',
        { ...ended, Result: 'timeout', ExecMainCode: '2', ExecMainStatus: '9' },
        'HOST_FAILED',
        'kpx-account@alice.service did not start: result timeout',
      ],
      ['is not asked', { LoadState: 'not-found' }, 'HOST_FAILED', 'systemd cannot load kpx-account@alice.service (not-found)'],
    ])('is not started where PAM %s', async (_, state, code, message) => {
      const { systemctl, connection } = await startAsking();
      systemctl.fails('exit');
      systemctl.showsAfterwards([unit('kpx-account@alice', state)]);
      expect(await connection.spawn('alice')).toEqual(refusal(code, message));
      expect(systemctl.asked).toEqual([ASK]);
    });
  });

  it('is not started beside one of the same uid: the account had another name', async () => {
    const { systemctl, connection } = await start();
    systemctl.shows([unit('kpx-executor@alicia', { UID: uidOf('alice') })]);
    const why = `kpx-executor@alicia.service has the uid ${uidOf('alice')}, too, and still runs: one executor a uid`;
    expect(await connection.spawn('alice')).toEqual(refusal('LIMIT_REACHED', why));
    expect(systemctl.asked).toEqual([]);
  });

  it('is not started beside that of an account whose name differs by where a backslash stands: both would have one environment', async () => {
    const { home, uid, gid } = rawAccounts().account('corp\\alice');
    mkdirSync(home);
    onTestFinished(() => rmSync(home, { recursive: true }));
    chownSync(home, uid, gid);
    const { systemctl, connection } = await start({ profiles: { big: 'kpx-big@' } });
    systemctl.shows([unit('kpx-big@cor\\palice')]);
    const why = 'the account "corp\\alice" may not have an executor: systemd cannot tell it from "kpx-big@cor\\palice.service"';
    expect(await connection.spawn('corp\\alice')).toEqual(refusal('ACCOUNT_DENIED', why));
    expect(systemctl.asked).toEqual([]);
    expect(existsSync(`${ENVIRONMENTS}/corpalice.env`)).toBe(false);
    systemctl.shows([unit('kpx-big@cor\\palice', ended), unit('kpx-big@cor\\alice')]);
    systemctl.showsAfterwards([unit('kpx-executor@corp\\alice', { UID: `${uid}` })]);
    expect(await connection.spawn('corp\\alice')).toMatchObject({ body: { outcome: SpawnOutcome.started } });
    expect(existsSync(`${ENVIRONMENTS}/corpalice.env`)).toBe(true);
  });

  it('has systemd tell who runs each of the others once, and again when they are listed', async () => {
    const { systemctl, connection } = await start();
    systemctl.shows([unit('kpx-executor@bob'), unit('kpx-executor@carol'), unit('kpx-executor@dave', ended)]);
    systemctl.fails('exit');
    for (const user of ['alice', 'alice']) expect(await connection.spawn(user)).toEqual(refusal('HOST_FAILED'));
    const started = 'kpx-executor@alice.service kpx-ticket@alice.service kpx-drive@alice.service';
    expect(systemctl.shown).toEqual(['kpx-executor@bob.service kpx-executor@carol.service', started, started]);
    await connection.list();
    await connection.spawn('alice');
    expect(systemctl.shown.slice(3)).toEqual(['kpx-executor@*.service', started]);
  });

  it.each<[string, Unit, boolean]>([
    ['has ended', unit('kpx-executor@alicia', ended), false],
    ['runs again as somebody else, and has been listed', unit('kpx-executor@alicia'), true],
  ])('is started once the other one of the same uid %s', async (_, later, listed) => {
    const { systemctl, connection } = await start();
    systemctl.shows([unit('kpx-executor@alicia', { UID: uidOf('alice') })]);
    for (let time = 0; time < 2; time++) expect(await connection.spawn('alice')).toMatchObject(refusal('LIMIT_REACHED'));
    systemctl.shows([later]);
    if (listed) await connection.list();
    systemctl.showsAfterwards([later, unit('kpx-executor@alice', { UID: uidOf('alice') })]);
    expect(await connection.spawn('alice')).toMatchObject({ body: { outcome: SpawnOutcome.started } });
  });

  it('is not started beside one whose user has become known since', async () => {
    const { systemctl, connection } = await start();
    systemctl.shows([unit('kpx-executor@alicia', { ActiveState: 'activating', UID: '[not set]' })]);
    systemctl.fails('exit');
    await connection.spawn('alice');
    systemctl.shows([unit('kpx-executor@alicia', { UID: uidOf('alice') })]);
    expect(await connection.spawn('alice')).toEqual(refusal('LIMIT_REACHED', 'kpx-executor@alicia.service has the uid'));
  });

  it('whose start systemd calls failed is not called started, whatever its state', async () => {
    const { systemctl, connection } = await start();
    systemctl.showsAfterwards([unit('kpx-executor@alice')]);
    systemctl.fails('exit');
    expect(await connection.spawn('alice')).toEqual(refusal('HOST_FAILED', 'kpx-executor@alice.service did not start'));
  });

  it.each([
    ['root', '0'],
    ['somebody else', '4000'],
  ])('that PID 1 runs as %s is ended, and not called started', async (_who, UID) => {
    const { systemctl, connection } = await start();
    systemctl.showsAfterwards([unit('kpx-executor@alice', { UID })]);
    const message = `kpx-executor@alice.service ran as uid ${UID}, expected ${uidOf('alice')}, and has been ended`;
    expect(await connection.spawn('alice')).toEqual(refusal('LAUNCH_FAILED', message));
    const kill = '--no-ask-password kill --signal=SIGKILL -- kpx-executor@alice.service';
    expect(systemctl.asked).toEqual(['--no-ask-password start -- kpx-executor@alice.service', kill]);
    // Nor is it called running, should it have survived that.
    expect(await connection.spawn('alice')).toEqual(refusal('LAUNCH_FAILED', message));
    expect(systemctl.asked.slice(2)).toEqual([kill]);
  });

  it('of which PID 1 does not know yet who it runs as is called started', async () => {
    const { systemctl, connection } = await start();
    systemctl.showsAfterwards([unit('kpx-executor@alice', { UID: '[not set]' })]);
    expect(await connection.spawn('alice')).toMatchObject({ kind: 'executorSpawned' });
  });

  it('is stopped also when PID 1 does not know its user yet', async () => {
    const { systemctl, connection } = await start();
    systemctl.shows([unit('kpx-executor@alice', { ActiveState: 'activating', UID: '[not set]' })]);
    expect(await connection.stop('alice')).toMatchObject({ kind: 'executorStopped', body: { osUser: 'alice', uid: 0 } });
    expect(systemctl.asked).toEqual(['--no-ask-password stop --no-block -- kpx-executor@alice.service']);
  });

  describe('whose start waits for another unit', () => {
    const pending = unit('kpx-executor@alice', { ActiveState: 'inactive', MainPID: '0', UID: '[not set]', Job: '812' });

    it.each([StopMode.graceful, StopMode.kill])('is not started any more once it is stopped (mode %s)', async (mode) => {
      const { systemctl, connection } = await start();
      systemctl.shows([pending]);
      expect(await connection.stop('alice', mode)).toMatchObject({ kind: 'executorStopped', body: { osUser: 'alice', uid: 0 } });
      expect(systemctl.asked).toEqual(['--no-ask-password stop --no-block -- kpx-executor@alice.service']);
    });

    it('keeps the password that it will start with', async () => {
      const executor = { launcher: 'systemd', command: [], sealed: true, node: 'host1' };
      const installation = installHelper({ msgq: 'amqp://{user}:{password}@127.0.0.1:5673/{vhost}', config: { executor } });
      const systemctl = new ToldSystemctl(installation);
      await installation.startHelper({ wrap: installation.inPlaceOf('/usr/bin/systemctl', systemctl.script) });
      const connection = await HelperConnection.greeted(installation.socket);
      await connection.prepare('alice');
      systemctl.showsAfterwards([pending]);
      systemctl.fails('exit');
      expect(await connection.spawn('alice')).toEqual(refusal('HOST_FAILED', 'kpx-executor@alice.service did not start'));
      const before = readFileSync(`${ENVIRONMENTS}/alice.env`, 'utf8');
      expect(await connection.prepare('alice')).toMatchObject({ body: { passwordHash: expect.any(String) } });
      expect(await installation.helperLog.line({ event: 'request', credential: 'in use' })).toMatchObject({ os_user: 'alice' });
      expect(await connection.spawn('alice')).toEqual(refusal('NOT_PREPARED', 'no password was prepared'));
      expect(readFileSync(`${ENVIRONMENTS}/alice.env`, 'utf8')).toBe(before);
    });
  });

  it('is stopped under the profile that it runs under, gracefully or not; what has ended is not', async () => {
    const { systemctl, connection } = await start({ profiles: { big: 'kpx-big@' } });
    systemctl.shows([unit('kpx-executor@alice', ended), unit('kpx-big@alice'), unit('kpx-executor@bob', ended)]);
    expect(await connection.stop('alice', StopMode.graceful)).toMatchObject({ kind: 'executorStopped', body: { uid: 64_999 } });
    expect(await connection.stop('alice', StopMode.kill)).toMatchObject({ kind: 'executorStopped' });
    expect(await connection.stop('bob')).toEqual(refusal('NOT_RUNNING', 'no executor of "bob" runs'));
    expect(systemctl.asked).toEqual([
      '--no-ask-password stop --no-block -- kpx-big@alice.service',
      '--no-ask-password kill --signal=SIGKILL -- kpx-big@alice.service',
    ]);
    systemctl.fails('exit');
    expect(await connection.stop('alice')).toEqual(
      refusal('LAUNCH_FAILED', 'systemd did not stop kpx-big@alice.service: see systemctl status'),
    );
  });
});

describe('--check', () => {
  it('asks systemd for an instance of each template', async () => {
    const { installation, systemctl, wrap } = install({ profiles: { big: 'kpx-big@' } });
    systemctl.shows([unit('kpx-executor@kpx-check', ended), unit('kpx-big@kpx-check', ended)]);
    expect(await installation.runHelper(['--check'], { wrap })).toMatchObject({ code: 0, stderr: '' });
    systemctl.shows([unit('kpx-executor@kpx-check', ended), unit('kpx-big@kpx-check', { ...ended, LoadState: 'not-found' })]);
    expect(await installation.runHelper(['--check'], { wrap })).toMatchObject({
      code: EXIT_CONFIG,
      stderr: `${installation.configFile}: executor.unit: systemd says of kpx-big@kpx-check.service: not-found\n`,
    });
  });
});
