import { knimeUserSchema, StopMode } from '@kpx/protocol';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Target } from './target.js';
import { NAMING } from './wire.js';

/*
 * Names that are none, or no account's. Each is said with every verb that carries a name; none comes near an account, a command, a path or a unit.
 */

let target: Target;

beforeAll(async () => {
  target = await Target.start();
  return () => target.end();
});
afterEach(() => target.canary());

const SPELLINGS_OF_ROOT: readonly (readonly [what: string, name: string])[] = [
  ['a blank before it', ' root'],
  ['a blank after it', 'root '],
  ['a tab before it', '\troot'],
  ['a newline after it', 'root\n'],
  ['a newline before it', '\nroot'],
  ['a carriage return after it', 'root\r'],
  ['both ends of a DOS line after it', 'root\r\n'],
  ['NUL after it', 'root\0'],
  ['NUL before it', '\0root'],
  ['NUL and another name after it', 'root\0alice'],
  ['another name and NUL before it', 'alice\0root'],
  ['a newline and another name before it', 'alice\nroot'],
  ['a newline and its line of passwd', 'alice\nroot:x:0:0:root:/root:/bin/bash'],
  ['its line of passwd', 'root:x:0:0'],
  ['a colon after it', 'root:'],
  ['a colon and its group', 'root:root'],
  ['a tilde before it', '~root'],
  ['a slash before it', '/root'],
  ['a slash after it', 'root/'],
  ['a hash before it', '#root'],
  ['a plus before it', '+root'],
  ['a minus before it', '-root'],
  ['a dot before it', '.root'],
  ['a percent-encoded letter', '%72oot'],
  ['a percent-encoded NUL', 'root%00'],
  ['an entity', '&#114;oot'],
  ['double quotes', '"root"'],
  ['single quotes', "'root'"],
  ['a backslash after it', 'root\\'],
  ['a comma and another name', 'root,alice'],
  ['an equals sign', 'User=root'],
  ['a wildcard', 'roo?'],
  ['a set of letters', '[r]oot'],
  ['braces', '{root}'],
  ['a command', '$(id -un)'],
  ['a command in backquotes', '`id -un`'],
  ['a variable', '$USER'],
  ['a variable in braces', '\u0024{USER}'],
  ['a terminal’s escape sequence', '\u001b[2Kroot'],
  ['a backspace', 'roott\b'],
  ['DEL', 'root\u007f'],
];

const NUMBERS: readonly (readonly [what: string, name: string])[] = [
  ['0', '0'],
  ['00', '00'],
  ['64 zeros', '0'.repeat(64)],
  ['+0', '+0'],
  ['-0', '-0'],
  ['#0', '#0'],
  ['0 and NUL', '0\0'],
  ['0 and a blank', '0 '],
  ['0 and a newline', '0\n'],
  ['an eligible uid', '1000'],
  ['a uid that nobody has', '4000000000'],
  ['-1', '-1'],
  ['-1 as the kernel sees it', '4294967295'],
  ['2^32, which is 0 in 32 bits', '4294967296'],
  ['2^64', '18446744073709551616'],
  ['a uid with #', '#1000'],
  ['a uid with +', '+1000'],
  ['uid:gid', '0:0'],
  ['a range', '0,0'],
  ['Arabic-Indic digits', '\u0660'],
  ['full-width digits', '\uff10'],
  ['a digit in a circle', '\u24ea'],
];

