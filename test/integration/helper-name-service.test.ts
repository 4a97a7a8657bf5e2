import { chmodSync, readdirSync, readFileSync } from 'node:fs';
import { REQUEST_DEADLINE_MS } from '@kpx/protocol';
import { describe, expect, it } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { HelperConnection } from '../fixtures/helper-connection.js';
import { idsOf } from '../fixtures/helper-installation.js';
import { installHelper, refusal } from './installed-helper.js';

/** getent(1): an enumeration or a database that is not supported. */
const GETENT_UNSUPPORTED = 3;

/** Asks for an account `evil`, for which getent runs this; every other name is looked up as always. */
async function withAnswer(script: string) {
  const installation = installHelper();
  const wrap = installation.inPlaceOf('/usr/bin/getent', `if [ "$3" = evil ]; then ${script}; else exec $real "$@"; fi`);
  await installation.startHelper({ wrap });
  return { installation, connection: await HelperConnection.greeted(installation.socket) };
}

const line = (text: string) => `printf '${text}'`;
const noUsableAnswer = (exitCode = 0) =>
  refusal('ACCOUNT_LOOKUP_FAILED', `the name service gave no usable answer for the account "evil" (getent exit ${exitCode})`);

const commandLines = () =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        return ''; // ended while we looked
      }
    });

describe('an answer of the name service', () => {
  it('that calls the account by another name is refused: an alias, another case, name@domain', async () => {
    const { uid } = idsOf('alice');
    for (const name of ['alice', 'Evil', 'evil@example.com']) {
      const { connection } = await withAnswer(line(`${name}:x:${uid}:${uid}::/home/alice:/bin/bash\\n`));
      expect(await connection.spawn('evil')).toEqual(refusal('ACCOUNT_DENIED', `the name service calls it "${name}"`));
    }
  });

  it.each([
    ['with a newline in the home', 'evil:x:5000:5000::/home/e\\nroot:x:0:0::/root:/bin/sh\\n'],
    ['of two lines', 'evil:x:5000:5000::/home/e:/bin/sh\\nevil:x:5001:5001::/home/e:/bin/sh\\n'],
    ['with six fields', 'evil:x:5000:5000::/home/e\\n'],
    ['with eight fields', 'evil:x:5000:5000::/home/e:/bin/sh:more\\n'],
    ['without an end of line', 'evil:x:5000:5000::/home/e:/bin/sh'],
    ['without a name', ':x:5000:5000::/home/e:/bin/sh\\n'],
    ['with uid 4294967295, which is "no id"', 'evil:x:4294967295:5000::/home/e:/bin/sh\\n'],
    ['with gid 4294967295, which is "no id"', 'evil:x:5000:4294967295::/home/e:/bin/sh\\n'],
    ['with uid 4294967296, which the kernel would take for 0', 'evil:x:4294967296:5000::/home/e:/bin/sh\\n'],
    ['with a negative uid', 'evil:x:-1:5000::/home/e:/bin/sh\\n'],
    ['with a hexadecimal uid', 'evil:x:0x10000:5000::/home/e:/bin/sh\\n'],
    ['with no uid', 'evil:x::5000::/home/e:/bin/sh\\n'],
    ['that is empty', ''],
  ])('%s is no answer', async (_what, answer) => {
    const { connection } = await withAnswer(line(answer));
    expect(await connection.spawn('evil')).toEqual(noUsableAnswer());
  });

  it.each([
    ['0000', '5000'],
    ['5000', '0000'],
  ])('with uid %s and gid %s is that of root', async (uid, gid) => {
    const { connection } = await withAnswer(line(`evil:x:${uid}:${gid}::/home/e:/bin/sh\\n`));
    expect(await connection.spawn('evil')).toEqual(refusal('ACCOUNT_DENIED', 'it has the uid or gid of root'));
  });

  it('that is good but comes with a failure is no answer', async () => {
    const good = line('evil:x:5000:5000::/home/e:/bin/sh\\n');
    const { connection } = await withAnswer(`${good}; exit ${GETENT_UNSUPPORTED}`);
    expect(await connection.spawn('evil')).toEqual(noUsableAnswer(GETENT_UNSUPPORTED));
  });

  it('that is a failure is not taken for "no such account"', async () => {
    const { connection } = await withAnswer('exit 1');
    expect(await connection.spawn('evil')).toEqual(noUsableAnswer(1));
  });

  it('that does not end is cut off', async () => {
    const { connection } = await withAnswer('exec /usr/bin/yes');
    expect(await connection.spawn('evil')).toEqual(noUsableAnswer(-1));
    expect(commandLines().filter((command) => command.startsWith('/usr/bin/yes'))).toEqual([]);
  });
});

