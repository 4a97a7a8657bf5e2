import { type ExecutorInfo, ExecutorState, type KnimeUser, KpxError, osUserSchema, privhelperConfigSchema, withMap } from '@kpx/protocol';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { judgeAccount, refusalOf } from './accounts.js';
import type { AccountsConfig } from './config.js';
import { lookUpAccount, lookUpGroups, lookUpIds, type PasswdEntry } from './system/name-service.js';

/*
 * Every judgement on what a name service may say. That it is asked rightly, and real ones: test/integration/helper-accounts.test.ts and
 * helper-name-service.test.ts.
 */
vi.mock('./system/name-service.js');

const ALICE: PasswdEntry = { name: 'alice', uid: 1_000, gid: 1_000, home: '/home/alice', shell: '/bin/bash' };
const signal = AbortSignal.timeout(60_000);
const nameOf = (text: string) => text as KnimeUser;

function configOf({ map = {}, ...given }: { map?: Record<string, string>; [key: string]: unknown } = {}): AccountsConfig {
  const { accounts } = privhelperConfigSchema.parse({ accounts: { ...given, map }, executor: { launcher: 'systemd' } });
  return withMap(accounts);
}

/** The gid of each group is its number of characters, unless it is told. */
const gidOf = (group: string) => group.length;

/** The name service knows these, by name and by uid, and these groups of everybody. `gids` are those of further names of groups. */
function nameServiceKnows(entries: PasswdEntry[], groups: string[] = [], gids: Record<string, number> = {}): void {
  vi.mocked(lookUpAccount).mockImplementation(async (key) => entries.find(({ name, uid }) => name === key || uid === key));
  vi.mocked(lookUpGroups).mockResolvedValue(groups.map((name) => ({ name, gid: gidOf(name) })));
  vi.mocked(lookUpIds).mockImplementation(async (database, names) => {
    const known =
      database === 'passwd' ? entries.map(({ name, uid }) => [name, uid] as const) : groups.map((name) => [name, gidOf(name)] as const);
    return new Map([...known, ...Object.entries(gids)].filter(([name]) => names.includes(name)));
  });
}

const judge = (name: string, config = configOf()) => judgeAccount(nameOf(name), config, signal);
const refusedWith = (code: string, message: string) => expect.objectContaining({ name: 'KpxError', code, message });
const denied = (why: string) => refusedWith('ACCOUNT_DENIED', `the account "alice" may not have an executor: ${why}`);

beforeEach(() => {
  vi.resetAllMocks();
  nameServiceKnows([ALICE]);
});

