import { mkdirSync, writeFileSync } from 'node:fs';
import { type ErrorCode, StopMode } from '@kpx/protocol';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { LOW_UID_ACCOUNT } from '../fixtures/accounts.js';
import { HelperInstallation, idsOf } from '../fixtures/helper-installation.js';
import { RawAccounts } from '../fixtures/raw-accounts.js';
import { refusal } from '../integration/installed-helper.js';
import { ELIGIBLE, Target } from './target.js';

/*
 * Names that could be an account's: of nobody, or of one that may not have an executor. Values of a passwd line that a hostile directory
 * service may have put there. Each is asked for with every verb that carries a name.
 */

const NEWLINE = Buffer.from('\n');

let target: Target;
afterEach(() => target.canary());

async function expectRefused(name: string, code: ErrorCode, message: string): Promise<void> {
  const connection = await target.greeted();
  expect(await connection.prepare(name)).toEqual(refusal(code, message));
  expect(await connection.spawn(name)).toEqual(refusal(code, message));
  expect(await connection.stop(name, StopMode.kill)).toEqual(refusal('NOT_RUNNING', 'no executor of'));
  const said = { event: 'request', decision: 'refused', knime_user: name };
  for (const verb of ['prepareUser', 'spawnExecutor']) {
    expect(await target.audited({ ...said, verb, code })).toMatchObject({ reason: expect.stringContaining(message) });
  }
  expect(await target.audited({ ...said, verb: 'stopExecutor' })).toMatchObject({ code: 'NOT_RUNNING' });
}

