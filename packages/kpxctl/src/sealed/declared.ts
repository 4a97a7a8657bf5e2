import { isDeepStrictEqual } from 'node:util';
import { type Config, readPassword } from '@kpx/broker/config/config';
import { readTlsFiles, type TlsFiles } from '@kpx/broker/config/tls-files';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { askManagement, isRecord, type Management, parsed, refusedBy } from '@kpx/broker/rabbitmq/management';
import { stringify } from 'smol-toml';
import { z } from 'zod';
import { PASSWORD_FILE } from '../broker-options.js';
import { goOnAs, textOf } from '../leave-root.js';
import { vhostOf } from '../setup-rabbitmq/definitions.js';

/*
 * How the server's RabbitMQ has the job queue and the exchange, asked of its management API as the broker's user. AMQP shows no arguments. A process
 * without root reads the answers.
 */

/** A value that TOML and [sealed] have, too. Others are left out. */
const value = z.union([z.string(), z.int(), z.boolean()]);
const table = z.record(z.string(), value);
const queue = z.strictObject({ durable: z.boolean(), arguments: table });
const exchange = z.strictObject({ type: z.string(), durable: z.boolean(), arguments: table });
/** null: the server has none. `exchange` undefined: jobs come without one. */
const declared = z.strictObject({ queue: queue.nullable(), exchange: exchange.nullable().optional() });
type Declared = z.infer<typeof declared>;

/** For the process that asks. */
export interface AskedOfServer {
  readonly apis: readonly Omit<Management, 'files'>[];
  readonly files: Partial<TlsFiles>;
  readonly vhost: string;
  readonly queue: string;
  readonly exchange: string;
}

/** As root. Undefined where no management API of the server is configured. Throws an Error for operators. */
export async function declaredAtServer({ amqp }: Config): Promise<Declared | undefined> {
  if (amqp.management_urls.length === 0) return undefined;
  const user = decodeURIComponent(new URL(amqp.urls[0] ?? '').username);
  const password = await readPassword({ ...amqp, password_file: amqp.password_file || PASSWORD_FILE });
  const isTls = amqp.management_urls.some((url) => url.startsWith('https:'));
  const asked: AskedOfServer = {
    apis: amqp.management_urls.map((url) => ({ name: `the management API at ${url}`, url, user, password })),
    files: isTls ? await readTlsFiles(amqp.tls) : {},
    ...{ vhost: vhostOf(amqp), queue: amqp.queue, exchange: amqp.exchange },
  };
  const { stdin, stdout, stderr, ended } = goOnAs(asked);
  stdin.end();
  const texts = Promise.all([textOf(stdout), textOf(stderr)]);
  texts.catch(() => {}); // where it cannot be started, which is said next
  const code = await ended;
  const [said, problem] = await texts;
  if (code !== 0) throw new Error(problem.trim());
  return declared.parse(JSON.parse(said));
}

/** In the process without root. Nodes of a cluster say the same, and one of them may be away. Throws {@link CommandError}. */
export async function askServer({ apis, files, vhost, queue, exchange }: AskedOfServer): Promise<Declared> {
  const at = async (api: Management): Promise<Declared> => ({
    queue: await thing(api, ['queues', vhost, queue], ({ durable }) => ({ durable: durable === true })),
    ...(exchange !== '' && {
      exchange: await thing(api, ['exchanges', vhost, exchange], ({ type, durable }) => ({
        ...{ type: String(type), durable: durable === true },
      })),
    }),
  });
  try {
    return await Promise.any(apis.map((api) => at({ ...api, files: async () => files })));
  } catch (error) {
    const said = (error as AggregateError).errors.map(({ message }: Error) => message).join('; ');
    throw new CommandError(EXIT.unavailable, said, { cause: error });
  }
}

async function thing<Found>(api: Management, path: readonly string[], found: (answer: Record<string, unknown>) => Found) {
  const answer = await askManagement(api, { method: 'GET', path });
  if (answer.status === 404) return null;
  if (answer.status !== 200) throw refusedBy(api, answer);
  const seen = parsed(answer.text);
  if (!isRecord(seen)) throw new Error(`${api.name} does not answer as RabbitMQ does`);
  const all = Object.entries(isRecord(seen.arguments) ? seen.arguments : {});
  const known = all.filter((entry): entry is [string, z.infer<typeof value>] => value.safeParse(entry[1]).success);
  return { ...found(seen), arguments: Object.fromEntries(known) };
}

/** Tables of broker.toml for those of them that `sealed` has otherwise. Not how a full queue drops jobs: with a queue for each account none may be dropped. */
export function linesFor({ queue: atServer, exchange }: Declared, { job_queue, job_exchange }: Config['sealed']): string[] {
  const { executor_declares: _, ...ofQueue } = job_queue;
  const queue = atServer && { ...atServer, arguments: withoutOverflow(atServer.arguments) };
  const tables = {
    ...(queue && !isDeepStrictEqual(queue, ofQueue) && { job_queue: queue }),
    ...(exchange && !isDeepStrictEqual(exchange, job_exchange) && { job_exchange: exchange }),
  };
  if (Object.keys(tables).length === 0) return [];
  return stringify({ sealed: tables }).split('\n').filter(Boolean);
}

function withoutOverflow(all: z.infer<typeof table>): z.infer<typeof table> {
  const { 'x-overflow': overflow, ...others } = all;
  return overflow === 'reject-publish' ? all : others;
}
