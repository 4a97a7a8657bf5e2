import { describe, expect, it } from 'vitest';
import { type Config, configSchema } from '../config/config.js';
import { renewalFor, whyNotNow } from './reload.js';

/* Each key of [sealed]: a change, and what a reload does with it. */

const SEALED = {
  enabled: true,
  node: 'here',
  urls: ['amqp://kpx-broker@127.0.0.1:5673'],
  management_password_file: '/etc/kpx/sealed-password',
  up: [{ exchange: 'events', type: 'topic' }],
  down: [{ exchange: 'pidbox', type: 'fanout' }],
};
const AMQP = { urls: ['amqp://kpx-broker@127.0.0.1:5672/knime'] };

const configOf = (sealed: object, amqp: object = {}): Config => configSchema.parse({ amqp: { ...AMQP, ...amqp }, sealed });
const BEFORE = configOf(SEALED);

/** Undefined: nothing is made anew, the broker goes by the new value from now on. */
type Outcome = 'lanes' | 'uplink and lanes' | 'downlink and lanes' | 'retention' | 'nothing' | RegExp;

const CHANGES: readonly (readonly [key: string, to: object, outcome: Outcome])[] = [
  ['enabled', { enabled: false }, /^sealed\.enabled: executors that run are sealed/],
  ['node', { node: 'there' }, /^sealed\.node: virtual hosts and users have the old name/],
  ['urls', { urls: ['amqp://kpx-broker@127.0.0.2:5673'] }, 'lanes'],
  ['management_url', { management_url: 'http://127.0.0.2:15673' }, 'lanes'],
  ['management_password_file', { management_password_file: '/etc/kpx/other' }, 'lanes'],
  ['window', { window: 3 }, 'lanes'],
  ['keep', { keep: '1h' }, 'retention'],
  ['vhosts_max', { vhosts_max: 3 }, 'retention'],
  ['reply_grace', { reply_grace: '2h' }, 'nothing'],
  ['replies_max', { replies_max: 3 }, 'lanes'],
  ['refused_per_minute', { refused_per_minute: 3 }, 'nothing'],
  ['answers', { answers: 'clients' }, 'nothing'],
  ['learn', { learn: [{ queue: 'gateway-*' }] }, 'nothing'],
  ['api_timeout', { api_timeout: '3s' }, 'nothing'],
  ['job_queue', { job_queue: { durable: false } }, /^sealed\.job_queue: executors use the queue/],
  ['job_queue', { job_queue: { arguments: { 'x-queue-type': 'quorum' } } }, /^sealed\.job_queue: executors use the queue/],
  ['job_exchange', { job_exchange: { type: 'topic' } }, /^sealed\.job_exchange: executors use the exchange/],
  ['up', { up: [] }, 'uplink and lanes'],
  ['up', { up: [{ exchange: 'events', type: 'topic', keys: ['done'] }] }, 'uplink and lanes'],
  ['up', { up: [...SEALED.up, { exchange: 'results' }] }, 'uplink and lanes'],
  ['up', { up: [{ exchange: 'events', type: 'fanout' }] }, /^sealed\.up: "events" is declared in another way/],
  ['up', { up: [{ exchange: 'events', type: 'topic', durable: false }] }, /^sealed\.up: "events" is declared in another way/],
  ['up', { up: [{ exchange: 'events', type: 'topic', auto_delete: true }] }, /^sealed\.up: "events" is declared in another way/],
  ['down', { down: [] }, 'downlink and lanes'],
  ['down', { down: [...SEALED.down, { exchange: 'more' }] }, 'downlink and lanes'],
  ['down', { down: [{ exchange: 'pidbox', type: 'topic' }] }, /^sealed\.down: "pidbox" is declared in another way/],
  ['down', { up: [], down: [{ exchange: 'events', type: 'fanout' }] }, /^sealed\.down: "events" is declared in another way/],
];

const made = (before: Config, after: Config): string => {
  const kinds = Object.entries(renewalFor(before, after)).flatMap(([kind, isMade]) => (isMade ? [kind] : []));
  return kinds.length === 0 ? 'nothing' : kinds.join(' and ');
};

describe('a reload', () => {
  it('is judged for every key', () => {
    expect(new Set(CHANGES.map(([key]) => key))).toEqual(new Set(Object.keys(BEFORE.sealed)));
  });

  it.each(CHANGES)('of sealed.%s to %j: %s', (_, to, outcome) => {
    const after = configOf({ ...SEALED, ...to });
    const why = whyNotNow(BEFORE.sealed, after.sealed);
    if (outcome instanceof RegExp) expect(why).toEqual([expect.stringMatching(outcome)]);
    else expect([why, made(BEFORE, after)]).toEqual([[], outcome]);
  });

  it('names each key that cannot change, and no other', () => {
    const after = configOf({ ...SEALED, node: 'there', window: 3, job_queue: { durable: false } });
    expect(whyNotNow(BEFORE.sealed, after.sealed).map((why) => why.split(':')[0])).toEqual(['sealed.node', 'sealed.job_queue']);
  });

  it('goes over to another server with all connections', () => {
    expect(made(BEFORE, configOf(SEALED, { prefetch: 8 }))).toBe('uplink and downlink and lanes');
  });

  it('makes nothing anew where nothing has changed', () => {
    expect(made(BEFORE, configOf(SEALED))).toBe('nothing');
  });

  it('takes everything while executors are not sealed, but does not seal them', () => {
    const off = configOf({});
    expect(whyNotNow(off.sealed, configOf({ node: 'there', job_queue: { durable: false } }).sealed)).toEqual([]);
    expect(whyNotNow(off.sealed, BEFORE.sealed)).toEqual(expect.arrayContaining([expect.stringMatching(/^sealed\.enabled: /)]));
  });
});