describe('with lists of accounts, groups and shells', () => {
  const accounts = new RawAccounts();
  const listed = (name: string) => accounts.group('kpx-test-users', [name]);

  /** Whose only fault is what the test is about: it has a group of allowed_groups. */
  function member(name: string, given: Parameters<RawAccounts['account']>[1] = {}): void {
    accounts.account(name, given);
    listed(name);
  }

  beforeAll(async () => {
    accounts.group('kpx-test-users', [...ELIGIBLE, 'mallory', LOW_UID_ACCOUNT, 'relay']);
    const contractors = accounts.group('contractors', ['temp.worker', 'ghost']);
    member('toor', { uid: 0 });
    member('rootgroup', { gid: 0 });
    member('nearly', { uid: 999 });
    member('temp.worker');
    member('temp.primary', { gid: contractors });
    member('nologin', { shell: '/usr/sbin/nologin' });
    member('falseshell', { shell: '/bin/false' });
    member('noshell', { shell: '' });
    member('twin', { uid: idsOf('bob').uid });
    accounts.account('outsider');
    accounts.line('huge:x:4294967296:4294967296::/home/huge:/bin/bash');
    accounts.line('minusone:x:4294967295:4294967295::/home/minusone:/bin/bash');
    accounts.line('negative:x:-1:-1::/home/negative:/bin/bash');
    accounts.line('negativezero:x:-0:-0::/home/negativezero:/bin/bash');
    accounts.line('hexzero:x:0x0:0x0::/home/hexzero:/bin/bash');
    accounts.line('blankuid:x: 0:0::/home/blankuid:/bin/bash');
    accounts.line('nouid:x::::/home/nouid:/bin/bash');
    accounts.line('few:x:1001:1001');
    target = await Target.start({
      config: {
        accounts: {
          denied_users: ['mallory', 'no.such.account'],
          denied_groups: ['contractors'],
          allowed_groups: ['kpx-test-users'],
          denied_shells: ['/usr/sbin/nologin', '/bin/false', '/bin/sh'],
          map: {
            boss: 'root',
            'Admin.Person': 'root',
            'to.toor': 'toor',
            'to.mallory': 'mallory',
            'to.ghost': 'no-such-account',
            'to.contractor': 'temp.worker',
            hop: 'relay',
            relay: 'root',
            daemon2: 'daemon',
            'root.with.detour': 'ROOT',
          },
        },
      },
    });
    return async () => {
      await target.end();
      accounts.remove();
    };
  });

  const ROOT = 'it has the uid or gid of root';
  const LOW = 'is below min_uid 1000';
  it.each<[what: string, name: string, message: string]>([
    ['root', 'root', ROOT],
    ['root in capitals', 'ROOT', ROOT],
    ['root with a capital', 'Root', ROOT],
    ['root in mixed case', 'rOOt', ROOT],
    ['uid 0 under another name', 'toor', ROOT],
    ['uid 0 under another name, in capitals', 'TOOR', ROOT],
    ['group 0', 'rootgroup', ROOT],
    ['mapped to root', 'boss', ROOT],
    ['mapped to root, in capitals', 'BOSS', ROOT],
    ['mapped to root, written with capitals in the map', 'admin.person', ROOT],
    ['mapped to uid 0 under another name', 'to.toor', ROOT],
    ['mapped away from its own account, to root', 'relay', ROOT],
    ['uid 999', 'nearly', LOW],
    ['a system account with a login shell', LOW_UID_ACCOUNT, LOW],
    ['the broker’s own account', 'kpx-broker', LOW],
    ['mapped to a system account', 'daemon2', LOW],
    ...[
      'daemon',
      'bin',
      'sys',
      'sync',
      'games',
      'man',
      'lp',
      'mail',
      'news',
      'uucp',
      'proxy',
      'www-data',
      'backup',
      'list',
      'irc',
      '_apt',
    ].map((name): [string, string, string] => ['of the system', name, LOW]),
    ['in denied_users', 'mallory', 'it is in denied_users'],
    ['in denied_users, in capitals', 'MALLORY', 'it is in denied_users'],
    ['mapped to one in denied_users', 'to.mallory', 'it is in denied_users'],
    ['in a group of denied_groups, and of allowed_groups', 'temp.worker', 'its group "contractors" is in denied_groups'],
    ['of which the primary group is in denied_groups', 'temp.primary', 'its group "contractors" is in denied_groups'],
    ['mapped to one in denied_groups', 'to.contractor', 'its group "contractors" is in denied_groups'],
    ['in no group of allowed_groups', 'outsider', 'none of its groups is in allowed_groups'],
    ['in no group of allowed_groups, with a group of its own', 'dave', 'none of its groups is in allowed_groups'],
    ['which cannot log in', 'nologin', 'its shell /usr/sbin/nologin is in denied_shells'],
    ['with another shell that is none', 'falseshell', 'its shell /bin/false is in denied_shells'],
    ['without a shell, which is /bin/sh', 'noshell', 'its shell /bin/sh is in denied_shells'],
    ['nobody', 'nobody', 'its shell /usr/sbin/nologin is in denied_shells'],
    ['of a line of passwd that is too short to name a shell', 'few', 'its shell /bin/sh is in denied_shells'],
    ['of a line of passwd with uid -0', 'negativezero', ROOT],
    ['of a line of passwd with a blank before uid 0', 'blankuid', ROOT],
    ['with the uid of somebody else', 'twin', 'belongs to "bob"'],
  ])('an account may have no executor: %s (%s)', async (_what, name, message) => {
    await expectRefused(name, 'ACCOUNT_DENIED', message);
  });

  it('uid -1, which is "no id", is no usable answer of the name service', async () => {
    await expectRefused('minusone', 'ACCOUNT_LOOKUP_FAILED', 'the name service gave no usable answer for the account "minusone"');
  });

  it.each<[what: string, name: string, account: string]>([
    ['an account that does not exist', 'to.ghost', 'no-such-account'],
    ['a name that is mapped to root itself: the map is not followed twice', 'hop', 'relay'],
    ['root in capitals, which is nobody', 'root.with.detour', 'ROOT'],
  ])('the map leads to %s', async (_what, name, account) => {
    await expectRefused(name, 'ACCOUNT_UNKNOWN', `there is no account "${account}" on this machine`);
  });

  it.each<[what: string, name: string]>([
    ['in denied_users, and does not exist', 'no.such.account'],
    ['in a group’s list of members, and does not exist', 'ghost'],
    ['zero in hexadecimal', '0x0'],
    ['zero with an exponent', '0e0'],
    ['a thousand with an exponent', '1e3'],
    ['a uid with a letter', '1000u'],
    ['a uid behind an at sign', '@1000'],
    ['a uid with a fraction', '1000.0'],
    ['a uid with separators', '1_000'],
    ['a uid with a dash', '0-0'],
    ['a name of JavaScript’s: NaN', 'NaN'],
    ['a name of JavaScript’s: Infinity', 'Infinity'],
    ['a name of JavaScript’s: undefined', 'undefined'],
    ['a name of JavaScript’s: null', 'null'],
    ['a name of JavaScript’s: __proto__', '__proto__'],
    ['a name of JavaScript’s: constructor', 'constructor'],
    ['a name of JavaScript’s: prototype', 'prototype'],
    ['a name of JavaScript’s: toString', 'toString'],
    ['a name of JavaScript’s: hasOwnProperty', 'hasOwnProperty'],
    ['a name of JavaScript’s: __defineGetter__', '__defineGetter__'],
    ['root of this machine', 'root@localhost'],
    ['root of a domain', 'CORP\\root'],
    ['root of no domain', '\\root'],
    ['root of no domain, twice', '\\\\root'],
    ['root behind an at sign', '@root'],
    ['root before an at sign', 'root@'],
    ['root before an escaped NUL', 'root\\0'],
    ['root before an escaped NUL, in hexadecimal', 'root\\x00'],
    ['root, escaped as systemd does it', '\\x72oot'],
    ['root with a dot after it', 'root.'],
    ['root with an underscore', '_root'],
    ['root with a digit', 'r00t'],
    ['an eligible name of a domain', 'CORP\\alice'],
    ['an eligible name with a domain', 'alice@corp.example'],
    ['an eligible name with a dot after it', 'alice.'],
    ['an eligible name with a backslash', 'al\\ice'],
    ['an eligible name of which the escaped dash is no dash', 'svc\\x2dreport'],
    ['a unit', 'alice.service'],
    ['an instance', 'kpx-executor@alice'],
    ['an instance of an instance', 'alice@bob'],
    ['the unit of the helper', 'kpx-privhelper@0-1-0.service'],
    ['the name of an environment file', 'alice.env'],
    ['what ends in two dots', 'alice..'],
    ['the name of a directory of another', 'alice_temp'],
    ['a group, and no account', 'knime-admins'],
    ['64 letters, as long as a name may be', 'a'.repeat(64)],
    ['63 letters and a trailing name', `${'a'.repeat(59)}alice`],
    ['nothing but an underscore', '_'],
    ['nothing but an at sign', '@'],
    ['a line of passwd with uid 2^32, which is 0 in 32 bits', 'huge'],
    ['a line of passwd without a uid', 'nouid'],
    ['a line of passwd with a hexadecimal uid', 'hexzero'],
    ['a line of passwd with a negative uid', 'negative'],
  ])('there is no such account: %s', async (_what, name) => {
    await expectRefused(name, 'ACCOUNT_UNKNOWN', `there is no account "${name.toLowerCase()}" on this machine`);
  });
});

