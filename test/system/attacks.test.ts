import { decodeResponse, encodeRequest, PROTOCOL_VERSION, type Request, type Response, StopMode } from '@kpx/protocol';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type BootedKpx, BROKER as BROKER_UNIT, SOCKET, unitOf } from '../fixtures/booted/kpx.js';
import { eventually } from '../fixtures/eventually.js';
import { refusal } from '../integration/installed-helper.js';
import { withKpx } from './kpx-of-file.js';
import { bootedMachine, ON_EACH_DEBIAN } from './shared-machine.js';

/*
 * Who has the broker's account, where PID 1 listens, starts the helper, and starts executors. What does not depend on that: test/security.
 * What an executor gets at: isolation.test.ts; one connection and max_executors: units.test.ts.
 */

const machine = bootedMachine();
const ATTACKER = `${machine.facts.checkout}/test/fixtures/booted/attacker.mjs`;
const ENVIRONMENT_FILES = '/run/kpx/executors';

let kpx: BootedKpx;
let unitsBefore: string[];
/** What the tests of other files have left. */
let environmentsBefore: string[];

/**
 * Of the system and of kpx: whatever is loaded and running, but for what comes and goes with a connection, what holds executors, and PackageKit and
 * its like, which end by themselves when nobody has asked them for a while.
 */
async function runningUnits(): Promise<string[]> {
  const argv = ['list-units', '--plain', '--no-legend', '--state=active', '--type=service,socket,slice'];
  const units = (await machine.systemctl(...argv)).trimEnd().split('\n');
  return units
    .map((line) => line.split(' ')[0] ?? '')
    .filter((unit) => !/^(kpx(-privhelper@.*|.*\.slice)|(packagekit|systemd-(timedated|hostnamed|localed))\.service)$/.test(unit));
}

/** In order: of a file that is written anew find(1) tells in another place. */
async function environments(): Promise<string[]> {
  const { stdout } = await machine.run(['/usr/bin/find', ENVIRONMENT_FILES, '-type', 'f'], { allowFailure: true });
  return stdout.split('\n').sort();
}

beforeAll(async () => {
  return await withKpx({}, async (running) => {
    kpx = running;
    await machine.systemctl('start', SOCKET); // and no broker: its place is the attacker's
    unitsBefore = await runningUnits();
    environmentsBefore = await environments();
  });
});

/** After each attack: the units that ran run, and no others; no environment of an executor is made; the next who asks is served. */
afterEach(async () => {
  expect(await runningUnits()).toEqual(unitsBefore);
  expect(await environments()).toEqual(environmentsBefore);
  const { answers, end } = await says({ user: 'kpx-broker' }, { verb: 'listExecutors', body: { page: 1 } });
  expect([answers, end]).toEqual([[{ id: 2, kind: 'executorPage', body: { executors: [], more: false } }], 'all are answered']);
});

interface Said {
  readonly answers: Response[];
  readonly end: string;
}

/** Hello, and what comes after it. */
function packetsOf(...requests: object[]): string[] {
  const hello = { verb: 'hello', body: { version: PROTOCOL_VERSION } };
  return [hello, ...requests].map((request, index) => encodeRequest({ id: index + 1, ...request } as Request).toString('hex'));
}

async function untilNobodyIsServed(): Promise<void> {
  await eventually('the helper of the connection before has ended: there is one at a time', async () => {
    const units = ['list-units', '--plain', '--no-legend', '--state=activating,active,deactivating', 'kpx-privhelper@*'];
    return (await machine.systemctl(...units)).trim() === '';
  });
}

/** What the helper answers to these after Hello. `groups`: in place of the account's own. */
async function says({ user, groups }: { user: string; groups?: string }, ...requests: object[]): Promise<Said> {
  const packets = packetsOf(...requests);
  const become = groups === undefined ? [] : ['/usr/bin/setpriv', `--reuid=${user}`, `--regid=${groups}`, '--clear-groups', '--'];
  const as = groups === undefined && user !== 'root' ? { user } : {};
  await kpx.mark();
  await untilNobodyIsServed();
  const { stdout } = await machine.run([...become, '/usr/bin/node', ATTACKER], { ...as, input: packets.join('\n') });
  const lines = stdout.trimEnd().split('\n');
  const answers = lines.slice(0, -1).map((hex) => decodeResponse(Buffer.from(hex, 'hex')));
  return { answers: answers.filter(({ kind }) => kind !== 'hello'), end: lines.at(-1) ?? '' };
}

