import { describe, expect, it } from 'vitest';
import { withMap } from './account-map.js';
import {
  accountOf,
  aliveIn,
  executorOf,
  executorsOf,
  firstStepsOf,
  gateOf,
  isAlive,
  nameOf,
  notAdmitted,
  notStarted,
  PROPERTIES,
  statesIn,
  type UnitState,
  uidOf,
  willRun,
} from './executor-unit.js';
import type { OsUser } from './names.js';
import { privhelperConfigSchema } from './privhelper-config.js';
import { ExecutorState } from './verbs.js';

/* With what a real systemd says: test/system. */

const { accounts, executor } = privhelperConfigSchema.parse({ executor: { profiles: { large: 'kpx-large@' } } });
const CONFIG = { executor, accounts: withMap({ ...accounts, map: { al: 'alice' } }) };
const NOW_MS = 10_000;

/** One that has run for a second, but for what is given. */
const unit = (Id: string, given: Partial<UnitState> = {}): UnitState => ({
  Id,
  LoadState: 'loaded',
  ActiveState: 'active',
  MainPID: '42',
  UID: '1000',
  StateChangeTimestampMonotonic: '9000000',
  CPUUsageNSec: '1500001',
  Job: '',
  Result: 'success',
  ExecMainCode: '0',
  ExecMainStatus: '0',
  StatusText: '',
  ...given,
});
const FAILED = { ActiveState: 'failed', MainPID: '0', UID: '[not set]', Result: 'exit-code', ExecMainCode: '1', ExecMainStatus: '3' };

