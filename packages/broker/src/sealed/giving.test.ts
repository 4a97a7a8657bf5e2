import { beforeEach, describe, expect, it } from 'vitest';
import { MAC, wireMessageOf } from '../../test-fixtures/wire.js';
import type { WireMessage } from '../amqp/wire/amqplib.js';
import type { Address } from '../amqp/wire/frames.js';
import { configSchema } from '../config/config.js';
import type { AccountSession } from './account-session.js';
import { type Given, Giving } from './giving.js';
import { OpenAnswers } from './open-answers.js';
import { Replies } from './replies.js';
import type { Told } from './under-way.js';

/** Of a job that is sent. */
type Fate = (told: Told) => void;

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
  giving = new Giving(
    { config, mac: () => MAC },
    new Replies({ config }, new OpenAnswers(() => config.sealed.reply_grace), false, {
      answer: () => {},
      unnamed: () => {},
      unmade: () => {},
    }),
  );
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

describe('a job whose answer is wanted', () => {
  const asked = wireMessageOf('job', { replyTo: 'client', correlationId: 'one' });
  const REFUSED: Fate = (told) => told.answered('RabbitMQ refused a place');
  const LOST: Fate = (told) => told.lost('the connection was closed');

  it.each([
    ['may be answered where the connection was lost before anybody knew whether the account has it', LOST, true],
    ['may not be where the account has not taken it', REFUSED, false],
  ])('%s', async (_, fate, isOpen) => {
    const replies = new Replies({ config }, new OpenAnswers(() => config.sealed.reply_grace), false, {
      answer: () => {},
      unnamed: () => {},
      unmade: () => {},
    });
    const send: AccountSession['send'] = (_message, _to, _compose, told) => fate(told);
    const to = { blocked: undefined, underWay: [], send, apart: async () => undefined, consume: async () => {} } as Partial<AccountSession>;
    const given = await new Promise<Given>((resolve) =>
      new Giving({ config, mac: () => MAC }, replies).give(to as AccountSession, asked, 0, resolve),
    );
    expect(given.is).toBe('not yet');
    expect(replies.answers.isOpen('client', 'one', performance.now())).toBe(isOpen);
  });
});
