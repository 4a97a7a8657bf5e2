import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { celeryBroker, celeryOptions, createCeleryVhost, workerCommand, workerEnvironment } from '../fixtures/celery.js';
import { idsOf, Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import type { Vhost } from '../fixtures/rabbitmq-access.js';
import { killAllOf, killAndStart, killsOf, oneOf, type Random } from '../fixtures/random-kills.js';
import type { Installation } from './celery-under-kills.js';

const POLICY = { backoff_initial: '100ms', backoff_max: '1s', start_attempts: 1_000, max_starting: 10 };
/** Its accounts get to their own directories in it. */
const TRAVERSABLE = 0o755;

/** Celery workers as the sealed executors of kpx. */
export class SealedCelery implements Installation {
  constructor(
    readonly kpx: Kpx,
    readonly server: RabbitmqServer,
    readonly accounts: RabbitmqServer,
    readonly users: readonly string[],
  ) {}

  static async start(server: RabbitmqServer, accounts: RabbitmqServer, users: readonly string[]): Promise<SealedCelery> {
    const options = celeryOptions({ ...celeryBroker(), policy: POLICY });
    const kpx = await new Kpx(await createCeleryVhost(server), { ...options, sealed: accounts }).start();
    // RabbitMQ, killed before that, comes back with quorum queues that do not work.
    await server.registered(kpx.vhost.vhost, ['kpx.dead-letter']);
    return new SealedCelery(kpx, server, accounts, users);
  }

  get vhost(): Vhost {
    return this.kpx.vhost;
  }

  readonly kills = (random: Random) => killsOf(this.kpx, this.server, this.accounts, this.users, random);
  readonly done = (user: string) => this.kpx.done(user);

  async stop(): Promise<void> {
    await this.kpx.stop();
  }
}

/** One ordinary worker for each user, which takes any task, and is started again when it ends. A kill of either RabbitMQ is one of its only one. */
export class BareCelery implements Installation {
  readonly #directory = mkdtempSync('/srv/bare-celery-');
  readonly #workers = new Map<string, ChildProcess>();
  #isOver = false;

  constructor(
    readonly vhost: Vhost,
    readonly server: RabbitmqServer,
    readonly users: readonly string[],
  ) {}

  static async start(server: RabbitmqServer, users: readonly string[]): Promise<BareCelery> {
    const bare = new BareCelery(await createCeleryVhost(server), server, users);
    chmodSync(bare.#directory, TRAVERSABLE);
    for (const user of users) bare.#startWorker(user);
    return bare;
  }

  #startWorker(user: string): void {
    const { uid, gid } = idsOf(user);
    const workspace = `${this.#directory}/${user}`;
    mkdirSync(workspace, { recursive: true });
    chownSync(workspace, uid, gid);
    const [command, ...args] = workerCommand(`${user}@bare`);
    const env = { ...workerEnvironment(), PATH: '/usr/bin:/bin', KNIME_EXECUTOR_MSGQ: this.vhost.url('admin'), KPX_WORKSPACE: workspace };
    const worker = spawn(command, args, { uid, gid, env, cwd: workspace, stdio: 'ignore' });
    this.#workers.set(user, worker);
    worker.once('exit', () => {
      if (!this.#isOver) this.#startWorker(user);
    });
  }

  readonly kills = (random: Random) => ({
    executor: async () => killAllOf(oneOf(this.users, random)),
    server: () => killAndStart(this.server),
    accounts: () => killAndStart(this.server),
  });

  readonly done = (user: string): { job: string }[] => {
    try {
      const lines = readFileSync(`${this.#directory}/${user}/jobs-done.jsonl`, 'utf8').split('\n').slice(0, -1);
      return lines.map((line) => JSON.parse(line));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  };

  async stop(): Promise<void> {
    this.#isOver = true;
    const ended = [...this.#workers.values()].map((worker) => once(worker, 'exit'));
    for (const user of this.users) killAllOf(user);
    await Promise.all(ended);
  }
}
