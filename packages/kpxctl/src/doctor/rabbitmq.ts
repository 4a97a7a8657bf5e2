import { hostname } from 'node:os';
import { adviceOn } from '@kpx/broker/amqp/advice';
import { connect, destroy, secretsOf } from '@kpx/broker/amqp/connect';
import { ACCESS_REFUSED } from '@kpx/broker/amqp/reply-codes';
import { readPassword } from '@kpx/broker/config/config';
import type { ChannelModel } from 'amqplib';
import { type Answered, answerOnceConnected } from './broker.js';
import { type Check, fail, ok, once, Skipped, warn } from './check.js';
import { consume, refusal } from './rabbitmq-answers.js';
import { deliveryLimit } from './rabbitmq-delivery-limit.js';
import { queueChecks } from './rabbitmq-queues.js';
import { rightsChecks } from './rabbitmq-rights.js';
import type { Amqp, BrokerConfig, Scene } from './scene.js';
import { sealedRabbitmqChecks, type Ways } from './sealed-rabbitmq.js';

export interface Secrets {
  /** Throws {@link Skipped} where it cannot be read. */
  readonly password: () => Promise<string>;
  /** The first URL of `executor.msgq_file`. */
  readonly executorUrl: () => Promise<URL>;
  /** Of the one from when executors were not sealed. */
  readonly formerFile: () => Promise<string>;
  /** In that file; undefined: none is kept. */
  readonly formerUrl: () => Promise<URL | undefined>;
}

interface Opened {
  readonly checks: Check[];
  close(): void;
}

/** As the broker does: by every URL, with its password; then what the queue and the permissions are like, by the first that works. */
export async function rabbitmqChecks(scene: Scene, secrets: Secrets, answered: Answered): Promise<Opened> {
  const config = await scene.broker().catch(() => undefined);
  if (config === undefined) return { checks: [], close: () => {} };
  const { amqp } = config;
  const opened = new Set<ChannelModel>();
  const dial = (url: string) => open(url, amqp, secrets.password, opened);
  const connections = amqp.urls.map((url) => once(() => dial(url)));
  const first = once(() => firstOf(connections));
  const another = () => firstOf(amqp.urls.map((url) => () => dial(url)));
  const reached = amqp.urls.map((url, index) => reach(url, amqp, connections[index] as () => Promise<ChannelModel>));
  const used = [...queueChecks(amqp, first), deliveryLimit(amqp, first, secrets.password), ...rightsChecks(config, another)];
  const sealed = config.sealed.enabled ? sealedRabbitmqChecks(config, waysOf(config, another, secrets, opened)) : [];
  const checks = [...reached, ...used, executorsLogin(amqp, secrets, opened), brokersOwn(answered, first), ...sealed];
  const close = () => {
    for (const connection of opened) destroy(connection, 'kpxctl doctor is done');
  };
  return { checks, close };
}

/** RabbitMQ's words where it has taken the login, and not the virtual host: `/`, which the accounts' RabbitMQ may not have. */
const REFUSES_VHOST = /NOT_ALLOWED/;

/** The broker's own ways to both RabbitMQs where executors are sealed, and the one that executors had before. */
function waysOf(
  { amqp, sealed }: BrokerConfig,
  server: () => Promise<ChannelModel>,
  { password, formerFile, formerUrl }: Secrets,
  opened: Set<ChannelModel>,
): Ways {
  return {
    server,
    password,
    accounts: async (url) => {
      const theirs = { ...amqp, password_file: sealed.management_password_file };
      await open(url, theirs, () => readPassword(theirs), opened).catch((error: Error) => {
        if (!REFUSES_VHOST.test(error.message)) throw error;
      });
    },
    formerLogin: async () => {
      const [file, url] = [await formerFile(), await formerUrl()];
      if (url === undefined) return { file };
      const [user, theirs] = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
      url.password = '';
      const refused = await open(url.href, amqp, async () => theirs, opened).then(
        () => false,
        ({ message }: Error) => {
          if (/ACCESS.REFUSED/.test(message)) return true;
          if (REFUSES_VHOST.test(message)) return false;
          throw new Skipped(message);
        },
      );
      return { file, login: { user, refused } };
    },
  };
}

async function open(url: string, amqp: Amqp, password: () => Promise<string>, opened: Set<ChannelModel>): Promise<ChannelModel> {
  const connection = await connect(url, amqp, `${hostname()}, doctor`, { ...secretsOf(amqp), password });
  connection.on('error', () => {}); // whoever asks something then hears of it
  opened.add(connection);
  return connection;
}

async function firstOf(connections: readonly (() => Promise<ChannelModel>)[]): Promise<ChannelModel> {
  for (const connection of connections) {
    const model = await connection().catch(() => undefined);
    if (model) return model;
  }
  throw new Skipped('there is no connection to RabbitMQ');
}