it('that gives an extra ACL entry to a group of another name is refused: another case, an alias', async () => {
  const installation = installHelper({ config: { directories: { extra_acl: ['group:Reviewers:r-x'] } } });
  const script = `if [ "$3" = Reviewers ]; then ${line('reviewers:x:54323:\\n')}; else exec $real "$@"; fi`;
  await installation.startHelper({ wrap: installation.inPlaceOf('/usr/bin/getent', script) });
  const connection = await HelperConnection.greeted(installation.socket);
  const why = 'extra_acl: there is no group "Reviewers" of exactly this name';
  expect(await connection.prepare('alice')).toEqual(refusal('DIRECTORY_FAILED', why));
  expect(readdirSync(installation.workspaces)).toEqual([]);
});

it('that has only some of the groups of an account, with a failure, is no answer', async () => {
  const installation = installHelper({ config: { accounts: { denied_groups: ['sudo'] } } });
  const wrap = installation.inPlaceOf('/usr/bin/id', '$real "$@"; exit 1');
  await installation.startHelper({ wrap });
  const connection = await HelperConnection.greeted(installation.socket);
  const why = 'the groups of the account "alice" could not be looked up';
  expect(await connection.prepare('alice')).toEqual(refusal('ACCOUNT_LOOKUP_FAILED', why));
});

it('that lists the members of a group, be they ever so many, is an answer', async () => {
  const { gid } = idsOf('alice');
  const installation = installHelper({ config: { accounts: { denied_groups: ['everybody', 'students'] } } });
  // Two megabytes of members of each: a group of a university.
  const group = (name: string, id: number) =>
    `${line(`${name}:*:${id}:`)}; seq -f 'student-%.0f@corp.example,' 1 70000 | tr -d '\\n'; echo last`;
  const script = `if [ "$3" = everybody ]; then ${group('everybody', 54_324)}; ${group('students', gid)}; else exec $real "$@"; fi`;
  await installation.startHelper({ wrap: installation.inPlaceOf('/usr/bin/getent', script) });
  const connection = await HelperConnection.greeted(installation.socket);
  const why = `in denied_groups, by its name or its gid ${gid}`;
  expect(await connection.prepare('alice')).toEqual(refusal('ACCOUNT_DENIED', why));
  expect(await connection.prepare('bob')).toMatchObject({ kind: 'userPrepared' });
});

it('says so when it cannot be asked at all', async () => {
  const { connection, installation } = await withAnswer('exit 0');
  chmodSync(`${installation.etc}/getent`, 0o644);
  expect(await connection.spawn('evil')).toEqual(refusal('INTERNAL', '/usr/bin/getent could not be run: spawn /usr/bin/getent EACCES'));
});

it('gives up a name service that hangs at the deadline, ends the look-up, and keeps nobody else waiting', async () => {
  const { connection, installation } = await withAnswer('exec /usr/bin/sleep 98765');
  const stuck = connection.spawn('evil');
  expect(await connection.prepare('alice')).toMatchObject({ kind: 'userPrepared' });
  expect(commandLines().filter((command) => command.includes('98765'))).toHaveLength(1);
  expect(await stuck).toEqual(refusal('DEADLINE_EXCEEDED', '/usr/bin/getent did not finish in time'));
  const audited = await installation.helperLog.line({ event: 'request', code: 'DEADLINE_EXCEEDED' });
  expect(Number(audited.duration_ms)).toBeGreaterThanOrEqual(REQUEST_DEADLINE_MS - 100);
  expect(Number(audited.duration_ms)).toBeLessThan(REQUEST_DEADLINE_MS + 1_000);
  await eventually('the look-up is gone', () => !commandLines().some((command) => command.includes('98765')));
});