describe('an account', () => {
  it('that is judged to be eligible is what the name service says, with every name that stands for it', async () => {
    expect(await judge('Al', configOf({ map: { al: 'alice' } }))).toEqual({
      osUser: 'alice',
      uid: 1_000,
      gid: 1_000,
      home: '/home/alice',
      shell: '/bin/bash',
      knimeUsers: ['alice', 'al'],
    });
    expect(vi.mocked(lookUpAccount).mock.calls).toEqual([
      ['alice', signal],
      [1_000, signal],
    ]);
    expect(lookUpGroups).not.toHaveBeenCalled();
  });

  it('that no account can have is refused without a question', async () => {
    await expect(judge('Anna Müller')).rejects.toEqual(
      refusedWith('ACCOUNT_DENIED', 'no account can be called "Anna Müller": [accounts.map] must lead it to one'),
    );
    expect(lookUpAccount).not.toHaveBeenCalled();
    expect(await judge('ANNA MÜLLER', configOf({ map: { 'Anna Müller': 'alice' } }))).toMatchObject({
      knimeUsers: ['alice', 'anna müller'],
    });
  });

  it('that does not exist is unknown', async () => {
    await expect(judge('bob')).rejects.toEqual(refusedWith('ACCOUNT_UNKNOWN', 'there is no account "bob" on this machine'));
  });

  it('that the name service calls by another name is denied', async () => {
    vi.mocked(lookUpAccount).mockResolvedValue({ ...ALICE, name: 'Alice' });
    await expect(judge('alice')).rejects.toEqual(denied('the name service calls it "Alice"'));
  });

  it.each([
    ['uid', { uid: 0 }],
    ['gid', { gid: 0 }],
  ])('with root’s %s is denied, whatever min_uid is', async (_, ids) => {
    nameServiceKnows([{ ...ALICE, ...ids }]);
    await expect(judge('alice', configOf({ min_uid: 1 }))).rejects.toEqual(denied('it has the uid or gid of root'));
  });

  it('is denied below min_uid, not at it', async () => {
    await expect(judge('alice', configOf({ min_uid: 1_001 }))).rejects.toEqual(denied('its uid 1000 is below min_uid 1001'));
    expect(await judge('alice', configOf({ min_uid: 1_000 }))).toMatchObject({ uid: 1_000 });
  });

  it('is denied by its name or its shell', async () => {
    await expect(judge('alice', configOf({ denied_users: ['bob', 'alice'] }))).rejects.toEqual(denied('it is in denied_users'));
    const shells = configOf({ denied_shells: ['/bin/false', '/bin/bash'] });
    await expect(judge('alice', shells)).rejects.toEqual(denied('its shell /bin/bash is in denied_shells'));
    expect(await judge('alice', configOf({ denied_users: ['bob'], denied_shells: ['/bin/false'] }))).toMatchObject({ uid: 1_000 });
  });

  const deep = (components: number) => '/a'.repeat(components);
  it.each(['/h', '/home/.alice', '/home/..alice', '/home/...', '/home/al ice', '/home/älice', `/${'a'.repeat(255)}`, deep(64)])(
    'may have its home or its shell at %s',
    async (path) => {
      nameServiceKnows([{ ...ALICE, home: path, shell: path }]);
      expect(await judge('alice')).toMatchObject({ home: path, shell: path });
    },
  );

  it.each([
    ['empty', ''],
    ['the root', '/'],
    ['relative', 'home/alice'],
    ['of a directory, by its end', '/home/alice/'],
    ['with an empty component', '/home//alice'],
    ['with . in it', '/home/./alice'],
    ['ending in .', '/home/.'],
    ['with .. in it', '/home/../etc'],
    ['ending in ..', '/home/..'],
    ['with a newline', '/home/alice\n'],
    ['after a newline', '\n/home/alice'],
    ['with a control character', '/home/al\u0085ice'],
    ['with a noncharacter', '/home/al\uffffice'],
    ['with a component of 256 characters', `/${'a'.repeat(256)}`],
    ['65 components deep', deep(65)],
  ])('whose home or shell is %s is denied', async (_, path) => {
    nameServiceKnows([{ ...ALICE, home: path }]);
    await expect(judge('alice')).rejects.toEqual(denied('its home is not a plain absolute path'));
    nameServiceKnows([{ ...ALICE, shell: path }]);
    await expect(judge('alice')).rejects.toEqual(denied('its shell is not a plain absolute path'));
  });

  it('whose uid leads back to another name, or to none, is denied', async () => {
    nameServiceKnows([{ ...ALICE, name: 'bob' }, ALICE]);
    await expect(judge('alice')).rejects.toEqual(denied('its uid 1000 belongs to "bob"'));
    vi.mocked(lookUpAccount).mockImplementation(async (key) => (key === 'alice' ? ALICE : undefined));
    await expect(judge('alice')).rejects.toEqual(denied('its uid 1000 belongs to "nobody"'));
  });

  it('is denied by one of its groups', async () => {
    nameServiceKnows([ALICE], ['alice', 'contractors', 'interns']);
    const config = configOf({ denied_groups: ['interns', 'contractors'] });
    await expect(judge('alice', config)).rejects.toEqual(denied('its group "contractors" is in denied_groups, by its name or its gid 11'));
    expect(lookUpGroups).toHaveBeenCalledWith('alice', signal);
    expect(await judge('alice', configOf({ denied_groups: ['guests'] }))).toMatchObject({ uid: 1_000 });
  });

  it.each([
    ['lower', ['Domain Guests'], ['domain guests']],
    ['lower', ['domain guests'], ['Domain Guests']],
    ['keep', ['Domain Guests'], ['Domain Guests']],
  ] as const)('is denied by a group in whatever case it is told, where case does not count (%s)', async (rule, denied_groups, groups) => {
    nameServiceKnows([ALICE], [...groups]);
    const config = configOf({ case: rule, denied_groups: [...denied_groups] });
    await expect(judge('alice', config)).rejects.toEqual(denied(`its group "${groups[0]}" is in denied_groups, by its name or its gid 13`));
  });

  it('is not denied by a group of another case, where case counts, and not allowed by one where it does not', async () => {
    nameServiceKnows([ALICE], ['analysts']);
    expect(await judge('alice', configOf({ case: 'keep', denied_groups: ['Analysts'] }))).toMatchObject({ uid: 1_000 });
    const config = configOf({ case: 'lower', allowed_groups: ['Analysts'] });
    await expect(judge('alice', config)).rejects.toEqual(denied('none of its groups is in allowed_groups'));
  });

  it('has to be in one of the allowed groups, where there are any', async () => {
    nameServiceKnows([ALICE], ['alice', 'analysts']);
    expect(await judge('alice', configOf({ allowed_groups: ['physics', 'analysts'] }))).toMatchObject({ uid: 1_000 });
    await expect(judge('alice', configOf({ allowed_groups: ['physics'] }))).rejects.toEqual(
      denied('none of its groups is in allowed_groups'),
    );
    expect(await judge('alice', configOf({ denied_groups: ['guests'], allowed_groups: ['analysts'] }))).toMatchObject({ uid: 1_000 });
  });

  it('is denied by its uid, where an account in denied_users has the same', async () => {
    nameServiceKnows([ALICE, { ...ALICE, name: 'mallory' }]);
    const config = configOf({ denied_users: ['nobody-at-all', 'mallory'] });
    await expect(judge('alice', config)).rejects.toEqual(denied('its uid 1000 is that of an account in denied_users'));
  });

  it('is denied by the gid of a group that has another name, too', async () => {
    nameServiceKnows([ALICE], ['alice', 'sailors'], { docker: gidOf('sailors') });
    const config = configOf({ denied_groups: ['docker'] });
    await expect(judge('alice', config)).rejects.toEqual(denied('its group "sailors" is in denied_groups, by its name or its gid 7'));
  });

  it('is not allowed by a group that has the name of an allowed one and another gid, nor by one that has its gid and another name', async () => {
    const config = configOf({ allowed_groups: ['analysts'] });
    nameServiceKnows([ALICE], ['analysts'], { analysts: 4_711 });
    await expect(judge('alice', config)).rejects.toEqual(denied('none of its groups is in allowed_groups'));
    nameServiceKnows([ALICE], ['chemists'], { analysts: gidOf('chemists') });
    await expect(judge('alice', config)).rejects.toEqual(denied('none of its groups is in allowed_groups'));
  });

  it('is not judged where the name service fails', async () => {
    const failure = new KpxError('ACCOUNT_LOOKUP_FAILED', 'no answer');
    vi.mocked(lookUpAccount).mockRejectedValue(failure);
    await expect(judge('alice')).rejects.toBe(failure);
    nameServiceKnows([ALICE]);
    vi.mocked(lookUpGroups).mockRejectedValue(failure);
    await expect(judge('alice', configOf({ denied_groups: ['guests'] }))).rejects.toBe(failure);
    nameServiceKnows([ALICE]);
    vi.mocked(lookUpIds).mockRejectedValue(failure);
    for (const list of ['denied_users', 'denied_groups', 'allowed_groups'])
      await expect(judge('alice', configOf({ [list]: ['guests'] }))).rejects.toBe(failure);
  });
});