describe('what systemd says of the units of executors', () => {
  it('is a block of lines for each, with values in which there may be a "="', () => {
    const states = statesIn('Id=a@b.service\nResult=x=y\n\nId=c@d.service\n');
    expect(states.map(({ Id, Result }) => [Id, Result])).toEqual([
      ['a@b.service', 'x=y'],
      ['c@d.service', ''],
    ]);
    for (const state of states) expect(Object.keys(state).sort()).toEqual([...PROPERTIES].sort());
  });

  it('is a line for each in a list, of which those that have not ended count', () => {
    const line = (name: string, state: string) =>
      `kpx-executor@${name}.service  loaded    ${state} running start KNIME Executor of ${name}\n`;
    const states = ['active', 'activating', 'deactivating', 'failed', 'inactive'];
    const alive = states.slice(0, 3).map((state) => `kpx-executor@DOM\\${state}.service`);
    expect(aliveIn(states.map((state) => line(`DOM\\${state}`, state)).join(''))).toEqual(alive);
    expect(aliveIn('')).toEqual([]);
  });

  it.each<[boolean, Partial<UnitState>]>([
    [true, {}],
    [true, { ActiveState: 'deactivating', Job: '812' }],
    [true, { ActiveState: 'inactive', Job: '812' }],
    [true, { ActiveState: 'failed', Job: '812' }],
    [false, { ActiveState: 'inactive' }],
    [false, { ActiveState: 'failed' }],
  ])('says whether it runs or will: %s of %j', (expected, given) => {
    expect(willRun(unit('kpx-executor@alice.service', given))).toBe(expected);
  });

  it('is of an account where the template is configured and the name is one of accounts', () => {
    for (const osUser of ['alice', 'DOM\\alice', 'a@b.c'] as OsUser[])
      expect(accountOf(nameOf('kpx-large@', osUser), executor)).toBe(osUser);
    for (const other of ['kpx-executor@-x.service', 'kpx-executor@.service', 'other@alice.service', 'sshd.service'])
      expect(accountOf(other, executor)).toBeUndefined();
  });

  it.each([
    ['active', ExecutorState.running],
    ['activating', ExecutorState.running],
    ['deactivating', ExecutorState.stopping],
    ['inactive', ExecutorState.exited],
    ['failed', ExecutorState.exited],
  ])('is, while %s, the state %i', (ActiveState, state) => {
    expect(executorOf(unit('kpx-executor@alice.service', { ActiveState }), 'alice' as OsUser, CONFIG, NOW_MS)).toMatchObject({ state });
  });

  it('becomes one executor an account: the one that runs, whatever has failed under another profile, by name', () => {
    const [zoe, other] = [unit('kpx-executor@zoe.service', FAILED), unit('elsewhere@carl.service')];
    const pair = [unit('kpx-executor@alice.service', FAILED), unit('kpx-large@alice.service')];
    expect(pair.map((each) => [isAlive(each), uidOf(each)])).toEqual([
      [false, undefined],
      [true, 1_000],
    ]);
    for (const units of [
      [zoe, ...pair],
      [...pair.toReversed(), zoe],
    ]) {
      const [alice, last, ...more] = executorsOf([...units, other], CONFIG, NOW_MS);
      expect(alice).toMatchObject({ osUser: 'alice', uid: 1_000, knimeUsers: ['alice', 'al'], mainPid: 42, cpuMs: 2 });
      expect(Date.now() - (alice?.sinceMs ?? 0)).toBeGreaterThanOrEqual(1_000);
      expect(last).toMatchObject({ osUser: 'zoe', uid: 0, state: ExecutorState.exited, lastExit: 'exit 3', cpuMs: 0 });
      expect(more).toEqual([]);
    }
  });

  it.each(['0', '[not set]'])('leaves out what runs as uid %s: the broker would end the connection', (UID) => {
    expect(executorsOf([unit('kpx-executor@alice.service', { UID })], CONFIG, NOW_MS)).toEqual([]);
  });

  it.each([
    ['1', '203', 'exit-code', 'HOST_FAILED'],
    ['1', '224', 'exit-code', 'LAUNCH_FAILED'],
    ['1', '3', 'exit-code', 'LAUNCH_FAILED'],
    ['2', '9', 'oom-kill', 'LAUNCH_FAILED'],
    ['0', '0', 'resources', 'HOST_FAILED'],
    ['0', '0', 'success', 'LAUNCH_FAILED'],
  ])('says of a start with code %s, status %s and result %s that it is %s', (ExecMainCode, ExecMainStatus, Result, code) => {
    const state = unit('kpx-executor@alice.service', { ...FAILED, ExecMainCode, ExecMainStatus, Result });
    expect(notStarted(state.Id, state)).toMatchObject({ code });
  });

  it.each([
    ['activating', '', 'HOST_FAILED'],
    ['active', '', 'HOST_FAILED'],
    ['inactive', '812', 'HOST_FAILED'],
    ['deactivating', '', 'LAUNCH_FAILED'],
    ['inactive', '', 'LAUNCH_FAILED'],
  ])('says of a start whose end nobody has told, with the unit %s and the job "%s", that it is %s', (ActiveState, Job, code) => {
    const state = unit('kpx-executor@alice.service', { ActiveState, Job });
    expect(notStarted(state.Id, state)).toMatchObject({ code });
  });

  it.each([
    [undefined, 'systemd knows nothing of kpx-executor@alice.service: see journalctl'],
    [
      unit('kpx-executor@alice.service', { LoadState: 'not-found' }),
      'systemd cannot load kpx-executor@alice.service (not-found): see systemctl status',
    ],
    [
      unit('kpx-executor@alice.service', { ...FAILED, Result: 'protocol', ExecMainCode: '2', ExecMainStatus: '99' }),
      'did not start: result protocol, signal 99 (protocol)',
    ],
    [
      unit('kpx-executor@alice.service', { ...FAILED, Result: 'resources', ExecMainCode: '0' }),
      'did not start: result resources, no process',
    ],
  ])('says of a unit that did not start why, and where to look', (state, message) => {
    expect(notStarted('kpx-executor@alice.service', state).message).toContain(message);
  });

  describe('of an executor that a first step keeps from starting', () => {
    const waiting = unit('kpx-executor@alice.service', { ActiveState: 'inactive', MainPID: '0', UID: '[not set]' });
    const step = (given: Partial<UnitState>) =>
      unit('kpx-ticket@alice.service', { ...FAILED, StateChangeTimestampMonotonic: '9000001', ...given });

    it('knows these steps by the name of the account', () => {
      expect(firstStepsOf('alice')).toEqual(['kpx-ticket@alice.service', 'kpx-drive@alice.service']);
    });

    it.each([
      ['77', 'the keytab is outdated', 'CREDENTIALS_REFUSED', "the keytab is outdated (journalctl --unit 'kpx-ticket@alice.service')"],
      ['77', '', 'CREDENTIALS_REFUSED', 'kpx-ticket@alice.service did not start: result exit-code, exit 77: see journalctl'],
      ['75', 'no KDC answers', 'HOST_FAILED', "no KDC answers (journalctl --unit 'kpx-ticket@alice.service')"],
      ['243', 'of no use', 'HOST_FAILED', 'kpx-ticket@alice.service did not start: result exit-code, exit 243'],
      ['1', 'of no use', 'LAUNCH_FAILED', 'kpx-ticket@alice.service did not start: result exit-code, exit 1'],
    ])('with exit %s and the words %j says %s', (ExecMainStatus, StatusText, code, message) => {
      const error = notStarted(waiting.Id, waiting, [step({ ExecMainStatus, StatusText })]);
      expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
    });

    it('blames the host for one that takes too long', () => {
      const late = step({ ExecMainCode: '2', ExecMainStatus: '15', Result: 'timeout' });
      expect(notStarted(waiting.Id, waiting, [late])).toMatchObject({ code: 'HOST_FAILED', message: expect.stringContaining('timeout') });
    });

    it.each([
      ['that failed before the executor did', step({ ExecMainStatus: '77', StateChangeTimestampMonotonic: '8999999' })],
      ['that works', unit('kpx-ticket@alice.service', { StateChangeTimestampMonotonic: '9000001' })],
      ['that is not installed', unit('kpx-ticket@alice.service', { LoadState: 'not-found', ActiveState: 'inactive' })],
    ])('does not blame a step %s', (_, innocent) => {
      const failed = unit('kpx-executor@alice.service', FAILED);
      expect(notStarted(failed.Id, failed, [innocent]).message).toContain(
        'kpx-executor@alice.service did not start: result exit-code, exit 3',
      );
    });
  });

  it.each([
    [
      '1',
      '224',
      'exit-code',
      'LAUNCH_FAILED',
      /^PAM refuses the account, or cannot tell: .*journalctl --unit 'kpx-account@alice\.service'$/,
    ],
    ['2', '9', 'timeout', 'HOST_FAILED', /^kpx-account@alice\.service did not start: result timeout/],
    ['1', '217', 'exit-code', 'HOST_FAILED', /^kpx-account@alice\.service did not start: result exit-code, exit 217/],
  ])(
    'says of PAM’s account step that ends with code %s, status %s and result %s that it is %s',
    (ExecMainCode, ExecMainStatus, Result, code, message) => {
      const gate = unit(gateOf('alice'), { ...FAILED, ExecMainCode, ExecMainStatus, Result });
      expect(notAdmitted(gate.Id, gate)).toMatchObject({ code, message: expect.stringMatching(message) });
      expect(notAdmitted(gate.Id, undefined)).toMatchObject({ code: 'HOST_FAILED' });
    },
  );

  it.each(['18446744073709551615', '[not set]'])('counts no processor time where systemd counts none (%s)', (CPUUsageNSec) => {
    const state = unit('kpx-executor@alice.service', { CPUUsageNSec });
    expect(executorOf(state, 'alice' as OsUser, CONFIG, NOW_MS)).toMatchObject({ cpuMs: 0 });
  });
});
