import { existsSync } from 'node:fs';
import { ACCESS_REFUSED, NOT_FOUND } from '@kpx/broker/amqp/reply-codes';
import { readPassword } from '@kpx/broker/config/config';
import { readTlsFiles } from '@kpx/broker/config/tls-files';
import { shellWord } from '@kpx/broker/output/format';
import { askManagement, isRecord, parsed } from '@kpx/broker/rabbitmq/management';
import type { Channel, ChannelModel } from 'amqplib';
import { type Check, fail, ok, Skipped, warn } from './check.js';
import { NEW_QUEUE, publish, type Question, refusal } from './rabbitmq-answers.js';
import type { BrokerConfig } from './scene.js';

/** RabbitMQ's user of a new installation, whose password everybody knows. */
const GUEST = 'guest';
const ADMINISTRATOR = 'administrator';

/** Ways to RabbitMQ that these checks are given. */
export interface Ways {
  /** To the server, as the broker; another one each time. */
  readonly server: () => Promise<ChannelModel>;
  /** The broker's at the server. Throws {@link Skipped} where it cannot be read. */
  readonly password: () => Promise<string>;
  /** Logs in to the accounts' RabbitMQ, as the broker. Throws an Error for operators. */
  readonly accounts: (url: string) => Promise<void>;
  /** Logs in as executors did while they shared a user, by this file. Without `login` there is none. */
  readonly formerLogin: () => Promise<{ readonly file: string; readonly login?: { readonly user: string; readonly refused: boolean } }>;
}

/** The accounts' RabbitMQ, and what the broker may do at the server for `[[sealed.up]]` and `[[sealed.down]]`. */
export const sealedRabbitmqChecks = (config: BrokerConfig, ways: Ways): Check[] => [
  login(config, ways),
  administrator(config),
  guest(config),
  serversUser(config, ways),
  apart(config, ways),
  exchanges(config, ways),
  formerLogin(ways),
];

/** The answer of a management API, asked as the broker: the server's with `server`, else the accounts'. undefined: there is no such thing. */
async function ask({ amqp, sealed }: BrokerConfig, path: readonly string[], server?: Pick<Ways, 'password'>): Promise<unknown> {
  const url = server ? (amqp.management_urls[0] ?? '') : sealed.management_url;
  const user = decodeURIComponent(new URL((server ? amqp.urls : sealed.urls)[0] ?? '').username);
  const password = server ? await server.password() : await readPassword({ ...amqp, password_file: sealed.management_password_file });
  const api = { name: `the management API at ${url}`, url, user, password, files: () => readTlsFiles(amqp.tls) };
  const { status, text } = await askManagement(api, { method: 'GET', path });
  if (status === 404) return undefined;
  if (status !== 200) throw new Error(`${api.name} answers "${user}" with ${status}`);
  return parsed(text);
}

const tagsOf = (answer: unknown): string[] => {
  const { tags = '' } = isRecord(answer) ? answer : {};
  return Array.isArray(tags) ? tags.map(String) : String(tags).split(',');
};

const login = ({ sealed }: BrokerConfig, { accounts }: Ways): Check => ({
  name: "accounts' RabbitMQ",
  fix: 'See that it runs (systemctl status kpx-rabbitmq), that sealed.urls is right, and that sealed.management_password_file has its password: sealed.md.',
  look: async () => {
    for (const url of sealed.urls) await accounts(url);
    return ok('login works');
  },
});

const administrator = (config: BrokerConfig): Check => ({
  name: "accounts' administrator",
  fix: 'See that the plugin rabbitmq_management is enabled there, and that sealed.management_url and sealed.management_password_file are right.',
  look: async () => {
    const me = await ask(config, ['whoami']);
    const { name } = isRecord(me) ? me : {};
    if (tagsOf(me).includes(ADMINISTRATOR)) return ok(`"${String(name)}" is an administrator there`);
    return fail(
      `"${String(name)}" has not the tag ${ADMINISTRATOR}, which making virtual hosts takes`,
      `At the accounts' RabbitMQ: rabbitmqctl set_user_tags ${shellWord(String(name))} ${ADMINISTRATOR}`,
    );
  },
});

const guest = (config: BrokerConfig): Check => ({
  name: "accounts' guest",
  fix: "See that the management API of the accounts' RabbitMQ answers.",
  look: async () => {
    if ((await ask(config, ['users', GUEST])) === undefined) return ok(`there is no user "${GUEST}"`);
    return fail(
      `there is the user "${GUEST}": every user of this machine may be administrator`,
      `At the accounts' RabbitMQ: rabbitmqctl delete_user ${GUEST}`,
    );
  },
});

