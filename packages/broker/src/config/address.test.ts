import { describe, expect, it } from 'vitest';
import { addressOf, isLoopback, isOwnHost } from './address.js';

describe('an address to listen on', () => {
  it.each([
    ['127.0.0.1:9464', { host: '127.0.0.1', port: 9464 }, true],
    ['127.9.9.9:1', { host: '127.9.9.9', port: 1 }, true],
    ['[::1]:65535', { host: '::1', port: 65_535 }, true],
    ['0.0.0.0:9464', { host: '0.0.0.0', port: 9464 }, false],
    ['[::]:9464', { host: '::', port: 9464 }, false],
    ['[::ffff:10.0.0.1]:80', { host: '::ffff:10.0.0.1', port: 80 }, false],
    ['10.1.2.3:80', { host: '10.1.2.3', port: 80 }, false],
  ])('%s', (text, address, loopback) => {
    expect(addressOf(text)).toEqual(address);
    expect(isLoopback(address)).toBe(loopback);
  });

  it.each([
    '',
    '9464',
    ':9464',
    'localhost:9464',
    '127.0.0.1',
    '127.0.0.1:0',
    '127.0.0.1:65536',
    '::1:9464',
    '[127.0.0.1]:9464',
    '1.2.3:80',
  ])('is not "%s"', (text) => {
    expect(addressOf(text)).toBeUndefined();
  });
});

describe('a Host header', () => {
  it.each([undefined, 'localhost', 'localhost:9464', 'LOCALHOST:1', '127.0.0.1:9464', '127.1.2.3', '[::1]:9464', '10.1.2.3'])(
    '%s is this host’s own',
    (host) => {
      expect(isOwnHost(host)).toBe(true);
    },
  );

  it.each(['', 'kpx.example', 'localhost.kpx.example', '127.0.0.1.kpx.example:9464', 'a b', '[::1', '::1', 'localhost:port'])(
    '"%s" is not',
    (host) => {
      expect(isOwnHost(host)).toBe(false);
    },
  );
});
