import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type Certificate, OwnCa, tlsListener } from '../fixtures/certificates.js';
import { freePorts } from '../fixtures/free-ports.js';
import { jobOf } from '../fixtures/jobs.js';
import { Kpx } from '../fixtures/kpx.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';
import { jobsDone, publish } from './installed-kpx.js';

const CANNOT = 'RabbitMQ cannot be used; trying again';

let rabbitmq: RabbitmqServer;
let tlsPort = 0;
const ca = new OwnCa('kpx-test');
const other = new OwnCa('somebody-else');
const good = ca.issue('IP:127.0.0.1');
/** What RabbitMQ reads; another certificate is copied there. */
const served: Certificate = ca.issue('IP:127.0.0.1,DNS:served');

beforeAll(async () => {
  [tlsPort = 0] = await freePorts(1);
  rabbitmq = await startRabbitmq({ settings: tlsListener(tlsPort, ca, served) });
});
afterAll(() => rabbitmq.remove());

async function serve({ certificate, key }: Certificate): Promise<void> {
  copyFileSync(certificate, served.certificate);
  copyFileSync(key, served.key);
  await rabbitmq.ctl('eval', 'ssl:clear_pem_cache().'); // Erlang would keep the old one for two minutes
}

const overTls = (text: string) => {
  const url = new URL(text);
  url.port = String(tlsPort);
  return url.href.replace(/^amqp:/, 'amqps:');
};

async function install(caFile: string): Promise<Kpx> {
  const vhost = await rabbitmq.createKnimeVhost();
  const kpx = new Kpx(vhost, {
    standIn: { BOOT_MS: '50' },
    msgq: overTls(vhost.url('executor')),
    environment: { NODE_EXTRA_CA_CERTS: ca.file },
    broker: { amqp: { urls: [overTls(vhost.urlWithoutPassword('broker'))], tls: { ca_file: caFile } } },
  });
  onTestFinished(() => kpx.stop());
  await kpx.startHelper();
  await kpx.startBroker({ wait: false });
  return kpx;
}

/** As an administrator does, until the test is finished. */
function trustInTheSystem({ file }: OwnCa): void {
  const own = mkdtempSync('/srv/kpx-system-cas-');
  const update = () => execFileSync('/usr/sbin/update-ca-certificates', ['--localcertsdir', own], { stdio: 'pipe' });
  copyFileSync(file, `${own}/company.crt`);
  update();
  onTestFinished(() => {
    rmSync(own, { recursive: true });
    mkdirSync(own);
    update();
  });
}

describe('TLS', () => {
  it('with the company’s own CA: jobs are done, broker and executors both by TLS', async () => {
    await serve(good);
    const kpx = await install(ca.file);
    await kpx.brokerLog.line({ msg: 'consuming', server: `127.0.0.1:${tlsPort}` });
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
  });

  it.each([
    [
      'of another CA is refused, naming the setting',
      () => good,
      () => other.file,
      /a CA that is not trusted here: amqp\.tls\.ca_file is \/srv/,
    ],
    ['of a CA that nobody has named is refused, naming the setting', () => good, () => '', /name its file in amqp\.tls\.ca_file/],
    ['that has expired is refused', () => ca.issue('IP:127.0.0.1', { expired: true }), () => ca.file, /certificate has expired/],
    ['for another host is refused', () => ca.issue('DNS:rabbit.example'), () => ca.file, /is for other names than "127\.0\.0\.1"/],
  ])('a certificate %s', async (_, certificate, caFile, says) => {
    await serve(certificate());
    const kpx = await install(caFile());
    const { reason } = await kpx.brokerLog.line({ msg: CANNOT });
    expect(reason).toMatch(says);
    expect(await kpx.vhost.connections('broker')).toEqual([]);
  });

  it('that begins to work is taken up without a restart: the certificate is renewed', async () => {
    await serve(ca.issue('IP:127.0.0.1', { expired: true }));
    const kpx = await install(ca.file);
    await kpx.brokerLog.line({ msg: CANNOT });
    await serve(good);
    await kpx.brokerLog.line({ msg: 'consuming' });
  });

  it('without a ca_file trusts a CA that update-ca-certificates has added to the system’s', async () => {
    await serve(good);
    const kpx = await install('');
    expect((await kpx.brokerLog.line({ msg: CANNOT })).reason).toMatch(/a CA that is not trusted here/);
    trustInTheSystem(ca);
    await kpx.brokerLog.line({ msg: 'consuming' });
  });

  it('without a ca_file, where the system has no CAs: said, and what to do', async () => {
    await serve(good);
    const file = '/etc/ssl/certs/ca-certificates.crt';
    renameSync(file, `${file}.away`);
    onTestFinished(() => renameSync(`${file}.away`, file));
    const { reason } = await (await install('')).brokerLog.line({ msg: CANNOT });
    expect(reason).toMatch(
      /^amqp\.tls\.ca_file is "", and there are no CAs of the system .*: install the package ca-certificates, or name a file$/,
    );
  });

  it('with a ca_file that is not there: said, and used as soon as it is', async () => {
    await serve(good);
    const file = `/srv/ca-that-comes-late-${process.pid}.pem`;
    const kpx = await install(file);
    expect((await kpx.brokerLog.line({ msg: CANNOT })).reason).toBe(`amqp.tls.ca_file ${file} cannot be read: ENOENT`);
    writeFileSync(file, '');
    copyFileSync(ca.file, file);
    await kpx.brokerLog.line({ msg: 'consuming' });
  });
});
