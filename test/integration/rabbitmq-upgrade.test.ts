import { execFileSync } from 'node:child_process';
import { renameSync } from 'node:fs';
import { expect, it, onTestFinished } from 'vitest';
import { isAtLeast } from '../../packages/broker/src/amqp/job-queue.js';
import { eventually } from '../fixtures/eventually.js';
import { freePorts } from '../fixtures/free-ports.js';
import { jobOf, publishJobs } from '../fixtures/jobs.js';
import { Kpx } from '../fixtures/kpx.js';
import { blocksOf } from '../fixtures/page.js';
import { RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';
import { jobsDone, runKpxctl } from './installed-kpx.js';

const HEADING = 'From Debian 12 to Debian 13';
const FILE = '/var/lib/rabbitmq/definitions.json';

/** What the page has `rabbitmqctl` do in that section, with the file elsewhere. */
function rabbitmqctl(verb: string, file = ''): string[] {
  const lines = blocksOf('docs/rabbitmq.md').flatMap(({ heading, text }) => (heading === HEADING ? text.split('\n') : []));
  const [line] = lines.filter((text) => text.startsWith('rabbitmqctl') && text.includes(verb));
  const [, ...words] = (line ?? `none with ${verb}`).replace(/ +#.*/, '').replace(FILE, file).split(' ');
  return words.filter((word) => word !== '-q');
}

it('RabbitMQ 4.0 starts empty with the definitions of the one before, and kpx goes on', { timeout: 120_000 }, async () => {
  const old = await startRabbitmq();
  onTestFinished(() => old.remove());
  const { rabbitmq_version: version } = await old.api<{ rabbitmq_version: string }>('GET', 'overview');
  const vhost = await old.createKnimeVhost('knime');
  const kpx = new Kpx(vhost, { standIn: { BOOT_MS: '50' }, broker: { policy: { deny: ['bob'] } } });
  onTestFinished(() => kpx.stop());
  await kpx.start();
  await publishJobs(vhost.url('publisher'), [jobOf('alice', 'before'), jobOf('bob', 'parked')]);
  await jobsDone(kpx, 'alice', 1);
  await eventually('one is parked', async () => (await vhost.queueDepth('kpx.dead-letter'))?.messages === 1);
  expect(await runKpxctl(['dead-letters', 'drop', '--all', '--yes', '--config', kpx.brokerConfigFile])).toMatchObject({ code: 0 });
  await kpx.stop();
  const queues = async (server: RabbitmqServer) => (await server.ctl(...rabbitmqctl('list_queues'))).trimEnd().split('\n').sort();
  const before = await eventually('all are empty', async () => {
    const lines = await queues(old);
    return lines.slice(0, -1).every((line) => line.endsWith('\t0')) && lines;
  });
  const definitions = `${old.directory}/definitions.json`;
  await old.ctl(...rabbitmqctl('export_definitions', definitions));
  await old.stop();

  const [distribution = 0] = await freePorts(1);
  const next = new RabbitmqServer(old.facts, distribution, { tree: 'debian13' });
  onTestFinished(() => next.remove());
  execFileSync('/usr/bin/cp', ['--recursive', `${old.directory}/mnesia`, definitions, next.directory]);
  next.own();
  if (!isAtLeast(version, 3, 13)) {
    await expect(next.start()).rejects.toThrow(/required feature flag not enabled/);
    await next.kill();
  }
  renameSync(`${next.directory}/mnesia`, `${next.directory}/mnesia-3.10`);
  await next.start();
  const { broker, executor, publisher } = next.users;
  for (const { name } of [broker, executor, publisher]) await next.api('DELETE', `users/${name}`);
  await next.ctl(...rabbitmqctl('import_definitions', `${next.directory}/definitions.json`));
  expect(await queues(next)).toEqual(before);
  await kpx.start();
  await publishJobs(vhost.url('publisher'), [jobOf('alice', 'after')]);
  const done = await jobsDone(kpx, 'alice', 2);
  expect(done.map(({ job }) => job)).toEqual(['before', 'after']);
});