describe('an executor that runs', () => {
  const running: ExecutorInfo = {
    osUser: osUserSchema.parse('alice'),
    uid: ALICE.uid,
    knimeUsers: [nameOf('alice')],
    state: ExecutorState.running,
    sinceMs: 1,
    mainPid: 2,
    lastExit: '',
    cpuMs: 0,
  };
  const refusal = (executor = running, config = configOf()) => refusalOf(executor, config, signal);

  it('is not refused while its account is eligible', async () => {
    expect(await refusal()).toBeUndefined();
  });

  it('is refused when its account is denied by now, is gone, or has another uid', async () => {
    const config = configOf({ denied_users: ['alice'] });
    expect(await refusal(running, config)).toBe('the account "alice" may not have an executor: it is in denied_users');
    expect(await refusal({ ...running, uid: 4_711 })).toBe('its uid is 1000 now');
    nameServiceKnows([]);
    expect(await refusal()).toBe('there is no account "alice" on this machine');
  });

  it('is not refused where the name service cannot say, where it has ended, or where nobody’s jobs go to it', async () => {
    vi.mocked(lookUpAccount).mockRejectedValue(new KpxError('ACCOUNT_LOOKUP_FAILED', 'no answer'));
    expect(await refusal()).toBeUndefined();
    nameServiceKnows([]);
    expect(await refusal({ ...running, state: ExecutorState.exited })).toBeUndefined();
    expect(await refusal({ ...running, knimeUsers: [] })).toBeUndefined();
  });
});