const LOOK_ALIKES: readonly (readonly [what: string, name: string])[] = [
  ['Cyrillic о', 'r\u043e\u043et'],
  ['Cyrillic а', '\u0430lice'],
  ['Greek omicron', 'r\u03bf\u03bft'],
  ['full-width letters', '\uff52\uff4f\uff4f\uff54'],
  ['mathematical letters, of two units each', '\u{1d42b}\u{1d428}\u{1d428}\u{1d42d}'],
  ['small capitals', '\u0280\u1d0f\u1d0f\u1d1b'],
  ['superscripts', 'ro\u1d52t'],
  ['the Kelvin sign, which folds to k', '\u212aim'],
  ['the Angstrom sign', '\u212blice'],
  ['a dotted capital I, which folds to two', 'AL\u0130CE'],
  ['a dotless i', 'al\u0131ce'],
  ['a long s', 'ro\u017ft'],
  ['a sharp s', 'ro\u00dft'],
  ['a ligature', 'o\ufb03ce'],
  ['a combining accent', 'root\u0301'],
  ['a letter with its accent', 'ro\u00f6t'],
  ['a combining grapheme joiner', 'ro\u034fot'],
  ['right-to-left override', '\u202etoor'],
  ['left-to-right isolate', '\u2066root\u2069'],
  ['a right-to-left mark', 'root\u200f'],
  ['a zero-width space', 'ro\u200bot'],
  ['a zero-width joiner', 'ro\u200dot'],
  ['a word joiner', 'root\u2060'],
  ['a soft hyphen', 'ro\u00adot'],
  ['a byte order mark', '\ufeffroot'],
  ['a no-break space', 'root\u00a0'],
  ['an ideographic space', 'root\u3000'],
  ['a line separator', 'alice\u2028root'],
  ['next line (C1)', 'alice\u0085root'],
  ['a variation selector', 'root\ufe0f'],
  ['a tag character', 'root\u{e0020}'],
  ['a private character', 'root\ue000'],
  ['a noncharacter', 'root\uffff'],
  ['the replacement character', 'root\ufffd'],
  ['a full-width commercial at', 'root\uff20localhost'],
  ['a division slash', 'a\u2215b'],
  ['one dot leader, twice', '\u2024\u2024'],
  ['nothing but a duck', '\u{1f986}'],
];

const FOR_SYSTEMD: readonly (readonly [what: string, name: string])[] = [
  ['the specifier of the instance', '%i'],
  ['the specifier of the user', '%u'],
  ['a specifier behind a name', 'alice%h'],
  ['a percent sign twice', '%%'],
  ['a second unit', 'alice.service root'],
  ['a newline and a section', 'alice\n[Service]\nUser=root'],
  ['a slash, which is a dash in a unit’s name', 'alice/root'],
  ['a wildcard for all instances', '*'],
  ['a wildcard behind a name', 'a*'],
  ['a colon of a unit’s name', 'alice:root'],
  ['a plus of an executable', '+alice'],
  ['an exclamation mark of an executable', '!alice'],
];

const PATHS: readonly (readonly [what: string, name: string])[] = [
  ['here', '.'],
  ['above', '..'],
  ['above, from here', './..'],
  ['above, with a slash', '../'],
  ['beside', '../alice'],
  ['far above', '../../../../etc'],
  ['two parts', 'a/b'],
  ['above in the middle', 'alice/../../root'],
  ['absolute', '/etc/passwd'],
  ['of a descriptor', '/proc/self/fd/3'],
  ['a slash', '/'],
  ['two slashes', '//'],
  ['hidden', '.bashrc'],
  ['hidden twice', '..bashrc'],
  ['three dots', '...'],
  ['what kpx makes directories under', '.kpx-new-alice'],
  ['with NUL before its end', 'alice\0/../root'],
];

const OPTIONS: readonly (readonly [what: string, name: string])[] = [
  ['a dash', '-'],
  ['two dashes', '--'],
  ['--help', '--help'],
  ['getent’s -s', '-sfiles'],
  ['setpriv’s --reuid=0', '--reuid=0'],
  ['cp’s --target-directory', '--target-directory=/etc'],
  ['systemctl’s --root', '--root=/tmp'],
  ['systemctl’s -H', '-Hroot@localhost'],
  ['id’s -Z', '-Z'],
];

const SHELL: readonly (readonly [what: string, name: string])[] = [
  ['a second command', 'alice; touch /srv/pwned'],
  ['a command in the background', 'alice & touch /srv/pwned'],
  ['a pipe', 'alice|tee /srv/pwned'],
  ['output into a file', 'alice>/srv/pwned'],
  ['input from a file', 'alice</etc/shadow'],
  ['a comment', 'alice #'],
  ['a subshell', '(alice)'],
  ['a history expansion', '!!'],
  ['SQL', "alice' OR '1'='1"],
  ['an LDAP filter', '*)(uid=*'],
  ['an LDAP name', 'uid=alice,dc=example'],
  ['a format string', '%s%n%x'],
  ['a template', '{user}'],
  ['JSON', '{"knime_user":"alice"}'],
];

