import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { OwnCa, tlsListener } from '../fixtures/certificates.js';
import { freePorts } from '../fixtures/free-ports.js';
import { jobOf } from '../fixtures/jobs.js';
import { Kpx, type KpxOptions } from '../fixtures/kpx.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';
import { LEAST_PERMISSIONS, type Vhost } from '../fixtures/rabbitmq-access.js';
import { publish } from './installed-kpx.js';

const CANNOT = 'RabbitMQ cannot be used; trying again';

let rabbitmq: RabbitmqServer;
let tlsPort = 0;
const ca = new OwnCa('kpx-refusals');

beforeAll(async () => {
  [tlsPort = 0] = await freePorts(1);
  rabbitmq = await startRabbitmq({ settings: tlsListener(tlsPort, ca, ca.issue('IP:127.0.0.1')) });
});
afterAll(() => rabbitmq.remove());

/** A broker alone: it needs no helper to be refused. */
async function startBroker(vhost: Vhost, amqp: NonNullable<KpxOptions['broker']>[string] = {}): Promise<Kpx> {
  const kpx = new Kpx(vhost, { broker: { amqp } });
  onTestFinished(() => kpx.stop());
  await kpx.startBroker({ wait: false });
  return kpx;
}

const user = () => rabbitmq.users.broker.name;
const limits = (kind: 'vhost' | 'user', name: string, value: number) =>
  rabbitmq.api('PUT', `${kind}-limits/${encodeURIComponent(name)}/max-connections`, { value });

describe('the log has RabbitMQ’s own sentence and what to do, where', () => {
  it('the virtual host does not exist', async () => {
    const vhost = await rabbitmq.createKnimeVhost();
    const url = new URL(vhost.urlWithoutPassword('broker'));
    url.pathname = '/nowhere';
    const { reason } = await (await startBroker(vhost, { urls: [url.href] })).brokerLog.line({ msg: CANNOT });
    expect(reason).toMatch(/NOT_ALLOWED - vhost nowhere not found/);
    expect(reason).toMatch(/amqp\.urls.*rabbitmqctl list_vhosts/);
  });

  it('the virtual host is another one than this user may use', async () => {
    const vhost = await rabbitmq.createKnimeVhost();
    await rabbitmq.api('DELETE', `permissions/${vhost.vhost}/${user()}`);
    const { reason } = await (await startBroker(vhost)).brokerLog.line({ msg: CANNOT });
    expect(reason).toContain(`NOT_ALLOWED - access to vhost '${vhost.vhost}' refused for user '${user()}'`);
    expect(reason).toContain(`rabbitmqctl set_permissions -p ${vhost.vhost} ${user()}`);
  });

  it('the virtual host has as many connections as it may, and it is used as soon as it has not', async () => {
    const vhost = await rabbitmq.createKnimeVhost();
    await limits('vhost', vhost.vhost, 0);
    const kpx = await startBroker(vhost);
    const { reason } = await kpx.brokerLog.line({ msg: CANNOT });
    expect(reason).toMatch(/NOT_ALLOWED - .*connection limit \(0\) is reached/);
    expect(reason).toContain(`rabbitmqctl list_vhost_limits --vhost ${vhost.vhost}`);
    await limits('vhost', vhost.vhost, 100);
    await kpx.brokerLog.line({ msg: 'consuming' });
  });

  it('the user has as many connections as it may, by TLS as well', async () => {
    const vhost = await rabbitmq.createKnimeVhost();
    const url = new URL(vhost.urlWithoutPassword('broker'));
    url.port = String(tlsPort);
    await limits('user', user(), 0);
    onTestFinished(() => rabbitmq.api('DELETE', `user-limits/${user()}/max-connections`));
    const kpx = await startBroker(vhost, { urls: [url.href.replace(/^amqp:/, 'amqps:')], tls: { ca_file: ca.file } });
    const { reason } = await kpx.brokerLog.line({ msg: CANNOT });
    expect(reason).toMatch(/NOT_ALLOWED - .*user connection limit \(0\) is reached/);
    expect(reason).toContain(`rabbitmqctl list_user_limits --user ${user()}`);
  });

  it.each([
    ['configure', { configure: '^$' }, CANNOT, /access to queue 'kpx\.dead-letter' in vhost/],
    ['read', { read: '^kpx\\.' }, CANNOT, /access to queue 'knime-jobs' in vhost/],
  ])('a permission is missing: %s', async (_, missing, msg, says) => {
    const vhost = await rabbitmq.createKnimeVhost();
    await vhost.setPermissions('broker', { ...LEAST_PERMISSIONS.broker, ...missing });
    const { reason } = await (await startBroker(vhost)).brokerLog.line({ msg });
    expect(reason).toMatch(says);
    expect(reason).toContain('kpxctl doctor');
  });

  it('the permission to publish is missing, which RabbitMQ says of the first job, and from 4.3 on before it', async () => {
    const vhost = await rabbitmq.createKnimeVhost();
    await vhost.setPermissions('broker', { ...LEAST_PERMISSIONS.broker, write: '^kpx\\.|^amq\\.default$' });
    const kpx = new Kpx(vhost, { standIn: { BOOT_MS: '50' } });
    onTestFinished(() => kpx.stop());
    await kpx.startHelper();
    await kpx.startBroker({ wait: false });
    await publish(kpx, jobOf('alice', 'a1'));
    const { reason } = await Promise.any(['lost RabbitMQ; connecting again', CANNOT].map((msg) => kpx.brokerLog.line({ msg })));
    expect(reason).toMatch(/access to exchange 'knime-server2executorknime-jobs' in vhost .* refused for user/);
    expect(reason).toContain('kpxctl doctor');
  });
});
