import type { Texts } from './json-schema.js';

/** packages/broker/src/sealed/reload.ts decides it, key by key. */
const RELOAD =
  'with `systemctl reload kpx-broker`, except `enabled`, `node`, `job_queue`, `job_exchange`, and the declaration of an exchange that is there: the log says why these wait for a restart, and the whole of `[sealed]` with them';
const RELOAD_RULE =
  'with `systemctl reload kpx-broker`; another `type`, `durable` or `auto_delete` of an exchange that is there already only with `systemctl restart kpx-broker`';
const RESTART =
  'with `systemctl restart kpx-broker`, for virtual hosts that are made from then on; RabbitMQ keeps it as it is in those that are there, and refuses another declaration: stop the executors first, and remove their virtual hosts with `kpxctl sealed purge`';

/** Texts of the tables and keys below [sealed] of broker.toml. */
export const SEALED_TEXTS: Texts = {
  sealed: {
    text: 'A RabbitMQ for executors alone, in which each account has a virtual host and a user of its own. The broker carries jobs into it and answers out of it. It is an administrator there.',
    effect: RELOAD,
  },
  'sealed.enabled':
    'If true, each executor logs in as the RabbitMQ user of its account, and reaches its own virtual host alone. If false, all executors share one user and one queue. Set it to true together with `executor.sealed` in `privhelper.toml`. Example: `enabled = true`.',
  'sealed.node':
    'The second part of the names of virtual hosts and users: `kpx.NODE.ACCOUNT`. A broker removes only those with its own. When empty, the short name of the host. Set it, with the same value in `privhelper.toml`, where that is no such name. Example: `node = "exec1"`.',
  'sealed.urls':
    'Where the accounts\' RabbitMQ is: `"amqp://USER@HOST:PORT"`, or `"amqps://…"` for TLS with the files of `[amqp.tls]`. The user is an administrator there. The broker tries the addresses in turn. Change it to name every node of a cluster. Example: `urls = ["amqp://kpx-broker@127.0.0.1:5673"]`.',
  'sealed.management_url':
    'Where its management API is. The broker makes virtual hosts and users there, as the user of `urls`. The password travels with each call: take `"https://…"` for another machine. Change it together with `urls`. Example: `management_url = "http://127.0.0.1:15673"`.',
  'sealed.management_password_file':
    'The file with the password of the user in `urls`, on one line, for both AMQP and the management API. The broker reads it each time, so a new password needs no restart. Set it with `enabled = true`. Example: `management_password_file = "/etc/kpx/sealed-password"`.',
  'sealed.window':
    'How many jobs wait in the queue of an account beside those that its executor works on. Further ones wait in the broker. Jobs of 2 ms took 1.1 times as long with 64, which matters to nobody whose jobs take seconds. An account whose code empties its own queue loses no more than these. Lower it where jobs take minutes or hours. Example: `window = 8`.',
  'sealed.keep':
    'How long the virtual host of an account stays after the end of its last executor: a start is quicker in one that is there. Lower it where many accounts come once. Example: `keep = "24h"`.',
  'sealed.vhosts_max':
    'How many virtual hosts there are with the name of this node. Beyond, the one without an executor that was used longest ago goes. Raise it together with `policy.max_executors`. Example: `vhosts_max = 500`.',
  'sealed.reply_grace':
    'How long an account may answer a job again after its last answer. After a restart of the broker, how long it may answer jobs from before. Raise it where jobs from before a restart take longer. Example: `reply_grace = "4h"`.',
  'sealed.replies_max':
    'How many queues of clients one account answers to at the same time. A job for one more is held. Raise it where one user has more programs that wait for answers. Example: `replies_max = 1000`.',
  'sealed.refused_per_minute':
    'How many refused messages of one account become dead letters in a minute, with the reason `SEALED_REFUSED`. The broker only counts further ones, as the code of an account can publish as many as it likes. With 0 there is none. Raise it to see what an executor publishes that no `[[sealed.up]]` names. Example: `refused_per_minute = 100`.',
  'sealed.answers':
    'Which answers of an account are carried to a client. `"jobs"`: those with the correlation id of a job that the account was given. `"clients"`: any, to each client of such a job, also under the name that the client\'s queue has at the server. Choose `"clients"` where one job leads to others that answer to the same client, as in a chain of Celery\'s, and where correlation ids cannot be guessed. Example: `answers = "clients"`.',
  'sealed.api_timeout':
    'How long the management API may take for one answer. A start without one is tried again later. Raise it where RabbitMQ has thousands of virtual hosts. Example: `api_timeout = "10s"`.',
  'sealed.job_queue': {
    text: 'The job queue in the virtual host of each account, with the name of `amqp.queue`. RabbitMQ refuses an executor that declares it otherwise.',
    effect: RESTART,
  },
  'sealed.job_queue.durable':
    'Whether the queue is durable. Set it to false where the executor declares a queue that is not. Example: `durable = false`.',
  'sealed.job_queue.executor_declares':
    'If true, the executor may declare the job queue in its virtual host. RabbitMQ then also lets it delete the queue, with the jobs in it. Set it to true where an executor ends because it may not declare its queue, as Celery does. Example: `executor_declares = true`.',
  'sealed.job_queue.arguments': {
    text: 'Arguments of the queue, as the executor declares them. Of `x-overflow` only `reject-publish`: a full queue would drop jobs otherwise.',
    effect: RESTART,
  },
  'sealed.job_exchange': {
    text: 'The exchange in the virtual host of each account by which jobs get into the queue, with the name and routing key of `[amqp]`. There is none where `amqp.exchange` is empty.',
    effect: RESTART,
  },
  'sealed.job_exchange.type': 'The type of the exchange. Change it where the executor declares another one. Example: `type = "topic"`.',
  'sealed.job_exchange.durable':
    'Whether the exchange is durable. Set it to false where the executor declares an exchange that is not. Example: `durable = false`.',
  'sealed.job_exchange.arguments': {
    text: 'Arguments of the exchange, as the executor declares them.',
    effect: RESTART,
  },
  'sealed.down': {
    text: 'An exchange of the server whose messages go to all accounts with an executor. The broker publishes them to the exchange of this name in each virtual host. They are broadcasts: nothing keeps them for an executor that is not there.',
    effect: RELOAD_RULE,
  },
  'sealed.down.exchange':
    'The name of the exchange, at the server and in each virtual host. Choose those by which a server speaks to all executors. Example: `exchange = "celery.pidbox"`.',
  'sealed.down.type': 'The type of the exchange. Set it as the executor declares the exchange. Example: `type = "topic"`.',
  'sealed.down.durable':
    'Whether the exchange is durable. Set it to false where the executor declares an exchange that is not. Example: `durable = false`.',
  'sealed.down.auto_delete':
    'Whether RabbitMQ deletes the exchange with its last binding. Set it to true where the executor declares it so. Example: `auto_delete = true`.',
  'sealed.down.keys':
    'Routing keys that the broker listens to, for a direct exchange alone. Set it where the type is `"direct"`. Example: `keys = ["all"]`.',
  'sealed.learn': {
    text: 'Queues that executors declare in their virtual hosts, and that the server calls. The broker makes a queue of the same name at the server as long as the executor has its own. It carries calls down and answers up. A name that somebody else has is refused.',
    effect: 'with `systemctl reload kpx-broker`',
  },
  'sealed.learn.queue':
    'The name of the queues, with `*` for any characters, none included. It begins with something else than `*`. Executors may take any name at the server that matches. Choose a beginning that nothing else has there. `kpxctl sealed learn ACCOUNT` prints what one has declared. Example: `queue = "gateway-*"`.',
  'sealed.learn.max':
    'How many of these queues of one account the server reaches at the same time. Raise it where an executor declares more. Example: `max = 100`.',
  'sealed.up': {
    text: 'An exchange of the server to which executors may publish. The broker carries there what they publish to the exchange of this name in their virtual host, with the header `x-kpx-account`. It parks or counts everything else.',
    effect: RELOAD_RULE,
  },
  'sealed.up.exchange':
    'The name of the exchange, at the server and in each virtual host. Choose the exchanges that a server listens to, and no others. Example: `exchange = "celeryev"`.',
  'sealed.up.type': 'The type of the exchange. Set it as the executor declares the exchange. Example: `type = "topic"`.',
  'sealed.up.durable':
    'Whether the exchange is durable. Set it to false where the executor declares an exchange that is not. Example: `durable = false`.',
  'sealed.up.auto_delete':
    'Whether RabbitMQ deletes the exchange with its last binding. Set it to true where the executor declares it so. Example: `auto_delete = true`.',
  'sealed.up.keys':
    'The routing keys that the broker carries, letter for letter. When empty, any. Set it where executors may publish only some. Example: `keys = ["done", "failed"]`.',
};
