import { EventEmitter } from 'node:events';
import { Writable } from 'node:stream';
import type { ConfirmChannel } from 'amqplib';
import { expect, it } from 'vitest';
import { int64, propertyBytes, table } from '../../../test-fixtures/wire.js';
import { CutThrough } from './cut-through.js';
import { WireProperties } from './properties.js';

/** RabbitMQ's side of a channel, which answers in an order that no real server can be made to have. */
function channel() {
  const confirmed: ((error: unknown) => void)[] = [];
  const below = {
    ch: 1,
    connection: { frameMax: 131_072, sendBytes: () => {}, stream: new Writable() },
    sendMessage: () => {},
    pushConfirmCallback: (told: (error: unknown) => void) => confirmed.push(told),
  };
  return { confirmed, channel: Object.assign(new EventEmitter(), below) as unknown as ConfirmChannel };
}

it('takes no message for returned because another one was', () => {
  const { confirmed, channel: open } = channel();
  const cutThrough = new CutThrough(open, (properties) => properties.header('number'));
  const numbered = (number: bigint) => propertyBytes({ headers: table(['number', 'l', int64(number)]) });
  const told: (string | undefined)[] = [];
  for (const number of [1n, 2n]) {
    const { passedOn } = cutThrough.begin({ exchange: '', routingKey: 'q' }, numbered(number), 2, () => {});
    passedOn((why) => {
      told[Number(number)] = why;
    });
  }
  open.emit('return', { properties: new WireProperties(numbered(2n)) });
  for (const confirm of confirmed) confirm(null);
  expect(told).toEqual([undefined, undefined, 'RabbitMQ found no queue']);
});