const BROKER = { user: 'kpx-broker' };
const naming = (knimeUser: string) => [
  { verb: 'prepareUser', body: { knimeUser } },
  { verb: 'spawnExecutor', body: { knimeUser, profile: 'default' } },
  { verb: 'stopExecutor', body: { knimeUser, mode: StopMode.kill } },
];

describe('the name of an instance', () => {
  it.each([
    ['a wildcard', '*'],
    ['a wildcard behind a letter', 'a*'],
    ['a path', '../ada'],
    ['a slash', 'ada/ben'],
    ['a line of a unit', 'ada\nUser=root'],
    ['a backslash at its end', 'ada\\'],
    ['an option', '--root=/tmp'],
    ['a uid', '20001'],
    ['the uid of root', '0'],
  ])('that is none closes the connection: %s', async (_what, name) => {
    const start = { verb: 'spawnExecutor', body: { knimeUser: name, profile: 'default' } };
    expect(await says(BROKER, start)).toEqual({ answers: [], end: 'closed' });
    expect(await kpx.helperSays({ event: 'violation' })).toMatchObject({ decision: 'refused', peer: { uid: expect.any(Number) } });
  });

  it.each([
    ['a specifier', '%i'],
    ['a colon', 'ada:root'],
    ['two units', 'ada.service kpx-executor@root'],
    ['a letter beyond ASCII', 'adä'],
  ])('that no account can have is refused without a question: %s', async (_what, name) => {
    const { answers } = await says(BROKER, ...naming(name));
    const denied = refusal('ACCOUNT_DENIED', 'no account can be called');
    expect(answers).toEqual([denied, denied, denied]);
  });

  it.each([
    ['the suffix of a unit', 'ada.service'],
    ['another instance', 'ada@ben'],
    ['a whole unit', 'kpx-executor@ada'],
    ['an escaped dash', 'ada\\x2d'],
    ['an escaped letter', '\\x61da'],
    ['an escape without an end', 'ada\\x'],
    ['a backslash at its beginning', '\\ada'],
    ['a backslash in it', 'a\\da'],
    ['an environment file', 'ada.env'],
    ['an environment file being written', 'new-ada.env'],
    ['a drop-in', 'ada.service.d'],
    ['the helper itself', 'kpx-privhelper@1-1-0.service'],
    ['the slice', 'kpx-executors.slice'],
  ])('that is nobody’s starts and stops nothing: %s', async (_what, name) => {
    const { answers } = await says(BROKER, ...naming(name));
    const unknown = refusal('ACCOUNT_UNKNOWN', 'there is no account');
    expect(answers).toEqual([unknown, unknown, refusal('NOT_RUNNING', 'no executor of')]);
  });

  it.each(['root', 'ROOT', 'daemon', 'nobody', 'kpx-broker', 'messagebus', 'openldap', 'rabbitmq', 'sssd', 'systemd-network'])(
    'that is an account of the system starts and stops nothing: %s',
    async (name) => {
      const { answers } = await says(BROKER, ...naming(name));
      expect(answers).toHaveLength(3);
      for (const { kind, body } of answers.slice(0, 2) as { kind: string; body: { code?: string } }[]) {
        expect([kind, body.code]).toEqual(['error', expect.stringMatching(/^(ACCOUNT_(DENIED|UNKNOWN)|HOME_UNUSABLE)$/)]);
      }
      expect(answers[2]).toEqual(refusal('NOT_RUNNING'));
      expect(await machine.show(unitOf(name.toLowerCase()), 'ActiveState')).toEqual({ ActiveState: 'inactive' });
    },
  );
});

