import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { eventually } from '../fixtures/eventually.js';
import type { Section } from '../fixtures/helper-installation.js';
import type { JsonLog } from '../fixtures/json-log.js';
import { checkout, Kpx, node } from '../fixtures/kpx.js';
import { JOB_QUEUES } from '../fixtures/ledger.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { HelperWay } from './helper-way.js';
import { USERS, type WAYS } from './plan.js';

/** Agreed with every client, in seconds: a silent peer is noticed after two or three of them. Less, and a busy machine looks like a silent peer. */
const HEARTBEAT_S = 6;
/** How long RabbitMQ waits before it moves on a job again that its target did not take, in milliseconds; 3 minutes by itself. */
const MOVE_AGAIN_MS = 3_000;
/** How long a started broker may take until it says something, in milliseconds: from then on it heeds signals. */
const FIRST_LINE_TIMEOUT_MS = 30_000;
/** How long one job is worked on, in milliseconds. */
export const JOB_MS = 50;
/** A silence is noticed after so many milliseconds at most. */
export const SILENCE_NOTICED_MS = 3 * HEARTBEAT_S * 1_000;
/** Failed starts count for this long, and what has gone wrong too often is tried again after this long, in milliseconds. */
export const START_WINDOW_MS = 60_000;
export const BACKOFF_MAX_MS = 5_000;

const BASE_POLICY = 'never full';
const NEVER_FULL: Section = { 'max-length': 1_000_000, overflow: 'reject-publish' };

const BROKER_HOST = '127.0.0.2';
const EXECUTORS_HOST = '127.0.0.3';

/** A kpx that reaches RabbitMQ and the helper through proxies only, with one for the broker and one for the executors, and what can be done to it. */
export class Installation {
  /** Of every broker that has run, in order. */
  readonly brokerLogs: JsonLog[] = [];
  readonly #links: string;

  private constructor(
    readonly rabbitmq: RabbitmqServer,
    readonly kpx: Kpx,
    readonly ways: Record<(typeof WAYS)[number], TcpProxy>,
    readonly helperWay: HelperWay,
    links: string,
  ) {
    this.#links = links;
  }

  static async start(): Promise<Installation> {
    const application = { dead_letter_worker_publisher_confirm_timeout: MOVE_AGAIN_MS };
    const rabbitmq = await startRabbitmq({ settings: { heartbeat: HEARTBEAT_S }, application });
    const vhost = await rabbitmq.createKnimeVhost();
    // The same port on other addresses: by the port the broker knows its executors' connections.
    const port = rabbitmq.amqpPort;
    const target = { host: rabbitmq.host, port };
    const ways = {
      broker: await TcpProxy.start(target, { host: BROKER_HOST, port }),
      executors: await TcpProxy.start(target, { host: EXECUTORS_HOST, port }),
    };
    // A link for each account leads to the executor, so that one account's installation can be broken.
    const links = mkdtempSync('/srv/kpx-chaos-');
    chmodSync(links, 0o755);
    const kpx = new Kpx(vhost, {
      msgq: at(EXECUTORS_HOST, vhost.url('executor')),
      helper: { executor: { command: [node(), `${links}/{user}.mjs`, '-data', '{workspace}'] } },
      // One user's executor ends when it has nothing to do, and is started again for the next job.
      standIn: { BOOT_MS: '300', JOB_MS: String(JOB_MS), PREFETCH: '8', IDLE_MS_dave: '3000' },
    });
    const helperWay = new HelperWay(`${dirname(kpx.socket)}/way.sock`, kpx.socket);
    const installation = new Installation(rabbitmq, kpx, ways, helperWay, links);
    for (const user of USERS) installation.fix(user);
    installation.configure({});
    await installation.setQueuePolicy(BASE_POLICY, '^(knime-jobs|kpx\\.delay\\..*)$', {});
    for (const directory of [installation.auditDirectory, dirname(installation.auditHead)]) mkdirSync(directory, { mode: 0o700 });
    await installation.startHelper();
    await installation.startBroker();
    await kpx.brokerLog.line({ msg: 'consuming' });
    const delayQueues = JOB_QUEUES.filter((queue) => queue.startsWith('kpx.'));
    await rabbitmq.registered(vhost.vhost, delayQueues);
    return installation;
  }

  /** Where each helper of the run writes its audit log, and where the head of it is. */
  get auditDirectory(): string {
    return `${this.kpx.etc}/log`;
  }

