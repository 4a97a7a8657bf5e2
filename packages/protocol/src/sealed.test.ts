import { describe, expect, it } from 'vitest';
import type { OsUser } from './names.js';
import {
  addressVariables,
  executorFor,
  isSealed,
  msgqOf,
  NODE,
  nodeOf,
  PASSWORD,
  passwordIn,
  problemOfMsgq,
  withPassword,
} from './sealed.js';

const HOST1 = { node: 'host1' };
const TEMPLATE = 'amqp://{user}:{password}@127.0.0.1:5673/{vhost}';
const WRITE = `with sealed = true write ${TEMPLATE}`;
const PASSWORD_TEXT = 'A-_4567890123456789012345678901234567890123';

describe('the variables with the address of RabbitMQ', () => {
  it('are all that KNIME reads, and the first address alone', () => {
    const first = 'amqp://a:b@rabbit1/knime';
    expect(addressVariables(first)).toEqual({ KNIME_EXECUTOR_MSGQ: first, KPX_AMQP_URL: first });
    const msgq = `${first},amqp://rabbit2,amqp://rabbit3`;
    expect(addressVariables(msgq)).toEqual({ KNIME_EXECUTOR_MSGQ: msgq, KPX_AMQP_URL: first });
  });

  it('have the password, and no other variable has', () => {
    const before = { MINE: 'a {password}', ...addressVariables('amqp://u:{password}@h/v,amqp://h2') };
    expect(withPassword(before, 'p$&')).toEqual({ MINE: 'a {password}', ...addressVariables('amqp://u:p$&@h/v,amqp://h2') });
    expect(withPassword({}, 'p')).toEqual({ KNIME_EXECUTOR_MSGQ: '', KPX_AMQP_URL: '' });
  });
});

describe('the node of a host', () => {
  it.each([
    ['', 'exec1', 'exec1'],
    ['', 'Exec1.corp.example', 'exec1'],
    ['knime-a', 'exec1', 'knime-a'],
    ['knime-a', 'exec_1', 'knime-a'],
  ])('is, with "%s" configured on "%s", %s', (node, host, expected) => {
    expect(nodeOf({ node }, host)).toBe(expected);
  });

  it.each(['', 'exec_1', 'x'.repeat(33), 'exec1.corp'])('cannot be called "%s"', (name) => {
    expect(NODE.test(name)).toBe(false);
  });
});

describe('the template', () => {
  it.each([
    TEMPLATE,
    'amqps://{user}:{password}@rabbit1/{vhost}',
    `${TEMPLATE}?heartbeat=30`,
    `${TEMPLATE},amqp://rabbit2:5672`,
    `${TEMPLATE},amqp://{user}:{password}@rabbit2:5672/{vhost}`,
  ])('may be %s', (text) => {
    expect(problemOfMsgq(text, true)).toBeUndefined();
  });

  it.each([
    ['amqp://{user}:{password}@127.0.0.1/knime', `line 1: {vhost} missing: ${WRITE}`],
    ['amqp://{user}:hidden@127.0.0.1/{vhost}', `line 1: {password} missing: ${WRITE}`],
    ['amqp://executor:hidden@127.0.0.1/knime', `line 1: {user} and {password} and {vhost} missing: ${WRITE}`],
    ['amqp://{user}:{hidden}@127.0.0.1/{vhost}', `line 1, column 15: unknown placeholder: ${WRITE}`],
    ['amqp://{user}:{password}@127.0.0.1/{vhost}}', `line 1, column 43: unknown placeholder: ${WRITE}`],
    ['amqp://{user}:{password}@{host}/{vhost}', `line 1, column 26: unknown placeholder: ${WRITE}`],
    ['amqp://{USER}:{password}@127.0.0.1/{vhost}', `line 1, column 8: unknown placeholder: ${WRITE}`],
    ['amqp://{password}:{user}@127.0.0.1/{vhost}', `line 1: placeholders in other places: ${WRITE}`],
    ['amqp://{user}:x{password}@127.0.0.1/{vhost}', `line 1: placeholders in other places: ${WRITE}`],
    ['amqp://{user}:{password}@127.0.0.1/{vhost}x', `line 1: placeholders in other places: ${WRITE}`],
    ['http://{user}:{password}@127.0.0.1/{vhost}', 'does not hold one line that starts with amqp:// or amqps://'],
    [`${TEMPLATE}\n${TEMPLATE}`, 'does not hold one line that starts with amqp:// or amqps://'],
  ])('may not be %j, and is not quoted', (text, problem) => {
    expect(problemOfMsgq(text, true)).toBe(problem);
    expect(problem).not.toContain('hidden');
  });

  it('is none while executors share a user', () => {
    expect(problemOfMsgq('amqp://executor:hidden@127.0.0.1/knime', false)).toBeUndefined();
    expect(problemOfMsgq(TEMPLATE, false)).toBe('line 1: {password} is for sealed = true: write the password');
  });
});