describe('what runs on the machine', () => {
  it.each(['slapd', 'sssd', 'rabbitmq-server', 'dbus', 'systemd-journald', 'kpx-privhelper', 'init'])(
    'is not stopped in the name of a user: %s',
    async (name) => {
      const stop = [name, `${name}.service`].flatMap((knimeUser) =>
        [StopMode.graceful, StopMode.kill].map((mode) => ({ verb: 'stopExecutor', body: { knimeUser, mode } })),
      );
      const { answers } = await says(BROKER, ...stop);
      expect(answers).toEqual(Array(4).fill(refusal('NOT_RUNNING')));
    },
  );

  it.each([
    ['start an executor', ['systemctl', '--no-ask-password', 'start', unitOf('ada')]],
    ['start an executor of root', ['systemctl', '--no-ask-password', 'start', unitOf('root')]],
    ['start a helper', ['systemctl', '--no-ask-password', 'start', 'kpx-privhelper@1-1-0.service']],
    ['stop a service', ['systemctl', '--no-ask-password', 'stop', 'slapd.service']],
    ['stop the helper’s socket', ['systemctl', '--no-ask-password', 'stop', SOCKET]],
    ['change a unit', ['systemctl', '--no-ask-password', 'set-property', '--runtime', SOCKET, 'CPUWeight=1']],
    ['have a unit read anew', ['systemctl', '--no-ask-password', 'daemon-reload']],
    ['set variables for all units', ['systemctl', '--no-ask-password', 'set-environment', 'LD_PRELOAD=/tmp/evil.so']],
    ['run a unit of its own', ['systemd-run', '--no-ask-password', '--uid=0', '/usr/bin/true']],
    ['link a unit', ['systemctl', '--no-ask-password', 'link', '/tmp/evil.service']],
  ])('the broker’s account may not %s by itself', ON_EACH_DEBIAN, async (_what, [program = '', ...args]) => {
    const { exitCode, stderr } = await machine.run([`/usr/bin/${program}`, ...args], { user: 'kpx-broker', allowFailure: true });
    expect(exitCode).not.toBe(0);
    expect(stderr).toMatch(/denied|authentication required|not permitted|Permission/i);
  });

  it.each([
    ['read', '/etc/kpx/privhelper.toml'],
    ['read', '/etc/kpx/executor-msgq'],
    ['list', ENVIRONMENT_FILES],
    ['read', '/proc/1/environ'],
  ])('the broker’s account may not %s %s', ON_EACH_DEBIAN, async (how, path) => {
    const program = how === 'list' ? '/usr/bin/ls' : '/usr/bin/cat';
    const { exitCode, stderr } = await machine.run([program, '--', path], { user: 'kpx-broker', allowFailure: true });
    expect([exitCode === 0, stderr]).toEqual([false, expect.stringContaining('Permission denied')]);
  });
});

describe('who connects', ON_EACH_DEBIAN, () => {
  it.each(['ada', 'nobody', 'rabbitmq'])('must be the broker: %s does not get to', async (user) => {
    expect(await says({ user }, ...naming('ada'))).toEqual({ answers: [], end: 'refused' });
  });

  it.each(['root', 'ada', 'nobody'])('must be the broker, and not only of its group: %s', async (user) => {
    const uid = Number((await machine.run(['/usr/bin/id', '--user', user])).stdout);
    expect(await says({ user, groups: 'kpx-broker' }, ...naming('ada'))).toEqual({ answers: [], end: 'closed' });
    expect(await kpx.helperSays({ event: 'refused connection' })).toMatchObject({ decision: 'refused', peer: { uid } });
  });
});

