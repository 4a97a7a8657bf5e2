import { beforeEach, describe, expect, it } from 'vitest';
import { MAC, wireMessageOf } from '../../test-fixtures/wire.js';
import type { WireMessage } from '../amqp/wire/amqplib.js';
import type { Address } from '../amqp/wire/frames.js';
import { configSchema } from '../config/config.js';
import type { AccountSession } from './account-session.js';
import { type Given, Giving } from './giving.js';
import { Replies } from './replies.js';

const config = configSchema.parse({ amqp: { urls: ['amqp://kpx-broker@127.0.0.1/knime'] } });
const JOB = wireMessageOf('job');
const NOT_YET = { is: 'not yet', why: "the accounts' RabbitMQ takes no messages (alarm: memory or disk)" };

let sent: string[];
let session: { blocked: string | undefined };
let giving: Giving;

beforeEach(() => {
  sent = [];
  const send = (_: WireMessage, { routingKey }: Address) => sent.push(routingKey);
  session = { blocked: 'low on memory', underWay: [], send } as Partial<AccountSession> & { blocked: string | undefined };
  giving = new Giving({ config, mac: () => MAC }, new Replies({ config }, false, { answer: () => {}, unnamed: () => {} }));
});

describe('during an alarm', () => {
  it('no job is sent, which is said, and jobs are sent when it is over', () => {
    const told: Given[] = [];
    giving.give(session as AccountSession, JOB, 0, (given) => told.push(given));
    expect([told, sent]).toEqual([[NOT_YET], []]);
    session.blocked = undefined;
    giving.give(session as AccountSession, JOB, 0, (given) => told.push(given));
    expect(sent).toEqual([config.amqp.queue]);
  });

  it('no call is sent, and it is made again later', async () => {
    expect(await giving.call(session as AccountSession, JOB, 'gateway-1')).toEqual(NOT_YET);
    expect(sent).toEqual([]);
  });
});