describe('the accounts that are sealed', () => {
  it.each([
    [true, true],
    [false, false],
    [['alice'], true],
    [['bob', 'Alice'], false],
    [[], false],
  ])('%j: alice %j', (sealed, expected) => {
    expect(isSealed({ sealed }, 'alice' as OsUser)).toBe(expected);
  });

  it('leave the address of all others in a file beside', () => {
    const of = (sealed: boolean | string[]) => executorFor({ sealed, msgq_file: '/etc/kpx/executor-msgq' }, 'alice' as OsUser);
    expect(of(false)).toEqual({ sealed: false, msgq_file: '/etc/kpx/executor-msgq' });
    expect(of(['bob'])).toEqual({ sealed: false, msgq_file: '/etc/kpx/executor-msgq.shared' });
    for (const sealed of [true, ['alice']]) expect(of(sealed)).toEqual({ sealed: true, msgq_file: '/etc/kpx/executor-msgq' });
  });
});

describe('what an executor gets', () => {
  it.each(['alice', 'a@corp.example', 'DOM\\anna', 'a-b_c.d'])('has the name of %s as one part of a URL each', (osUser) => {
    const msgq = msgqOf(TEMPLATE, { ...HOST1, sealed: true }, osUser as OsUser).replaceAll('{password}', PASSWORD_TEXT);
    const { username, password, pathname } = new URL(msgq);
    expect([username, password, pathname].map(decodeURIComponent)).toEqual([`kpx.host1.${osUser}`, PASSWORD_TEXT, `/kpx.host1.${osUser}`]);
    expect(passwordIn(msgq, HOST1, osUser as OsUser)).toBe(PASSWORD_TEXT);
  });

  it.each([
    `amqp://kpx.host2.alice:${PASSWORD_TEXT}@127.0.0.1/kpx.host2.alice`,
    `amqp://kpx.host1.alic:${PASSWORD_TEXT}@127.0.0.1/`,
    `amqp://kpx.host1.alice:short@127.0.0.1/`,
  ])('has no password of this name: %s', (msgq) => {
    const why = 'the executor of "alice" was not started with the RabbitMQ user "kpx.host1.alice": stop it';
    expect(() => passwordIn(msgq, HOST1, 'alice' as OsUser)).toThrow(expect.objectContaining({ code: 'NOT_PREPARED', message: why }));
  });

  it('has the address as it is where that is shared', () => {
    expect(msgqOf('amqp://{user}@127.0.0.1', { ...HOST1, sealed: false }, 'alice' as OsUser)).toBe('amqp://{user}@127.0.0.1');
  });

  it.each([
    'amqp://executor:secret@127.0.0.1/knime',
    'amqp://knime-executor@127.0.0.1/x',
    `amqp://kpx.host1.alice@127.0.0.1/x:${PASSWORD_TEXT}@`,
    '',
  ])('has none of its own where it shares its user: %s', (msgq) => {
    expect(passwordIn(msgq, HOST1, 'alice' as OsUser)).toBeUndefined();
  });

  it('has a password that no URL and no shell has to quote', () => {
    expect(PASSWORD.test(Buffer.alloc(32, 0xff).toString('base64url'))).toBe(true);
    for (const wrong of ['', `${PASSWORD_TEXT}x`, PASSWORD_TEXT.slice(1), `${PASSWORD_TEXT}\n`]) expect(PASSWORD.test(wrong)).toBe(false);
  });
});
