import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { withChannel } from '../fixtures/amqp.js';
import { PYTHON, pythonDirectory } from '../fixtures/celery.js';
import { drainQueue } from '../fixtures/jobs.js';
import type { Vhost } from '../fixtures/rabbitmq-access.js';
import { type Part, partOf, type Random, seeded } from '../fixtures/random-kills.js';

export const TASKS_A_KILL = 10;
/** A kill comes so long after the tasks before it at most, in milliseconds. */
const BETWEEN_MS_MAX = 400;
/** Results are read so often, in milliseconds. */
const READ_EVERY_MS = 500;
/** When nothing has come for so long, in milliseconds, nothing more comes: ten Celery workers are back long before. */
const QUIET_MS = 300_000;
const RESULTS = 'results-of-the-client';
const MINUTE_MS = 60_000;
/** Kills between two lines about how far it has come. */
const TOLD_EVERY = 25;

/** Celery workers of these users, and how each part is killed and is there again. A part that is not there has no kill. */
export interface Installation {
  readonly vhost: Vhost;
  readonly kills: (random: Random) => Partial<Record<Part, () => Promise<void>>>;
  readonly done: (user: string) => readonly { readonly job: string }[];
}

export interface Plan {
  readonly users: readonly string[];
  readonly kills: number;
  readonly seed: number;
}

/** The ids of what was lost. */
export interface Outcome {
  readonly tasks: readonly string[];
  readonly results: readonly string[];
}

/** Sends tasks by Celery; `send` resolves when RabbitMQ has confirmed them. */
function startSender(url: string) {
  const child = spawn(PYTHON, [`${pythonDirectory()}/celery_sender.py`], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { PATH: '/usr/bin:/bin' },
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const write = (what: unknown) => child.stdin.write(`${JSON.stringify(what)}\n`);
  write({ url, results: RESULTS });
  return {
    send: async (tasks: readonly (readonly [id: string, user: string])[]) => {
      write(tasks);
      if ((await lines.next()).value !== 'confirmed') throw new Error('the Celery client has ended');
    },
    end: () => child.stdin.end(),
  };
}

/** Results of tasks that were successful, by task id. */
class Results {
  readonly ids = new Set<string>();
  count = 0;

  constructor(readonly url: string) {}

  /** How many have come now. Where RabbitMQ is away, there is nothing to read. */
  async read(): Promise<number> {
    const all = await drainQueue(this.url, RESULTS).catch(() => []);
    const successful = all.filter(({ json }) => (json as { status?: string } | undefined)?.status === 'SUCCESS');
    for (const { properties } of successful) this.ids.add(String(properties.correlationId));
    this.count += successful.length;
    return successful.length;
  }

  async untilAllOrQuiet(ids: readonly string[]): Promise<void> {
    let last = performance.now();
    while (!ids.every((id) => this.ids.has(id)) && performance.now() - last < QUIET_MS) {
      await delay(READ_EVERY_MS);
      if ((await this.read()) > 0) last = performance.now();
    }
  }
}

/** Publishes tasks, kills a part after each few of them, and says what is lost when nothing more comes. */
export async function underKills(name: string, installation: Installation, { users, kills: count, seed }: Plan): Promise<Outcome> {
  const url = installation.vhost.url('admin');
  await withChannel(url, (channel) => channel.assertQueue(RESULTS, { durable: true }));
  const random = seeded(seed);
  const kills = installation.kills(random);
  const tasks = Array.from({ length: count * TASKS_A_KILL }, (_, index) => {
    const user = users[index % users.length] ?? '';
    return [`${user}-${index}`, user] as const;
  });
  const ids = tasks.map(([id]) => id);
  const sender = startSender(url);
  const results = new Results(url);
  const killed: Partial<Record<Part, number>> = {};
  const from = performance.now();
  for (let index = 0; index < count; index++) {
    await sender.send(tasks.slice(index * TASKS_A_KILL, (index + 1) * TASKS_A_KILL));
    await delay(random() * BETWEEN_MS_MAX);
    const part = partOf(index, random);
    const kill = kills[part];
    if (kill === undefined) continue;
    await kill();
    killed[part] = (killed[part] ?? 0) + 1;
    if ((index + 1) % TOLD_EVERY === 0) process.stderr.write(`${name}: ${index + 1} of ${count} kills\n`);
  }
  sender.end();
  await results.untilAllOrQuiet(ids);
  const done = users.flatMap((user) => installation.done(user).map(({ job }) => job));
  const outcome = { tasks: ids.filter((id) => !done.includes(id)), results: ids.filter((id) => !results.ids.has(id)) };
  console.log(
    `${name}, seed ${seed}: ${ids.length} tasks, kills ${JSON.stringify(killed)}, ${((performance.now() - from) / MINUTE_MS).toFixed(1)} minutes: ` +
      `${outcome.tasks.length} tasks and ${outcome.results.length} results lost, ${done.length - new Set(done).size} tasks done again, ` +
      `${results.count - results.ids.size} results there again`,
  );
  return outcome;
}