const LENGTHS: readonly (readonly [what: string, name: string])[] = [
  ['65 letters', 'a'.repeat(65)],
  ['66 letters', 'a'.repeat(66)],
  ['255 letters', 'a'.repeat(255)],
  ['256 letters', 'a'.repeat(256)],
  ['4,096 letters', 'a'.repeat(4_096)],
  ['60,000 letters', 'a'.repeat(60_000)],
  ['65 letters, the last ones a name', `${'a'.repeat(60)}alice`],
  ['root, filled with NUL to 64', 'root'.padEnd(64, '\0')],
  ['root, filled with blanks to 64', 'root'.padEnd(64)],
  ['64 dots', '.'.repeat(64)],
  ['64 dashes', '-'.repeat(64)],
  ['60,000 digits', '1'.repeat(60_000)],
];

/** What no UTF-8 text can be: there is no such string here. */
const NOT_TEXT: readonly (readonly [what: string, bytes: Buffer])[] = [
  ['a slash in two bytes', Buffer.from([0x61, 0xc0, 0xaf, 0x62])],
  ['a dot in two bytes', Buffer.from([0xc0, 0xae, 0xc0, 0xae])],
  ['NUL in two bytes', Buffer.from([0x72, 0x6f, 0x6f, 0x74, 0xc0, 0x80])],
  ['a slash in three bytes', Buffer.from([0xe0, 0x80, 0xaf])],
  ['half a surrogate pair', Buffer.from([0x61, 0xed, 0xa0, 0x80])],
  ['a surrogate pair in six bytes', Buffer.from([0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80])],
  ['a byte that UTF-8 has not', Buffer.from([0x61, 0xff])],
  ['a beginning without an end', Buffer.from([0x61, 0xe2, 0x82])],
  ['an end without a beginning', Buffer.from([0x80, 0x61])],
  ['beyond Unicode', Buffer.from([0xf4, 0x90, 0x80, 0x80])],
  ['Latin-1', Buffer.from('größe', 'latin1')],
  ['UTF-16', Buffer.from('\ufeffroot', 'utf16le')],
];

async function expectRefused(name: string | Buffer, reason: (verb: string) => string): Promise<void> {
  for (const [verb, packet] of NAMING) {
    const connection = await target.greeted();
    connection.send(packet(name));
    await target.expectViolation(connection, reason(verb));
  }
}

/** What KNIME may call somebody, and no account can be called, is nobody's where the map does not have it. */
async function expectNobodys(name: string): Promise<void> {
  const connection = await target.greeted();
  const answers = [await connection.prepare(name), await connection.spawn(name), await connection.stop(name, StopMode.graceful)];
  for (const answer of answers)
    expect(answer).toMatchObject({
      kind: 'error',
      body: { code: 'ACCOUNT_DENIED', message: expect.stringContaining('no account can be called') },
    });
}

describe('a name', () => {
  const refused = async (_what: string, name: string) =>
    knimeUserSchema.safeParse(name).success ? await expectNobodys(name) : await expectRefused(name, (verb) => `${verb}: knimeUser`);

  it.each(SPELLINGS_OF_ROOT)('that is another spelling of root: %s', refused);
  it.each(NUMBERS)('that is a number: %s', refused);
  it.each(LOOK_ALIKES)('that looks like another one: %s', refused);
  it.each(FOR_SYSTEMD)('that means something to systemd: %s', refused);
  it.each(PATHS)('that is a path: %s', refused);
  it.each(OPTIONS)('that is an option of a command: %s', refused);
  it.each(SHELL)('that means something to a shell or another interpreter: %s', refused);
  it.each(LENGTHS)('of a length that none has: %s', refused);
  it.each(NOT_TEXT)('that is not UTF-8: %s', async (_what, name) => await expectRefused(name, () => 'a packet that is not'));
});
