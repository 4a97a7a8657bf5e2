import { pino } from 'pino';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { server } from '../../test-fixtures/server.js';
import { MAC, wireMessageOf } from '../../test-fixtures/wire.js';
import { connect } from '../amqp/connect.js';
import { DEAD_LETTER_QUEUE } from '../amqp/topology.js';
import type { WireMessage } from '../amqp/wire/amqplib.js';
import { configSchema } from '../config/config.js';
import type { AccountSession } from './account-session.js';
import { Carrying } from './carrying.js';
import { RefusedRecord } from './refused.js';
import type { Verdict } from './rules.js';
import { Uplink } from './uplink.js';

vi.mock(import('../amqp/connect.js'), async (original) => ({ ...(await original()), connect: vi.fn(), close: vi.fn() }));

beforeEach(() => vi.resetAllMocks());

const ANSWER: Verdict = { is: 'carried', exchange: '', routingKey: 'client', replyTo: '' };
const POISON = 'poison';
const WORDS = 'PRECONDITION_FAILED - it has an odd header';
const MAX_BYTES = 8;
const LARGE = 'x'.repeat(MAX_BYTES + 2);
const LARGER = `${LARGE}x`;
const SIZE_WORDS = `PRECONDITION_FAILED - message size ${LARGE.length} is larger than configured max size ${MAX_BYTES}`;
/** A connection that has ended is made again after about half a second. */
const SOON = { timeout: 10_000 };

const log = pino({ enabled: false });
const config = configSchema.parse({ amqp: { urls: ['amqp://kpx-broker@127.0.0.1/knime'] } });

/** Accounts that publish answers to a server. */
function accountsAt({ connect: open }: ReturnType<typeof server>) {
  vi.mocked(connect).mockImplementation(open);
  const uplink = new Uplink(log, config, 'here');
  uplink.run().catch(() => {});
  onTestFinished(() => uplink.stop());
  const acked: string[] = [];
  const session = { open: true, ack: ({ content }: WireMessage) => acked.push(content.toString()) } as Partial<AccountSession>;
  const services = { log, config, uplink, mac: () => MAC, host: 'here', refused: new RefusedRecord() };
  const answer = (account: string, body: string) => {
    new Carrying(services, account).carry(session as AccountSession, wireMessageOf(body), ANSWER).catch(() => {});
  };
  return { acked, answer };
}

const bodies = (taken: readonly Buffer[], body: string) => taken.filter((bytes) => bytes.includes(body));

describe('a message for which the server ends the channel each time', () => {
  it('is parked with its words, and others are carried', async () => {
    const at = server((bytes) => (bytes.includes(POISON) && !bytes.includes(DEAD_LETTER_QUEUE) ? WORDS : undefined));
    const { acked, answer } = accountsAt(at);
    const others = ['one', 'two', 'three'];
    answer('alice', POISON);
    for (const body of others) answer('bob', body);
    await expect.poll(() => acked.toSorted(), SOON).toEqual([...others, POISON].toSorted());
    expect(at.connections()).toBeLessThanOrEqual(4);
    const [parked, ...more] = bodies(at.taken, DEAD_LETTER_QUEUE);
    expect([parked?.includes(WORDS), parked?.includes(POISON), more]).toEqual([true, true, []]);
    answer('bob', 'four');
    await expect.poll(() => acked, SOON).toContain('four');
  });

  it('is only counted where it cannot be parked either', async () => {
    const at = server((bytes) => (bytes.includes(POISON) ? WORDS : undefined));
    const { acked, answer } = accountsAt(at);
    answer('alice', POISON);
    await expect.poll(() => acked, SOON).toEqual([POISON]);
    const ended = at.connections();
    answer('bob', 'one');
    await expect.poll(() => acked, SOON).toEqual([POISON, 'one']);
    expect(at.connections()).toBe(ended);
  });
});

describe('a message that is too large for the server', () => {
  it('is parked without its body after one end, and the next one without any', async () => {
    const at = server((bytes) => (bytes.includes(LARGE) ? SIZE_WORDS : undefined));
    const { acked, answer } = accountsAt(at);
    answer('alice', LARGE);
    answer('bob', 'one');
    await expect.poll(() => acked.toSorted(), SOON).toEqual(['one', LARGE]);
    answer('alice', LARGER);
    answer('bob', 'two');
    await expect.poll(() => acked.toSorted(), SOON).toEqual(['one', 'two', LARGE, LARGER]);
    expect(at.connections()).toBe(2);
    const parked = bodies(at.taken, DEAD_LETTER_QUEUE);
    expect(parked.map((bytes) => bytes.includes(SIZE_WORDS))).toEqual([true, true]);
  });
});
