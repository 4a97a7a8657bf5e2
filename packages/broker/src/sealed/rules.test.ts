import { describe, expect, it } from 'vitest';
import { mayBeNamedAs, replyQueueOf, replyToOf } from './names.js';
import { judgeAnswer, judgeBack, judgeUp, type Published, type RefusedFor, UP_BYTES_MAX, type UpRule, whyNotDown } from './rules.js';

/* For an auditor: what leaves an account's virtual host, a row each. */

const RULES: readonly UpRule[] = [
  { exchange: 'celeryev', keys: [] },
  { exchange: 'results', keys: ['done', 'failed'] },
];
/** The account was given jobs that are answered to this client, and to no other. */
const CLIENT = 'client-of-alice';
const STANDS_IN = replyQueueOf(CLIENT).name;
const standsFor = (queue: string) => (queue === STANDS_IN ? CLIENT : undefined);
const published = (changes: Partial<Published>): Published => ({
  exchange: 'celeryev',
  routingKey: 'worker.heartbeat',
  replyTo: undefined,
  correlationId: 'c1',
  bytes: 10,
  ...changes,
});

describe('up, from kpx.up', () => {
  it.each<[what: string, message: Partial<Published>, to: object]>([
    ['an exchange that is named', {}, { exchange: 'celeryev', routingKey: 'worker.heartbeat', replyTo: '' }],
    ['an exchange without keys, any key', { routingKey: '' }, { exchange: 'celeryev', routingKey: '', replyTo: '' }],
    [
      'an exchange and a key that are named',
      { exchange: 'results', routingKey: 'done' },
      { exchange: 'results', routingKey: 'done', replyTo: '' },
    ],
    ['the largest body', { bytes: UP_BYTES_MAX }, { exchange: 'celeryev' }],
    ['a reply_to that the account was told, by its name at the server', { replyTo: STANDS_IN }, { replyTo: CLIENT }],
    ['a reply_to of the account’s own, which the server could not reach: without it', { replyTo: 'own-queue' }, { replyTo: '' }],
    ['a reply_to that names another account’s client: without it', { replyTo: 'client-of-bob' }, { replyTo: '' }],
    [
      'a reply_to that stands in for another’s client, made up: without it',
      { replyTo: replyQueueOf('client-of-bob').name },
      { replyTo: '' },
    ],
  ])('carries %s', (_, message, to) => {
    expect(judgeUp(RULES, published(message), standsFor)).toMatchObject({ is: 'carried', ...to });
  });

  it.each<[what: string, message: Partial<Published>, reason: RefusedFor, why: RegExp]>([
    [
      'the default exchange, which reaches every queue',
      { exchange: '', routingKey: 'knime-jobs' },
      'by_name',
      /put into kpx\.up by its name/,
    ],
    ['what was written into kpx.up itself', { exchange: '', routingKey: 'kpx.up' }, 'by_name', /put into kpx\.up by its name/],
    [
      'an exchange that is not named',
      { exchange: 'knime-server2executorknime-jobs', routingKey: 'new-work' },
      'exchange',
      /no \[\[sealed\.up\]\] names/,
    ],
    ['one that differs in case', { exchange: 'Celeryev' }, 'exchange', /no \[\[sealed\.up\]\] names/],
    ['one that begins like one that is named', { exchange: 'celeryev.alice' }, 'exchange', /no \[\[sealed\.up\]\] names/],
    ['kpx’s own exchange', { exchange: 'kpx.unrouted' }, 'exchange', /no \[\[sealed\.up\]\] names/],
    ['amq.topic', { exchange: 'amq.topic', routingKey: '#' }, 'exchange', /no \[\[sealed\.up\]\] names/],
    ['a key that is not named', { exchange: 'results', routingKey: 'done.bob' }, 'key', /does not name the routing key "done\.bob"/],
    ['a pattern for keys', { exchange: 'results', routingKey: '#' }, 'key', /does not name the routing key/],
    ['no key', { exchange: 'results', routingKey: '' }, 'key', /does not name the routing key/],
    ['a key that is not UTF-8', { routingKey: '\ufffd'.repeat(255) }, 'key', /its routing key is not UTF-8/],
    ['a body that is too large', { bytes: UP_BYTES_MAX + 1 }, 'too_large', /at most 16777216/],
  ])('refuses %s', (_, message, reason, why) => {
    expect(judgeUp(RULES, published(message), standsFor)).toEqual({ is: 'refused', reason, why: expect.stringMatching(why) });
  });

  it('refuses everything where nothing is named', () => {
    expect(judgeUp([], published({}), standsFor)).toMatchObject({ is: 'refused' });
  });
});