/** A broker that was taken over is an administrator of the accounts' RabbitMQ. At the server that would be all of KNIME's. */
const serversUser = (config: BrokerConfig, ways: Ways): Check => ({
  name: "server's user",
  fix: 'See amqp.management_urls.',
  look: async () => {
    if (config.amqp.management_urls.length === 0) {
      throw new Skipped('amqp.management_urls is not set; on the RabbitMQ machine: rabbitmqctl list_users');
    }
    const me = await ask(config, ['whoami'], ways).catch((error: Error) => {
      throw new Skipped(error.message);
    });
    const { name } = isRecord(me) ? me : {};
    if (!tagsOf(me).includes(ADMINISTRATOR)) return ok(`"${String(name)}" is no administrator of the server's RabbitMQ`);
    return warn(
      `"${String(name)}" is an administrator of the server's RabbitMQ, too`,
      `The broker needs that at the accounts' RabbitMQ alone. On the RabbitMQ machine: rabbitmqctl set_user_tags ${shellWord(String(name))} management`,
    );
  },
});

const clusterOf = (connection: ChannelModel) => String(connection.connection.serverProperties.cluster_name ?? '');

const apart = (config: BrokerConfig, { server }: Ways): Check => ({
  name: 'two RabbitMQs',
  fix: "See that both can be reached: the server's, and the accounts'.",
  look: async () => {
    const overview = await ask(config, ['overview']).catch((error: Error) => {
      throw new Skipped(error.message);
    });
    const [one, other] = [clusterOf(await server()), String(isRecord(overview) ? overview.cluster_name : '')];
    if (one !== other) return ok(`the server's is "${one}", the accounts' is "${other}"`);
    return warn(
      `the server's RabbitMQ "${one}" is the accounts' as well`,
      'The broker is an administrator of it, and an alarm that an account causes there stops KNIME Server, too. Give the accounts a RabbitMQ of their own: sealed.md.',
    );
  },
});

/** RabbitMQ judges the right first; the queue is never there. Nothing is bound. */
const listen =
  (exchange: string): Question =>
  (channel: Channel) =>
    channel.bindQueue(NEW_QUEUE, exchange, '#');

/** On a connection of its own, as one that publishes is not read any more on an alarm. */
const exchanges = ({ amqp, sealed }: BrokerConfig, { server }: Ways): Check => ({
  name: 'sealed.up and sealed.down',
  fix: 'See whether RabbitMQ answers others: rabbitmqctl status.',
  look: async () => {
    const connection = await server();
    const missing: string[] = [];
    const absent: string[] = [];
    const look = async (exchange: string, right: string, question: Question) => {
      const code = await refusal(connection, (channel) => channel.checkExchange(exchange));
      if (code === NOT_FOUND) absent.push(exchange);
      else if ((await refusal(connection, question)) === ACCESS_REFUSED) missing.push(`${right} for ${exchange}`);
    };
    for (const { exchange } of sealed.up) await look(exchange, 'write', publish(exchange));
    for (const { exchange } of sealed.down) await look(exchange, 'read', listen(exchange));
    if (missing.length > 0) {
      const { username } = new URL(amqp.urls[0] ?? '');
      return fail(
        `missing: ${missing.join(', ')}`,
        `The broker parks all that executors publish there, and carries no broadcast. On the RabbitMQ machine, give "${decodeURIComponent(username)}" these rights as well: rabbitmqctl set_permissions (rabbitmq.md, "Accounts").`,
      );
    }
    if (absent.length > 0) {
      return warn(
        `the server has no exchange ${absent.join(', ')}`,
        'Correct [[sealed.up]] and [[sealed.down]], unless the server makes it later.',
      );
    }
    const count = sealed.up.length + sealed.down.length;
    return ok(
      count === 0 ? 'there are none: executors answer their jobs, and publish nothing else' : 'the broker may publish and listen there',
    );
  },
});

/** The name by the default of executor.msgq_file, whatever the configuration has. */
const FORMER_FILE = '/etc/kpx/executor-msgq.shared';

/** Its password stands in the environment of every executor that was started before. By it one takes and forges every account's jobs. */
const formerLogin = ({ formerLogin: look }: Ways): Check => ({
  name: "executors' former login",
  fix: 'See the file that is called as executor.msgq_file, with .shared at its end.',
  look: async () => {
    const { file, login } = await look();
    if (login === undefined && file !== FORMER_FILE && existsSync(FORMER_FILE))
      return fail(`an earlier version has kept their URL in ${FORMER_FILE}, where nobody looks`, `mv ${FORMER_FILE} ${file}`);
    if (login === undefined)
      throw new Skipped(`there is no ${file}, which says whom executors shared; on the RabbitMQ machine: rabbitmqctl list_users`);
    const { user, refused } = login;
    if (refused) return ok(`"${user}" cannot log in any more: ${file} can be removed`);
    return fail(
      `"${user}", whose password every executor had, can still log in at the server's RabbitMQ`,
      `By that password one takes and forges the jobs of every account. When all executors are sealed, on the RabbitMQ machine: rabbitmqctl delete_user ${shellWord(user)}; then here: rm ${shellWord(file)}`,
    );
  },
});
