import { chmodSync, chownSync, copyFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { BROKER_ACCOUNT } from '../fixtures/accounts.js';
import { OwnCa } from '../fixtures/certificates.js';
import { idsOf, type Kpx } from '../fixtures/kpx.js';
import { installKpx, runKpxctl } from './installed-kpx.js';

const DAY_VALID = ca().issue('DNS:day.example', { name: 'day' });
const EXPIRED = ca().issue('DNS:expired.example', { name: 'expired', expired: true });

function ca(): OwnCa {
  return new OwnCa('kpx-doctor-clients');
}

async function clientCertificate(kpx: Kpx, check = 'client certificate') {
  const files = ['--config', kpx.brokerConfigFile, '--helper-config', kpx.configFile];
  const { stdout } = await runKpxctl(['doctor', '--json', ...files]);
  const checks: { name: string }[] = JSON.parse(stdout).checks;
  return checks.find(({ name }) => name === check);
}

async function withCertificate({ certificate, key }: { certificate: string; key: string }, account = BROKER_ACCOUNT): Promise<Kpx> {
  const kpx = await installKpx();
  const copy = `${kpx.etc}/client.key`;
  copyFileSync(key, copy);
  const { uid, gid } = idsOf(account);
  chownSync(copy, uid, gid);
  chmodSync(copy, 0o400);
  const urls = [kpx.vhost.urlWithoutPassword('broker').replace(/^amqp:/, 'amqps:')];
  kpx.configureBroker({ amqp: { urls, tls: { cert_file: certificate, key_file: copy } } });
  return kpx;
}

it('kpxctl doctor has nothing to say where no client certificate is configured', async () => {
  expect(await clientCertificate(await installKpx())).toMatchObject({ result: 'ok', seen: 'none is configured' });
});

it('kpxctl doctor looks for no password where the broker logs in by its certificate alone', async () => {
  const kpx = await withCertificate(DAY_VALID);
  const url = new URL(kpx.vhost.urlWithoutPassword('broker').replace(/^amqp:/, 'amqps:'));
  url.username = '';
  kpx.configureBroker({
    amqp: { urls: [url.href], password_file: '', tls: { cert_file: DAY_VALID.certificate, key_file: DAY_VALID.key } },
  });
  expect(await clientCertificate(kpx, 'amqp-password')).toMatchObject({ result: 'ok', seen: expect.stringContaining('names no user') });
});

it('kpxctl doctor warns of one that expires soon', async () => {
  const found = await clientCertificate(await withCertificate(DAY_VALID));
  expect(found).toMatchObject({
    result: 'warn',
    seen: expect.stringContaining('expires soon'),
    fix: expect.stringContaining(DAY_VALID.certificate),
  });
});

it('kpxctl doctor fails one that has expired', async () => {
  expect(await clientCertificate(await withCertificate(EXPIRED))).toMatchObject({
    result: 'fail',
    seen: expect.stringContaining('has expired'),
  });
});

it('kpxctl doctor fails a key that is another account’s, and says whose it has to be', async () => {
  const found = await clientCertificate(await withCertificate(DAY_VALID, 'alice'));
  expect(found).toMatchObject({ result: 'fail', fix: expect.stringMatching(/^chown kpx-broker .*client\.key && chmod 0400 /) });
});
