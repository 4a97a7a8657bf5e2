import { describe, expect, it } from 'vitest';
import { portsOf } from '../accounts-rabbitmq.js';
import { listenersIn, roomIn } from './sealed.js';

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';
const line = (address: string, port: number, state = '0A') =>
  `   0: ${address}:${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 1 1 0`;

describe('the list of listening sockets', () => {
  it.each([
    ['0100007F', true],
    ['0200007F', true],
    ['00000000', false],
    ['0100000A', false],
    ['00000000000000000000000001000000', true],
    ['0000000000000000FFFF00000100007F', true],
    ['00000000000000000000000000000000', false],
    ['0000000000000000FFFF00000100000A', false],
  ])('has whether %s is loopback: %s', (address, isLoopback) => {
    expect(listenersIn(`${HEAD}\n${line(address, 5_673)}\n`)).toEqual([{ port: 5_673, isLoopback }]);
  });

  it('has no connection in it', () => expect(listenersIn(`${HEAD}\n${line('0100007F', 5_673, '01')}\n`)).toEqual([]));
});

it('knows the ports of a RabbitMQ by its addresses', () => {
  expect(portsOf(['amqp://kpx-broker@127.0.0.1:5673'], 'http://127.0.0.1:15673').map(({ port }) => port)).toEqual([
    5_673, 25_673, 15_673, 4_370,
  ]);
  expect(portsOf(['amqps://kpx-broker@a'], 'https://a').map(({ port }) => port)).toEqual([5_671, 25_671, 443, 4_370]);
});

describe('room for virtual hosts', () => {
  const config = (vhosts_max: number, max_executors: number) => ({ sealed: { vhosts_max }, policy: { max_executors } }) as never;
  const [small, large] = [{ LimitNOFILE: '1024' }, { LimitNOFILE: '65536' }];

  it.each([
    ['both have enough', config(200, 20), small, large, 'ok', /of both units/],
    ['RabbitMQ is elsewhere', config(200, 20), small, undefined, 'ok', /of the broker/],
    ['there is no limit', config(10_000, 20), small, { LimitNOFILE: 'infinity' }, 'ok', /10000/],
    ['RabbitMQ has too few', config(200, 20), small, small, 'warn', /kpx-rabbitmq\.service has LimitNOFILE=1024.* may take 1300/],
    ['the broker has too few', config(2_000, 1_000), small, large, 'warn', /kpx-broker\.service has LimitNOFILE=1024.* may take 1200/],
    ['more executors than virtual hosts', config(10, 20), large, large, 'warn', /vhosts_max is 10, policy\.max_executors 20/],
  ] as const)('where %s', (_, of, broker, rabbitmq, result, seen) => {
    expect(roomIn(of, broker, rabbitmq)).toMatchObject({ result, seen: expect.stringMatching(seen) });
  });
});