  get auditHead(): string {
    return `${this.kpx.etc}/audit/head`;
  }

  /** Resolves when it listens. The directories are those that systemd gives it. */
  async startHelper(): Promise<void> {
    const directories = [`LOGS_DIRECTORY=${this.auditDirectory}`, `RUNTIME_DIRECTORY=${dirname(this.auditHead)}`];
    await this.kpx.startHelper({ wrap: ['/usr/bin/env', ...directories] });
  }

  /** As logrotate does with systemd/kpx.logrotate: each part gets the next number, and those from the second on are packed. */
  rotateAudit(): void {
    const part = (number: number) => join(this.auditDirectory, number === 0 ? 'audit.jsonl' : `audit.jsonl.${number}`);
    if (!existsSync(part(0))) return;
    let last = 0;
    while (existsSync(`${part(last + 2)}.gz`)) last++;
    for (let number = last + 1; number >= 2; number--) renameSync(`${part(number)}.gz`, `${part(number + 1)}.gz`);
    // Packed only now: a line may have been on its way into it when it got its name.
    if (existsSync(part(1))) {
      writeFileSync(`${part(2)}.gz`, gzipSync(readFileSync(part(1))), { mode: 0o600 });
      rmSync(part(1));
    }
    renameSync(part(0), part(1));
  }

  /** Writes the broker's configuration: what all have, and what differs. */
  configure({ amqp, policy, ...others }: Record<string, Section>): void {
    this.kpx.configureBroker({
      amqp: { urls: [at(BROKER_HOST, this.kpx.vhost.urlWithoutPassword('broker'))], ...amqp },
      helper: { socket: this.helperWay.socket },
      executors: { start_timeout: '30s', lost_after: '6s' },
      policy: {
        deny: ['mallory'],
        evict_idle_after: '2s',
        start_attempts: 3,
        start_window: `${START_WINDOW_MS}ms`,
        backoff_initial: '300ms',
        backoff_max: `${BACKOFF_MAX_MS}ms`,
        ...policy,
      },
      log: { level: 'debug' },
      ...others,
    });
  }

  /** Resolves when it heeds signals; RabbitMQ and the helper may be away. */
  async startBroker(): Promise<void> {
    await this.kpx.startBroker({ wait: false });
    const log = this.kpx.brokerLog;
    this.brokerLogs.push(log);
    const broker = this.kpx.broker;
    const look = () => log.lines.length > 0 || (broker?.exitCode ?? broker?.signalCode ?? undefined) !== undefined;
    await eventually('the broker says something', look, FIRST_LINE_TIMEOUT_MS);
    if (log.lines.length === 0) throw new Error(`the broker ended with ${broker?.exitCode ?? broker?.signalCode}\n${log.stderr}`);
  }

  /** From now on the executor of this account fails at its start, as when what it was installed on is gone. */
  break(account: string): void {
    rmSync(join(this.#links, `${account}.mjs`));
  }

  fix(account: string): void {
    symlinkSync(join(checkout(), 'test/fixtures/knime/executor.mjs'), join(this.#links, `${account}.mjs`));
  }

  /**
   * In every policy a queue that is full refuses. Where one sets a limit for the first time, RabbitMQ (seen with 3.10) applies it before it heeds
   * `overflow`, and drops what the queue has beyond it: so there is a limit from the beginning that is never reached.
   */
  async setQueuePolicy(name: string, pattern: string, definition: Section): Promise<void> {
    const body = { pattern, definition: { ...NEVER_FULL, ...definition }, 'apply-to': 'queues', priority: name === BASE_POLICY ? 0 : 1 };
    await this.rabbitmq.api('PUT', this.#policyPath(name), body);
  }

  async removeQueuePolicy(name: string): Promise<void> {
    await this.rabbitmq.api('DELETE', this.#policyPath(name));
  }

  #policyPath(name: string): string {
    return `policies/${encodeURIComponent(this.kpx.vhost.vhost)}/${encodeURIComponent(name)}`;
  }

  /** Whatever state it is in. */
  async remove(): Promise<void> {
    await this.kpx.endBroker('SIGKILL');
    await this.kpx.endHelper('SIGKILL');
    this.helperWay.close();
    await Promise.all(Object.values(this.ways).map((proxy) => proxy.close()));
    await this.rabbitmq.remove();
  }
}

function at(host: string, address: string): string {
  const url = new URL(address);
  url.hostname = host;
  return url.href;
}