describe('answers, from the queue that stands in for a client', () => {
  const answer = (changes: Partial<Published>, isOpen = true, client = CLIENT) =>
    judgeAnswer(client, published({ exchange: '', routingKey: STANDS_IN, ...changes }), isOpen, standsFor);

  it.each<[what: string, message: Partial<Published>]>([
    ['published to the queue itself', {}],
    ['published to an exchange that the account has bound it to', { exchange: 'own-exchange', routingKey: 'own-key' }],
    ['with the largest body', { bytes: UP_BYTES_MAX }],
  ])('carries one that is open, %s, to the client and nowhere else', (_, message) => {
    expect(answer(message)).toEqual({ is: 'carried', exchange: '', routingKey: CLIENT, replyTo: '' });
  });

  it.each<[what: string, verdict: ReturnType<typeof judgeAnswer>, reason: RefusedFor, why: RegExp]>([
    [
      'whose correlation id is not open',
      answer({ correlationId: 'c-of-bob' }, false),
      'not_asked',
      /given no job with the correlation id "c-of-bob"/,
    ],
    [
      'without a correlation id, where none was given without',
      answer({ correlationId: undefined }, false),
      'not_asked',
      /correlation id ""/,
    ],
    ['with a body that is too large', answer({ bytes: UP_BYTES_MAX + 1 }), 'too_large', /at most 16777216/],
    ['to the dead letters', answer({}, true, 'kpx.dead-letter'), 'reserved', /kpx's own/],
    ['to a delay queue, which would make a job of it', answer({}, true, 'kpx.delay.knime-jobs.200ms'), 'reserved', /kpx's own/],
  ])('refuses one %s', (_, verdict, reason, why) => {
    expect(verdict).toEqual({ is: 'refused', reason, why: expect.stringMatching(why) });
  });
});

describe('back, what an ended executor has left in its job queue', () => {
  it.each<[what: string, message: Partial<Published>, replyTo: string]>([
    ['a job', {}, ''],
    ['a job that is answered to a client, by its name at the server', { replyTo: STANDS_IN }, CLIENT],
    ['what the account has put there to be answered to another’s client: without it', { replyTo: replyQueueOf('client-of-bob').name }, ''],
    ['what the account has put there to be answered to the job queue: without it', { replyTo: 'knime-jobs' }, ''],
  ])('goes to the job queue and nowhere else: %s', (_, message, replyTo) => {
    expect(judgeBack('knime-jobs', published(message), standsFor)).toEqual({
      is: 'carried',
      exchange: '',
      routingKey: 'knime-jobs',
      replyTo,
    });
  });

  it('does not go with a body that is too large', () => {
    expect(judgeBack('knime-jobs', published({ bytes: UP_BYTES_MAX + 1 }), standsFor)).toMatchObject({ is: 'refused' });
  });
});

describe('down, into the job queue of an account', () => {
  it.each([[undefined], ['client'], ['amq.gen-3iOu'], ['x'.repeat(255)], ['amq.rabbitmq.reply-to.g2dkABByYWJiaXQ=']])(
    'goes a job that is answered to %s',
    (replyTo) => expect(whyNotDown(replyTo, 'knime-jobs')).toBeUndefined(),
  );

  it.each([
    ['knime-jobs', /is the job queue/],
    ['kpx.dead-letter', /kpx's own/],
    ['kpx.delay.knime-jobs.2000ms', /kpx's own/],
    ['\ufffd\ufffd', /not UTF-8/],
  ])('goes none that is answered to %s', (replyTo, why) => expect(whyNotDown(replyTo, 'knime-jobs')).toMatch(why));
});

describe('the queue that stands in for a client', () => {
  it.each(['c', 'client-of-alice', 'a/b ü', 'kpx.reply.nested', 'x'.repeat(180), 'x'.repeat(181), 'ü'.repeat(127), 'sha256.abc'])(
    'is one of kpx’s, has a name that RabbitMQ takes, and tells the client again: %s',
    (client) => {
      const queue = replyQueueOf(client);
      expect(queue.name).toMatch(/^kpx\.reply\./);
      expect(Buffer.byteLength(queue.name)).toBeLessThanOrEqual(255);
      expect(replyToOf(queue)).toBe(client);
    },
  );

  it('is another one for each client, whatever their lengths', () => {
    const clients = ['a', 'b', 'ab', 'x'.repeat(180), 'x'.repeat(181), 'x'.repeat(182)];
    expect(new Set(clients.map((client) => replyQueueOf(client).name)).size).toBe(clients.length);
  });

  it.each([
    ['another of kpx’s', 'kpx.up', {}],
    ['one of the account’s', 'client', {}],
    ['no base64url', 'kpx.reply.!!', {}],
    ['base64url with bits to spare', 'kpx.reply.YR', {}],
    ['no client', 'kpx.reply.', {}],
    ['a hash without its text', `kpx.reply.sha256.${'A'.repeat(43)}`, {}],
    ['a hash with another text', replyQueueOf('x'.repeat(200)).name, { 'x-kpx-reply-to': 'y'.repeat(200) }],
  ])('is not %s', (_, name, declaredWith) => expect(replyToOf({ name, arguments: declaredWith })).toBeUndefined());
});

it.each([
  ['b6f1f7d0-client', true],
  ['knime-jobs', false],
  ['kpx.up', false],
  ['amq.gen-1', false],
])('a queue of an account may have the name of the client "%s": %s', (client, may) => {
  expect(mayBeNamedAs(client, 'knime-jobs')).toBe(may);
});