describe('who connects again and again', ON_EACH_DEBIAN, () => {
  const HELPER_SOCKET = '/run/kpx/privhelper.sock';
  const KNOCKS_MAX = 2_000;
  const KNOCK_S = 3;
  /** Until it is not let in any more, or the time is over; prints how often it was. */
  const KNOCK = `my ($count, $end) = (0, time + ${KNOCK_S});
    while (time < $end) { socket(my $s, AF_UNIX, SOCK_SEQPACKET, 0); connect($s, sockaddr_un($ARGV[0])) or last; $count++ }
    print $count`;
  const KNOCK_ON = `my $end = time + ${KNOCK_S}; while (time < $end) { socket(my $s, AF_UNIX, SOCK_SEQPACKET, 0); connect($s, sockaddr_un($ARGV[0])) }`;
  const knock = async (how: string) => (await machine.run(['/usr/bin/perl', '-MSocket', '-e', how, HELPER_SOCKET], BROKER)).stdout;
  /** A broker that comes within the 2 s of {@link KNOCK} may find the socket shut once more: systemd starts both again after 20 s. */
  const START_AGAIN_TIMEOUT_MS = 60_000;
  const untilInUse = async (how: 'start' | 'restart') => {
    await kpx.mark();
    await machine.systemctl(how, '--no-block', BROKER_UNIT);
    await kpx.inUse(START_AGAIN_TIMEOUT_MS);
  };
  const stateOfSocket = async () => await machine.show(SOCKET, 'ActiveState', 'Result');

  it('finds the door shut, or opened by PID 1 for a few at a time, and the broker’s next start gets in', async () => {
    await untilNobodyIsServed();
    expect(Number(await knock(KNOCK))).toBeLessThan(KNOCKS_MAX);
    const { PollLimitBurst } = await machine.show(SOCKET, 'PollLimitBurst'); // systemd 255 and later
    const shut = { ActiveState: 'failed', Result: 'trigger-limit-hit' };
    expect(await stateOfSocket()).toEqual(PollLimitBurst === undefined ? shut : { ActiveState: 'active', Result: 'success' });
    await untilInUse('start');
    await machine.systemctl('stop', BROKER_UNIT);
    expect(await stateOfSocket()).toEqual({ ActiveState: 'active', Result: 'success' });
  });

  it('finds it open again a while later, as long as the broker runs', async () => {
    await untilInUse('start');
    await knock(KNOCK_ON);
    await eventually('the socket is open again', async () => (await stateOfSocket()).ActiveState === 'active');
    await untilInUse('restart');
    await machine.systemctl('stop', BROKER_UNIT);
  });
});

describe('what a broker has done', ON_EACH_DEBIAN, () => {
  /** Ends what a test has started, so that all is as before. */
  async function endExecutorOf(osUser: string): Promise<void> {
    await untilNobodyIsServed();
    await machine.systemctl('stop', unitOf(osUser));
    const files = ['env', 'home'].map((kind) => `${ENVIRONMENT_FILES}/${osUser}.${kind}`);
    for (const file of files) if (!environmentsBefore.includes(file)) await machine.remove(file);
  }

  it.each([
    ['leaves before it is answered', []],
    ['breaks the protocol before it is answered', ['ff']],
  ])('is in the audit log, though it %s', async (_what, afterwards) => {
    await kpx.mark();
    const start = { verb: 'spawnExecutor', body: { knimeUser: 'ada', profile: 'default' } };
    const input = [...packetsOf(start), ...afterwards].join('\n');
    try {
      await untilNobodyIsServed();
      expect((await machine.run(['/usr/bin/node', ATTACKER, 'leave'], { ...BROKER, input })).stdout).toMatch(/left\n$/);
      const line = await kpx.helperSays({ event: 'request', verb: 'spawnExecutor' });
      expect(line).toMatchObject({ decision: 'done', os_user: 'ada', outcome: expect.stringMatching(/^started, pid \d+$/) });
    } finally {
      await endExecutorOf('ada');
    }
  });

  it('is in the audit log, however much it asks for', async () => {
    const REQUESTS = 200;
    const limits = '/etc/systemd/journald.conf.d/10-test.conf';
    const withJournal = async (change: () => Promise<void>) => {
      await change();
      await machine.systemctl('restart', 'systemd-journald.service');
    };
    // journald multiplies it with the free space of its disk: by 6 at the most.
    await withJournal(() => machine.writeFile(limits, '[Journal]\nRateLimitIntervalSec=1h\nRateLimitBurst=20\n'));
    try {
      const refused = { verb: 'spawnExecutor', body: { knimeUser: 'ada', profile: 'unknown' } };
      const { answers } = await says(BROKER, ...Array<object>(REQUESTS).fill(refused), ...naming('no.such.user'));
      expect(answers).toHaveLength(REQUESTS + 3);
      await kpx.helperSays({ event: 'request', verb: 'stopExecutor', knime_user: 'no.such.user' });
      const heard = await kpx.helperLines();
      expect(heard.filter(({ code }) => code === 'PROFILE_UNKNOWN')).toHaveLength(REQUESTS);
    } finally {
      await withJournal(() => machine.remove(limits));
    }
  });
});
