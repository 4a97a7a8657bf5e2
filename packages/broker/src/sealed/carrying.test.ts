import { pino } from 'pino';
import { beforeEach, describe, expect, it } from 'vitest';
import { MAC, wireMessageOf } from '../../test-fixtures/wire.js';
import { DEAD_LETTER_QUEUE } from '../amqp/topology.js';
import type { WireMessage } from '../amqp/wire/amqplib.js';
import { configSchema } from '../config/config.js';
import type { AccountSession } from './account-session.js';
import { Carrying } from './carrying.js';
import { takeBack } from './finishing.js';
import { OpenAnswers } from './open-answers.js';
import { RefusedRecord } from './refused.js';
import { Replies } from './replies.js';
import { refused, type Verdict } from './rules.js';
import type { Outgoing, Sent, Uplink } from './uplink.js';

const config = configSchema.parse({ amqp: { urls: ['amqp://kpx-broker@127.0.0.1/knime'] } });
const JOB_QUEUE = config.amqp.queue;
const ANSWER: Verdict = { is: 'carried', exchange: '', routingKey: 'client', replyTo: '' };
/** Several pauses of a message that the server has not taken, in milliseconds. */
const WAITS_MS = { timeout: 5_000 };

let queues: Set<string>;
let tried: number;
let sent: string[];
let lines: string[];
let acked: WireMessage[];
let jobs: WireMessage[];
let uplink: { stopped: boolean };
let session: { open: boolean };
let carrying: Carrying;

beforeEach(() => {
  queues = new Set();
  tried = 0;
  [sent, lines, acked] = [[], [], []];
  jobs = [wireMessageOf('job')];
  uplink = {
    stopped: false,
    ready: async () => {},
    send: async ({ to: { routingKey } }: Outgoing): Promise<Sent> => {
      tried += 1;
      if (!queues.has(routingKey)) return 'nobody';
      sent.push(routingKey);
      return 'taken';
    },
  } as Pick<Uplink, 'ready' | 'send'> & { stopped: boolean };
  session = {
    open: true,
    get: async () => jobs.shift(),
    look: async () => undefined,
    ack: (message: WireMessage) => acked.push(message),
  } as Partial<AccountSession> & { open: boolean };
  const log = pino({ level: 'warn' }, { write: (line: string) => lines.push(line) });
  const services = { log, config, uplink: uplink as Uplink, mac: () => MAC, host: 'here', refused: new RefusedRecord() };
  carrying = new Carrying(services, 'alice');
});

function takingBack() {
  const replies = new Replies({ config }, new OpenAnswers(() => config.sealed.reply_grace), false, {
    answer: () => {},
    unnamed: () => {},
    unmade: () => {},
  });
  const taking = takeBack(session as AccountSession, { jobQueue: JOB_QUEUE, earlier: [], replies, carrying });
  return taking.catch(({ message }: Error) => message);
}

describe('a message for which the server has no queue', () => {
  it('waits for one where it is a job that is taken back', async () => {
    const taking = takingBack();
    await expect.poll(() => tried, WAITS_MS).toBeGreaterThan(2);
    expect(acked).toEqual([]);
    expect(lines).toEqual([expect.stringContaining(`no queue \\"${JOB_QUEUE}\\"`)]);
    queues.add(JOB_QUEUE);
    expect(await taking).toBe(1);
    expect([sent, acked.length]).toEqual([[JOB_QUEUE], 1]);
  });

  it('waits for one where it is refused', async () => {
    const carried = carrying.carry(session as AccountSession, wireMessageOf('code'), refused('exchange', 'why'));
    await expect.poll(() => tried, WAITS_MS).toBeGreaterThan(1);
    expect(acked).toEqual([]);
    queues.add(DEAD_LETTER_QUEUE);
    await carried;
    expect([sent, acked.length]).toEqual([[DEAD_LETTER_QUEUE], 1]);
  });

  it('is acknowledged where it is an answer: nobody waits for it', async () => {
    expect(await carrying.carry(session as AccountSession, wireMessageOf('answer'), ANSWER)).toBe(true);
    expect([sent, acked.length]).toEqual([[], 1]);
  });

  it.each([
    ['the broker ends', () => (uplink.stopped = true)],
    ['the connection was closed', () => (session.open = false)],
  ])('waits no longer, and is not acknowledged, when %s', async (why, end) => {
    const taking = takingBack();
    await expect.poll(() => tried).toBe(1);
    end();
    expect(await taking).toBe(why);
    expect(acked).toEqual([]);
  });
});