/** Names that a directory service answers for as it likes: by name, and by uid where it is asked back. */
const ALIASES: readonly (readonly [what: string, asked: string, answers: Record<string, string>, message: string])[] = [
  ['with its domain', 'anna', { anna: 'anna@corp.example:x:5001:5001::/home/anna:/bin/bash' }, 'calls it "anna@corp.example"'],
  ['with another domain', 'anna@a', { 'anna@a': 'anna@b:x:5001:5001::/home/anna:/bin/bash' }, 'calls it "anna@b"'],
  ['without its domain', 'CORP\\anna', { 'CORP\\anna': 'anna:x:5001:5001::/home/anna:/bin/bash' }, 'calls it "anna"'],
  [
    'with a backslash for an at sign',
    'anna@CORP',
    { 'anna@CORP': 'CORP\\anna:x:5001:5001::/home/anna:/bin/bash' },
    'calls it "CORP\\anna"',
  ],
  ['in another case', 'Anna', { Anna: 'anna:x:5001:5001::/home/anna:/bin/bash' }, 'calls it "anna"'],
  ['by an eligible name', 'anna2', { anna2: 'alice:x:5001:5001::/home/anna:/bin/bash' }, 'calls it "alice"'],
  ['root', 'anna3', { anna3: 'root:x:0:0:root:/root:/bin/bash' }, 'calls it "root"'],
  ['root, in capitals as it was asked for', 'ROOT', { ROOT: 'ROOT:x:0:0:root:/root:/bin/bash' }, 'it has the uid or gid of root'],
  ['root, with a blank after it', 'anna4', { anna4: 'root :x:5001:5001::/home/anna:/bin/bash' }, 'calls it "root "'],
  ['with a blank after it', 'anna5', { anna5: 'anna5 :x:5001:5001::/home/anna:/bin/bash' }, 'calls it "anna5 "'],
  ['with an invisible character', 'anna6', { anna6: 'anna6\u200b:x:5001:5001::/home/anna:/bin/bash' }, 'calls it "anna6\u200b"'],
  ['with a terminal’s escape sequence', 'anna7', { anna7: '\u001b[2K:x:5001:5001::/home/anna:/bin/bash' }, 'calls it "\u001b[2K"'],
  ['a path', 'anna8', { anna8: '../../etc:x:5001:5001::/home/anna:/bin/bash' }, 'calls it "../../etc"'],
  ['an option', 'anna9', { anna9: '--help:x:5001:5001::/home/anna:/bin/bash' }, 'calls it "--help"'],
  ['+, as NIS did', 'anna10', { anna10: '+:x:5001:5001::/home/anna:/bin/bash' }, 'calls it "+"'],
  ['itself, with the uid of root', 'eve1', { eve1: 'eve1:x:0:5001::/home/eve:/bin/bash' }, 'it has the uid or gid of root'],
  ['itself, with the group of root', 'eve2', { eve2: 'eve2:x:5001:0::/home/eve:/bin/bash' }, 'it has the uid or gid of root'],
  ['itself, with uid 0 in ten digits', 'eve3', { eve3: 'eve3:x:0000000000:5001::/home/eve:/bin/bash' }, 'it has the uid or gid of root'],
  ['itself, with a uid that nobody has when asked back', 'eve4', { eve4: 'eve4:x:5004:5004::/home/eve:/bin/bash' }, 'belongs to "nobody"'],
  [
    'itself, with a uid that is another’s when asked back',
    'eve5',
    { eve5: 'eve5:x:5005:5005::/home/eve:/bin/bash', 5005: 'other:x:5005:5005::/home/eve:/bin/bash' },
    'its uid 5005 belongs to "other"',
  ],
  [
    'itself, with a uid that is root’s when asked back',
    'eve6',
    { eve6: 'eve6:x:5006:5006::/home/eve:/bin/bash', 5006: 'root:x:0:0::/root:/bin/bash' },
    'its uid 5006 belongs to "root"',
  ],
];

