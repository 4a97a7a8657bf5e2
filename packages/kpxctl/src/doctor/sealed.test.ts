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
  const limits = (LimitNOFILE: string, TasksMax = '2048') => ({ LimitNOFILE, TasksMax });
  const [small, large] = [limits('1024', '64'), limits('65536')];

  it.each([
    ['both have enough', config(200, 20), small, large, 'ok', /kpx-broker\.service has LimitNOFILE=1024 of 220.*LimitNOFILE=65536 of 1500/],
    ['RabbitMQ is elsewhere', config(200, 20), small, undefined, 'ok', /kpx-broker\.service has [^;]*; [^;]*TasksMax=64 of 32$/],
    ['there is no limit', config(10_000, 20), small, limits('infinity', 'infinity'), 'ok', /TasksMax=infinity of 70/],
    [
      'RabbitMQ has too few descriptors',
      config(200, 20),
      small,
      limits('1024'),
      'fail',
      /kpx-rabbitmq\.service has LimitNOFILE=1024, and needs 1500$/,
    ],
    [
      'RabbitMQ has too few threads',
      config(200, 20),
      small,
      limits('65536', '69'),
      'fail',
      /kpx-rabbitmq\.service has TasksMax=69, and needs 70$/,
    ],
    [
      'the broker has too few',
      config(2_000, 1_000),
      limits('1024', '31'),
      large,
      'fail',
      /LimitNOFILE=1024, and needs 1200; .*TasksMax=31, and needs 32/,
    ],
    ['more executors than virtual hosts', config(10, 20), large, large, 'warn', /vhosts_max is 10, policy\.max_executors 20/],
  ] as const)('where %s', (_, of, broker, rabbitmq, result, seen) => {
    expect(roomIn(of, broker, rabbitmq, 2)).toMatchObject({ result, seen: expect.stringMatching(seen) });
  });

  it('says which line to write where', () => {
    expect(roomIn(config(200, 20), small, limits('1024'), 2)).toMatchObject({
      fix: 'systemctl edit kpx-rabbitmq.service: LimitNOFILE=1500 below [Service]. Then restart it.',
    });
  });
});