const reach = (url: string, amqp: Amqp, connection: () => Promise<ChannelModel>): Check => {
  const { host, protocol, hostname: name } = new URL(url);
  return {
    name: `RabbitMQ at ${host}`,
    fix: 'See that RabbitMQ runs, and that amqp.urls is right.',
    look: async () => {
      try {
        await connection();
      } catch (error) {
        if (error instanceof Skipped) throw error;
        const { message } = error as Error;
        return fail(message, fixOf(message, url, amqp));
      }
      if (protocol === 'amqp:' && !/^(localhost|127\.|\[::1\])/.test(name))
        return warn(
          'login works, without TLS: the password and every job can be read on the way',
          'Use amqps:// in amqp.urls and executor-msgq.',
        );
      return ok(`login works${protocol === 'amqps:' ? ', with TLS' : ''}`);
    },
  };
};

/** By what Node, TLS and RabbitMQ say. */
function fixOf(message: string, url: string, { password_file }: Amqp): string {
  const { username, hostname: name } = new URL(url);
  const user = decodeURIComponent(username);
  const fixes: [RegExp, string][] = [
    [
      /ACCESS.REFUSED/,
      `kpxctl setup-rabbitmq --admin NAME says whether RabbitMQ has the user "${user}" and the password in ${password_file || '/etc/kpx/amqp-password'}, and what to do; then systemctl restart kpx-broker.`,
    ],
    [
      /key_file|cert_file|client certificate/,
      'Correct amqp.tls.cert_file and key_file, or the user that RabbitMQ has for the certificate, as the message says (rabbitmq.md, "Client certificates").',
    ],
    [
      /certificate|CERT_|ca_file/,
      'Fix amqp.tls.ca_file, the host in amqp.urls, or the certificate, as the message says. The file has to be readable by kpx-broker.',
    ],
    [
      /wrong version number|EPROTO|ssl|SSL|TLS/,
      "The server there does not speak TLS: amqps:// is for RabbitMQ's TLS port, 5671 by default, amqp:// for 5672.",
    ],
    [/ENOTFOUND|EAI_AGAIN/, `The name ${name} cannot be resolved: fix it in amqp.urls, or the DNS.`],
    [/password/, 'Write the password into the file, readable by kpx-broker.'],
  ];
  const [, fix] = fixes.find(([pattern]) => pattern.test(message)) ?? [];
  return (
    fix ??
    adviceOn(message, url)?.replace(/^./, (letter) => letter.toUpperCase()) ??
    `See that RabbitMQ runs and listens there, that host and port in amqp.urls are right, and that no firewall is between: nc -vz ${name} PORT.`
  );
}

/** The executors' own user, at the same addresses: with a wrong password an executor starts, and never gets a job. */
const executorsLogin = (amqp: Amqp, { executorUrl }: Secrets, opened: Set<ChannelModel>): Check => ({
  name: "executors' login",
  fix: 'Fix executor.msgq_file (/etc/kpx/executor-msgq).',
  look: async () => {
    const url = await executorUrl();
    const password = decodeURIComponent(url.password);
    url.password = '';
    try {
      const connection = await open(url.href, amqp, async () => password, opened);
      const code = await refusal(connection, consume(amqp.queue));
      if (code === ACCESS_REFUSED)
        return fail(
          `"${url.username}" may not read the queue "${amqp.queue}"`,
          `On the RabbitMQ machine: rabbitmqctl set_permissions (rabbitmq.md, "Accounts"), or here kpxctl setup-rabbitmq.`,
        );
    } catch (error) {
      const { message } = error as Error;
      if (/ACCESS.REFUSED/.test(message))
        return fail(
          `the login of the RabbitMQ user "${url.username}" was refused`,
          'Executors start, and get no jobs: fix user and password in executor.msgq_file (/etc/kpx/executor-msgq), percent-encoded where they mean something in a URL.',
        );
      const advice = adviceOn(message, url.href);
      if (advice !== undefined) return fail(message, `Executors start, and get no jobs: fix executor.msgq_file, or ${advice}.`);
      throw new Skipped(`there is no connection to ${url.host}: ${message}`);
    }
    return ok(`"${url.username}" is let in, and may read the queue`);
  },
});

/** The broker may not reach what this program reaches: its unit limits addresses, and it may have an older password. */
const brokersOwn = (answered: Answered, first: () => Promise<ChannelModel>): Check => ({
  name: "broker's connection",
  fix: 'See what the broker says of RabbitMQ: journalctl -t kpx-broker -o cat -n 20. After a new password: systemctl restart kpx-broker. "connect EPERM": IPAddressAllow= in a drop-in of kpx-broker.service.',
  look: async () => {
    const { rabbitmq, doing } = await answerOnceConnected(answered, 'rabbitmq');
    if (rabbitmq.connected) return ok('there is one');
    await first();
    throw new Error(`RabbitMQ can be used from here, and the running broker has no connection: ${doing}`);
  },
});