const NOT_PLAIN_HOME = 'its home is not a plain absolute path';
const NOT_BELOW = 'is not below any of home_parents';
const HOMES: readonly (readonly [what: string, home: string | Buffer, code: ErrorCode, message: string])[] = [
  ['none', '', 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['relative', 'home/h', 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['relative, from here', './h', 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['a tilde', '~root', 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['a variable', '$HOME', 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['/', '/', 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['with two slashes before it', '//home/h', 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['with two slashes in it', '/home//h', 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['with a slash after it', '/home/h/', 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['with a way up', '/home/../etc', 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['with a way up at its end', '/home/h/..', 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['with a dot', '/home/./h', 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['with a tab', '/home/h\t', 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['with a carriage return', '/home/h\r', 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['with a terminal’s escape sequence', '/home/\u001b]0;h', 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['with DEL', '/home/h\u007f', 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['with a C1 control character', '/home/h\u009b', 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['with a noncharacter', '/home/h\ufffe', 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['that is not UTF-8', Buffer.from('/home/h\xff', 'latin1'), 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['with a part of 256 letters', `/home/${'h'.repeat(256)}`, 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['of 65 parts', '/h'.repeat(65), 'ACCOUNT_DENIED', NOT_PLAIN_HOME],
  ['/etc', '/etc', 'HOME_UNUSABLE', NOT_BELOW],
  ['/root', '/root', 'HOME_UNUSABLE', NOT_BELOW],
  ['the parent of all homes', '/home', 'HOME_UNUSABLE', NOT_BELOW],
  ['beside the parent of all homes, with its name', '/homes/h', 'HOME_UNUSABLE', NOT_BELOW],
  ['below /etc', '/etc/cron.d/h', 'HOME_UNUSABLE', NOT_BELOW],
  ['below /proc, where it would be in /home', '/proc/1/root/home/h', 'HOME_UNUSABLE', NOT_BELOW],
  ['below /dev/shm, which is everybody’s', '/dev/shm/h', 'HOME_UNUSABLE', NOT_BELOW],
  ['another user’s', '/home/bob', 'HOME_UNUSABLE', 'exists and belongs to uid'],
  ['in another user’s', '/home/bob/h', 'DIRECTORY_UNSAFE', '/home/bob belongs to uid'],
  ['hidden', '/home/.ssh', 'HOME_UNUSABLE', 'starts with a dot'],
  ['what kpx makes homes under', '/home/.kpx-new-bob', 'HOME_UNUSABLE', 'starts with a dot'],
  ['below what does not exist', '/home/nowhere/h', 'DIRECTORY_FAILED', '/home/nowhere does not exist'],
];

const NOT_PLAIN_SHELL = 'its shell is not a plain absolute path';
const SHELLS: readonly (readonly [what: string, shell: string])[] = [
  ['without a path', 'bash'],
  ['with an option and no path', '-c id'],
  ['with a way up', '/bin/../tmp/sh'],
  ['a directory', '/bin/'],
  ['/', '/'],
  ['with a tab', '/bin/sh\t-c'],
  ['with a terminal’s escape sequence', '/bin/sh\u001b[2K'],
  ['with a noncharacter, for which systemd would refuse the whole environment', '/bin/sh\uffff'],
];

describe('with a directory service that answers as it likes', () => {
  /** Of the first of them. */
  const uids = { home: 6_000, shell: 7_000 };

  beforeAll(async () => {
    const installation = new HelperInstallation({ config: { accounts: { case: 'keep' } } });
    const answers = `${installation.etc}/answers`;
    mkdirSync(answers);
    const given = `f="${answers}/$3"; if [ "$1" = passwd ] && [ -f "$f" ]; then cat "$f"; exit 0; fi; exec $real "$@"`;
    const answer = (key: string, line: string | Buffer) => writeFileSync(`${answers}/${key}`, Buffer.concat([Buffer.from(line), NEWLINE]));
    for (const [, , lines] of ALIASES) for (const [key, line] of Object.entries(lines)) answer(key, line);
    const account = (name: string, uid: number, home: string | Buffer, shell: string) => {
      const line = Buffer.concat([Buffer.from(`${name}:x:${uid}:${uid}::`), Buffer.from(home), Buffer.from(`:${shell}`)]);
      for (const key of [name, `${uid}`]) answer(key, line);
    };
    HOMES.forEach(([, home], index) => void account(`home${index}`, uids.home + index, home, '/bin/bash'));
    SHELLS.forEach(([, shell], index) => void account(`shell${index}`, uids.shell + index, `/home/shell${index}`, shell));
    target = await Target.of(installation, { wrap: installation.inPlaceOf('/usr/bin/getent', given) });
    return () => target.end();
  });

  it.each(ALIASES)('an account that it calls %s is refused', async (_what, asked, _lines, message) => {
    await expectRefused(asked, 'ACCOUNT_DENIED', message);
  });

  it.each(HOMES.map((row, index) => [...row, `home${index}`] as const))(
    'a home is refused: %s',
    async (_what, _home, code, message, name) => {
      await expectRefused(name, code, message);
    },
  );

  it.each(SHELLS.map(([what], index) => [what, `shell${index}`] as const))('a shell is refused: %s', async (_what, name) => {
    await expectRefused(name, 'ACCOUNT_DENIED', NOT_PLAIN_SHELL);
  });

  it('nobody is refused where shells are not looked at, too: its home', async () => {
    await expectRefused('nobody', 'HOME_UNUSABLE', 'the home /nonexistent of "nobody" is not below any of home_parents');
  });
});
