import type { Texts } from './json-schema.js';

const RELOAD = 'with `systemctl reload kpx-broker`';
const RECONNECT = `${RELOAD}, which makes a new connection to RabbitMQ: held jobs go back to the queue`;
const RESTART = 'with `systemctl restart kpx-broker`';

/** What the tables and keys of broker.toml mean. Code in backticks; a sentence ends with a full stop and a capital follows. */
export const BROKER_TEXTS: Texts = {
  amqp: { text: 'RabbitMQ.', effect: RECONNECT },
  'amqp.urls':
    'Where RabbitMQ is, as `"amqp://USER@HOST:PORT/VHOST"`, or `"amqps://…"` for TLS; tried in turn. The port is 5672, with TLS 5671, if none is given. A password in there is refused.',
  'amqp.password_file':
    'The file with the password of that user, on one line. Read for each connection, so that a new password in the file needs no restart; the credential is handed over when the service starts. When empty, the credential `amqp-password` that systemd passes, which `kpx-broker.service` takes from `/etc/kpx/amqp-password`.',
  'amqp.queue': 'The queue of the jobs. Jobs in the old one, and in its `kpx.delay.*`, stay there when it is another one.',
  'amqp.exchange': 'The exchange to which a job goes back for the executor; when empty, it is published to the queue itself.',
  'amqp.routing_key': 'With which routing key.',
  'amqp.prefetch':
    'How many jobs RabbitMQ hands over before one of them is acknowledged. Half of them may be held. After a connect it is 1 at first.',
  'amqp.held_bytes_max':
    'How much memory the bodies of jobs in hand may take. Beyond half of it no job is held: it waits in a delay queue. When all of it is full, the broker takes no further jobs until half of it is free. A body has 1 MiB at most, so that it is met only with large jobs.',
  'amqp.declare':
    'If true, make queue, exchange and binding where they are missing. The queue is then a classic one, which has no delivery limit; a queue and an exchange that are there are taken as they are. KNIME Server makes them itself.',
  'amqp.delivery_limit':
    'What the broker does where RabbitMQ removes jobs that were given back too often, as RabbitMQ 4 does in each quorum queue. `"refuse"`: it stays connected, takes no jobs, says each minute which command ends that, and looks again every 10 s. `"accept"`: it takes jobs, and parks those that come near the limit; executors can lose others.',
  'amqp.management_urls':
    'Where RabbitMQ\'s management API is, such as `["http://127.0.0.1:15672"]`; of a cluster that of each node, so that one of them may be away. By it the broker sees policies, and so whether `delivery_limit` matters. It logs in as the user of `urls`, who needs the tag `management`. When empty, a quorum queue of RabbitMQ 4 counts as one with a limit of 20. With `"https://…"` the files of `amqp.tls` hold.',
  'amqp.tls': { text: 'For URLs that start with `"amqps://"`.', effect: RECONNECT },
  'amqp.tls.ca_file':
    'A PEM file with the CAs to trust. Empty: those of the system, as update-ca-certificates or update-ca-trust makes them.',
  'amqp.tls.cert_file':
    'A PEM file with a certificate that the broker shows RabbitMQ, which may ask for one, and the certificates between it and its CA. A URL of `amqp.urls` that names no user, such as `"amqps://rabbit1.example.org/knime"`, logs in by it (EXTERNAL), without a password.',
  'amqp.tls.key_file':
    "The PEM file with its private key, without a passphrase. It has to be the broker's alone: owner `kpx-broker`, mode 0400; or a credential that systemd passes, below `/run/credentials/kpx-broker.service`. Another one is refused.",

  jobs: { text: 'What a job looks like, and how many are held.', effect: RECONNECT },
  'jobs.user_field': "The key of a job's JSON body that names the submitter.",
  'jobs.can_handle_header': 'The header that tells executors that a job is theirs to take; it is set to true.',
  'jobs.held_per_user': 'How many jobs of one user are held while the executor starts or is busy; further ones wait in a delay queue.',

  helper: { text: 'The way to root.', effect: RESTART },
  'helper.socket': 'The socket of kpx-privhelper.',

  executors: { text: 'When an executor counts as started.', effect: RELOAD },
  'executors.ready':
    'When an executor counts as ready for jobs: `"connected"`, when a process of its account has a connection to RabbitMQ\'s port; `"delay"`, when `ready_delay` has passed since it was started.',
  'executors.ready_delay': 'How long an executor boots, where `ready` is `"delay"`. With `watch` it needs a connection after that, too.',
  'executors.start_timeout':
    'An executor that is not ready by then is ended, and counts as a failed start. With `ready_delay` it counts from the end of that.',
  'executors.ready_for':
    'How long a connection to RabbitMQ must last before the executor counts as ready: one whose login RabbitMQ refuses ends at once. Less than `start_timeout`.',
  'executors.watch':
    'If true, the broker watches the connections of executors to RabbitMQ. Set it to false where it cannot see them: executors in a network namespace of their own, or behind a proxy on another port. Use `ready = "delay"` there.',
  'executors.lost_after':
    'An executor that RabbitMQ has not served for so long is ended, and counts as a failed start; its jobs wait meanwhile. The time starts anew when the broker itself had no RabbitMQ. At least `ready_for`. Raise it where executors take longer to connect again.',

  policy: { text: 'Who may have an executor, how many there are, and when they end.', effect: RELOAD },
  'policy.max_executors': 'How many executors run at once. Further users wait in line.',
  'policy.max_starting': 'How many executors start at once; the jobs of further users wait.',
  'policy.start_attempts':
    "After that many failed starts in a row within `start_window` the user's jobs are parked for `backoff_max`; then there is one trial.",
  'policy.start_window': 'How long a failed start counts.',
  'policy.backoff_initial':
    'The wait before the second attempt. It doubles with each further one, up to `backoff_max`; half of it is random.',
  'policy.backoff_max': 'At least `backoff_initial`.',
  'policy.deny':
    'KNIME names, in any case, whose jobs are parked. `privhelper.toml` has lists of its own, which hold whatever is said here.',
  'policy.when_full':
    'What happens when there is no room for the executor of a user who waits: `"wait"`, until one ends; `"evict-idle"`, the executor that has been idle for longest is ended, if that is `evict_idle_after` or more. At most `max_starting` are ended at once.',
  'policy.evict_idle_after':
    'With `when_full = "evict-idle"`: how long an executor must have been idle before it is ended for a user who waits. Choose it longer than jobs wait for a database or the like: such a job looks idle, and is done again.',
  'policy.account_lost':
    'What happens to an executor whose account is deleted, denied, or out of its allowed group while it runs: `"end"`, it is ended, and the jobs of its user are refused from then on; `"warn"`, the log says so. Accounts are judged once a minute; two refusals in a row count.',
  'policy.idle_stop':
    "An executor that has been idle for so long is ended; the user's next job starts another. When empty, never. Idle is one that has had no job from kpx and hardly any processor time; what is not known is never taken for idle. A job that only waits, for a database for example, looks idle. Executors are looked at every 30 seconds, or twice within the shortest `idle_stop` there is, but once a second at most.",
  'policy.idle_cpu_percent': 'Up to this share of one processor, in percent, an executor counts as idle.',
  'policy.executor_memory':
    "What an executor is expected to take of the host's memory. None is started that would not fit into what is available (`MemAvailable`), after what is promised to those that start at the moment. When empty, memory is not looked at.",
  'policy.min_available_memory': 'What has to be left of it.',
  'policy.core_tokens': 'Core tokens of the licence that this host may use; 0: not limited.',
  'policy.tokens_per_executor': 'How many of them an executor takes, 1 to `core_tokens`.',
  'policy.job_max_age':
    "Older jobs are parked with the reason `JOB_TOO_OLD` instead of being run, because KNIME Server has given them up. When empty, no job is too old. The age is that of the message's timestamp, or, without one, the time since kpx has first put it back.",
  'policy.rule': {
    text: 'What is otherwise for some users; of several rules the first that matches counts, so special ones go before general ones. Who matches none is allowed, with the values of `[policy]`. A rule needs `users` or `groups`; with both, a user has to match both. Rules may be anywhere after the keys of `[policy]`, at the end of the file too.',
    effect: RELOAD,
  },
  'policy.rule.name': 'For logs and explanations, which call it `rule 2 "name"`.',
  'policy.rule.users': 'KNIME names in any case; a `*` stands for any characters, none included.',
  'policy.rule.groups':
    'Groups of the operating system: those of the account of the KNIME name, folded to lower case, as `id` tells them. What is told is used again for five minutes, or until the configuration is read again. The map of `privhelper.toml` is not known to the broker: rules for mapped users go by name. A group that the host does not know is reported after each start and reload, and matches nobody.',
  'policy.rule.action': '`"allow"`, or `"deny"`: jobs are parked with the reason `USER_DENIED`.',
  'policy.rule.profile':
    'Which template unit executors are started from: `"default"`, or a key of `[executor.profiles]` in `privhelper.toml`. A profile that the helper does not have is reported after each start and reload; until it has, jobs of these users are parked with the reason `PROFILE_UNKNOWN`.',
  'policy.rule.max_executors':
    'How many executors these users have at once, all of them together; when not set, as many as there is room for.',
  'policy.rule.priority': 'Who of those that wait starts first: the highest; of equals who came first.',
  'policy.rule.idle_stop': 'Instead of that of `[policy]`.',

  control: { text: 'Where an operator asks the running broker.', effect: RESTART },
  'control.socket':
    "Where the running broker answers its operator's programs: root's, and those of the group `kpx-admin` where the directory is setgid and that group's. When empty, nowhere.",

  http: {
    text: 'What programs that watch kpx may read, over TCP: `GET /metrics` for Prometheus, `GET /status`, and a page for people at `/`.',
    effect: RELOAD,
  },
  'http.listen':
    'Address and port; when empty, nowhere. Everybody who can connect may read: on loopback every account of the machine; anything else is warned of in the log.',
  'http.user_labels':
    'With names of users: in the series `kpx_user_jobs_held` for the 1,000 users with the most jobs held, in `/status` all that `kpxctl status --json` has, and on the page.',

  log: { text: 'The log, one JSON object a line.', effect: RELOAD },
  'log.level': 'From this level on; `"debug"` has each job. The body of a job is in none.',
};
