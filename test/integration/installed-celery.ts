import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished } from 'vitest';
import { ownQueues } from '../../packages/broker/src/amqp/topology.js';
import { withChannel } from '../fixtures/amqp.js';
import type { Section } from '../fixtures/helper-installation.js';
import { checkout, type Kpx } from '../fixtures/kpx.js';
import type { RabbitmqAccess } from '../fixtures/rabbitmq-access.js';
import { installSealedAt } from '../fixtures/sealed-accounts.js';
import { sharedRabbitmq } from './shared-rabbitmq.js';

/* Debian's Celery, unmodified, as the executor of its own account, and an ordinary Celery client that adds a header with the user. */

const QUEUE = 'celery';
const PYTHON = '/usr/bin/python3';
const directory = () => `${checkout()}/test/fixtures/python`;
/** As Celery declares them. */
const EXCHANGES = [
  { exchange: 'celeryev', type: 'topic', durable: true },
  { exchange: 'reply.celery.pidbox', type: 'direct', durable: false },
  { exchange: 'celery.pidbox', type: 'fanout', durable: false },
];

/** The server's part, as other workers have left it, and the least that a broker can work with there. */
async function takeCeleryVhost() {
  const vhost = await sharedRabbitmq().createVhost();
  onTestFinished(() => vhost.delete());
  await withChannel(vhost.url('admin'), async (channel) => {
    await channel.assertQueue(QUEUE, { durable: true });
    for (const [name, options] of ownQueues(QUEUE)) await channel.assertQueue(name, options);
    for (const { exchange, type, durable } of EXCHANGES) await channel.assertExchange(exchange, type, { durable });
  });
  await vhost.setPermissions('broker', {
    configure: '^kpx\\.',
    write: '^kpx\\.|^(amq\\.default|celeryev|reply\\.celery\\.pidbox)$',
    read: '^kpx\\.|^(celery|celery\\.pidbox)$',
  });
  return vhost;
}

export interface CeleryOptions {
  /** Of broker.toml. */
  readonly broker: { readonly amqp: Section; readonly jobs: Section; readonly sealed: Section };
  /** Of the worker: its module with tasks, and where that is. */
  readonly app?: string;
  readonly path?: string;
  readonly environment?: Record<string, string>;
}

export async function startCelery(
  accounts: RabbitmqAccess,
  { broker, app = 'celery_worker', path, environment }: CeleryOptions,
): Promise<Kpx> {
  const worker = ['worker', '--concurrency=2', '--hostname={user}@kpx', '--task-events', '--loglevel=INFO'];
  return await installSealedAt(await takeCeleryVhost(), accounts, {
    helper: { executor: { command: [PYTHON, '-m', 'celery', `--app=${app}`, ...worker] } },
    environment: { PYTHONPATH: path ?? directory(), PYTHONDONTWRITEBYTECODE: '1', ...environment },
    broker,
  }).start();
}

/** What a client prints that has sent this work. */
export async function clientOf(kpx: Kpx, work: string, more: object = {}): Promise<unknown> {
  const client = spawn(PYTHON, [`${directory()}/celery_client.py`], { stdio: ['pipe', 'pipe', 'pipe'], env: { PATH: '/usr/bin:/bin' } });
  client.stdin.end(`${JSON.stringify({ url: kpx.vhost.url('admin'), work, ...more })}\n`);
  const [printed, complaints] = await Promise.all([text(client.stdout), text(client.stderr)]);
  expect(printed, complaints).not.toBe('');
  return JSON.parse(printed);
}
