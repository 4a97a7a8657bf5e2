import { chmodSync, chownSync, copyFileSync, mkdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { BROKER_ACCOUNT } from '../fixtures/accounts.js';
import { OwnCa, tlsListener } from '../fixtures/certificates.js';
import { freePorts } from '../fixtures/free-ports.js';
import { jobOf } from '../fixtures/jobs.js';
import { idsOf, Kpx } from '../fixtures/kpx.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';
import type { Vhost } from '../fixtures/rabbitmq-access.js';
import { jobsDone, publish } from './installed-kpx.js';

/* A RabbitMQ that lets nobody in by TLS without a certificate. */

const CANNOT = 'RabbitMQ cannot be used; trying again';
const PRIVATE = 0o400;

let rabbitmq: RabbitmqServer;
let tlsPort = 0;
const ca = new OwnCa('kpx-clients');
const stranger = new OwnCa('kpx-strangers');
const own = ca.issue('DNS:broker.example', { name: BROKER_ACCOUNT });

beforeAll(async () => {
  [tlsPort = 0] = await freePorts(1);
  const settings = {
    ...tlsListener(tlsPort, ca, ca.issue('IP:127.0.0.1')),
    'ssl_options.verify': 'verify_peer',
    'ssl_options.fail_if_no_peer_cert': 'true',
    'auth_mechanisms.1': 'PLAIN',
    'auth_mechanisms.2': 'EXTERNAL',
    ssl_cert_login_from: 'common_name',
  };
  rabbitmq = await startRabbitmq({ plugins: ['rabbitmq_auth_mechanism_ssl'], settings });
});
afterAll(() => rabbitmq.remove());

let copies = 0;

/** The key as an administrator puts it there. */
function keyOf(file: string, { mode = PRIVATE, account = BROKER_ACCOUNT } = {}): string {
  const directory = `/etc/kpx-client-keys-${process.pid}`;
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  const copy = `${directory}/${++copies}.key`;
  copyFileSync(file, copy);
  const { uid, gid } = idsOf(account);
  chownSync(copy, uid, gid);
  chmodSync(copy, mode);
  return copy;
}

function overTls(vhost: Vhost, { user = true } = {}): string {
  const url = new URL(vhost.urlWithoutPassword('broker').replace(/^amqp:/, 'amqps:'));
  url.port = String(tlsPort);
  if (!user) url.username = '';
  return url.href;
}

interface Client {
  readonly cert_file?: string;
  readonly key_file?: string;
  readonly user?: boolean;
}

/** Executors come without TLS: the broker knows their port from the second URL. */
async function start({ user = true, ...files }: Client = {}): Promise<Kpx> {
  const vhost = await rabbitmq.createKnimeVhost();
  const amqp = { urls: [overTls(vhost, { user }), vhost.urlWithoutPassword('broker')], tls: { ca_file: ca.file, ...files } };
  const kpx = new Kpx(vhost, { standIn: { BOOT_MS: '50' }, broker: { amqp } });
  onTestFinished(() => kpx.stop());
  await kpx.startHelper();
  await kpx.startBroker({ wait: false });
  return kpx;
}

const consumesByTls = (kpx: Kpx) => kpx.brokerLog.line({ msg: 'consuming', server: `127.0.0.1:${tlsPort}` });
const refusal = async (kpx: Kpx) => String((await kpx.brokerLog.line({ msg: CANNOT, server: `127.0.0.1:${tlsPort}` })).reason);

describe('a client certificate', () => {
  it('lets the broker in, beside its password', async () => {
    const kpx = await start({ cert_file: own.certificate, key_file: keyOf(own.key) });
    await consumesByTls(kpx);
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
  });

  it('is its login, without a password, where the URL names no user', async () => {
    const kpx = await start({ cert_file: own.certificate, key_file: keyOf(own.key), user: false });
    await consumesByTls(kpx);
    expect(await kpx.vhost.connections('broker')).toHaveLength(2); // it takes jobs by one and publishes by another
  });

  it('that nobody has configured is asked for', async () => {
    expect(await refusal(await start())).toMatch(/RabbitMQ wants a client certificate: set amqp\.tls\.cert_file/);
  });

  it('of a CA that RabbitMQ does not know is refused, naming the file', async () => {
    const { certificate, key } = stranger.issue('DNS:broker.example', { name: BROKER_ACCOUNT });
    const reason = await refusal(await start({ cert_file: certificate, key_file: keyOf(key) }));
    expect(reason).toContain(`RabbitMQ refuses the certificate in ${certificate}`);
  });

  it('of somebody who is no user of RabbitMQ is no login', async () => {
    const { certificate, key } = ca.issue('DNS:nobody.example', { name: 'nobody-at-all' });
    const reason = await refusal(await start({ cert_file: certificate, key_file: keyOf(key), user: false }));
    expect(reason).toMatch(/the login by amqp\.tls\.cert_file \S+ was refused: .*a user of the name in the certificate/);
  });

  it('with another one’s key is said to be so', async () => {
    const other = ca.issue('DNS:other.example', { name: 'other' });
    const reason = await refusal(await start({ cert_file: own.certificate, key_file: keyOf(other.key) }));
    expect(reason).toMatch(/cert_file \S+ and key_file \S+ are no certificate with its private key/);
  });
});

describe('its private key is refused where', () => {
  it.each([
    ['everybody may read it', { mode: 0o444 }, /key_file \S+ is not kpx-broker's alone \(mode 0444\), and so not used: chmod 0400 /],
    ['a group may read it', { mode: 0o440 }, /mode 0440/],
    ['others may write it', { mode: 0o602 }, /mode 0602/],
    ['the broker may not read it', { account: 'alice' }, /amqp\.tls\.key_file \S+ cannot be read: EACCES/],
  ])('%s', async (_, how, says) => {
    const kpx = await start({ cert_file: own.certificate, key_file: keyOf(own.key, how) });
    expect(await refusal(kpx)).toMatch(says);
    await kpx.brokerLog.line({ msg: 'consuming', server: `127.0.0.1:${rabbitmq.amqpPort}` });
    expect(JSON.stringify(kpx.brokerLog.lines)).not.toContain('PRIVATE KEY');
  });
});
