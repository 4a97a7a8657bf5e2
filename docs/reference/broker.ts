import type { Texts } from './json-schema.js';
import { SEALED_TEXTS } from './sealed.js';

const RELOAD = 'with `systemctl reload kpx-broker`';
const RECONNECT = `${RELOAD}, which makes a new connection to RabbitMQ: held jobs go back to the queue`;
const RESTART = 'with `systemctl restart kpx-broker`';

/** The meaning of the tables and keys of broker.toml. Code in backticks; a sentence ends with a full stop and a capital follows. */
export const BROKER_TEXTS: Texts = {
  amqp: {
    text: 'How the broker reaches RabbitMQ, and which queue and exchange it uses.',
    effect: RECONNECT,
  },
  'amqp.urls':
    'Where RabbitMQ is: `"amqp://USER@HOST:PORT/VHOST"`, or `"amqps://…"` for TLS. The broker tries the addresses in turn. Without a port it uses 5672, with TLS 5671. An address with a password is refused. Change it to name every node of a cluster. Example: `urls = ["amqp://kpx-broker@rabbit1:5672/knime", "amqp://kpx-broker@rabbit2:5672/knime"]`.',
  'amqp.password_file':
    'The file with the password of that user, on one line. The broker reads it for each connection, so a new password needs no restart. When empty, systemd passes the password as the credential `amqp-password`, which `kpx-broker.service` takes from `/etc/kpx/amqp-password` when it starts. Set it where the broker runs without systemd. Example: `password_file = "/etc/kpx/amqp-password"`.',
  'amqp.queue':
    'The queue that KNIME Server puts jobs on. Change it where KNIME Server uses another name. Jobs in the old queue, and in its `kpx.delay.*` queues, stay there. Jobs in the virtual host of a sealed account go to the new queue. Example: `queue = "knime-jobs"`.',
  'amqp.exchange':
    'The exchange to which the broker publishes a job for the executor. When empty, it publishes to the queue itself. Change it where KNIME Server uses another exchange. Example: `exchange = "knime-server2executorknime-jobs"`.',
  'amqp.routing_key':
    'The routing key with which the broker publishes a job to `exchange`. It must lead to `queue`. Change it where the binding of the queue has another key. Example: `routing_key = "new-work"`.',
  'amqp.prefetch':
    'How many jobs RabbitMQ hands over before the broker acknowledges one. The broker holds at most half of them for executors that start or are busy. It is 1 right after a connect. Raise it where many users wait at once. Example: `prefetch = 4096`.',
  'amqp.held_bytes_max':
    'How much memory the bodies of jobs may take. Beyond half of it a job waits in a delay queue. When it is full, the broker takes no jobs until half is free. A body has 1 MiB at most. Raise it with a larger `prefetch` and large jobs. Example: `held_bytes_max = "1GiB"`.',
  'amqp.declare':
    'If true, the broker makes the queue, the exchange and the binding where they are missing. The queue is then a classic one, without a delivery limit. An existing one stays as it is. Leave it false where KNIME Server runs: KNIME Server makes them itself. Example: `declare = true`.',
  'amqp.delivery_limit':
    'The answer of the broker where RabbitMQ removes jobs that were given back too often. RabbitMQ 4 does so in each quorum queue. `"refuse"`: it takes no jobs, logs each minute which command ends that, and looks again every 10 s. `"accept"`: it takes jobs, and parks those that come near the limit; executors can lose others. Set `"accept"` only where nobody may change the queue. Example: `delivery_limit = "accept"`.',
  'amqp.management_urls':
    'Where RabbitMQ\'s management API is. The broker reads policies there, and so knows whether `delivery_limit` matters. It logs in as the user of `urls`, who needs the tag `management`. When empty, a quorum queue of RabbitMQ 4 counts as one with a limit of 20. For `"https://…"` it uses the files of `amqp.tls`. Set it on RabbitMQ 4; for a cluster name each node. Example: `management_urls = ["http://127.0.0.1:15672"]`.',
  'amqp.tls': {
    text: 'Certificates and keys for addresses that start with `"amqps://"`.',
    effect: RECONNECT,
  },
  'amqp.tls.ca_file':
    'A PEM file with the certificate authorities (CA) to trust. When empty, the broker trusts those of the system, as update-ca-certificates or update-ca-trust makes them. Set it where RabbitMQ\'s certificate comes from a CA of your own. Example: `ca_file = "/etc/kpx/rabbitmq-ca.pem"`.',
  'amqp.tls.cert_file':
    'A PEM file with the broker\'s own certificate, and those between it and its CA. RabbitMQ may ask for it. An address without a user, such as `"amqps://rabbit1.example.org/knime"`, logs in by it (EXTERNAL), without a password. Set it together with `key_file`. Example: `cert_file = "/etc/kpx/broker.pem"`.',
  'amqp.tls.key_file':
    'The PEM file with the private key of `cert_file`, without a passphrase. It must belong to `kpx-broker` with mode 0400, or be a credential below `/run/credentials/kpx-broker.service`. The broker refuses any other. Set it together with `cert_file`. Example: `key_file = "/etc/kpx/broker.key"`.',

  jobs: {
    text: 'How the broker reads a job, and how many jobs it holds.',
    effect: RECONNECT,
  },
  'jobs.user_from':
    'Where a job names its submitter. `"body:NAME"`: a key of its body, which is a JSON object. `"header:NAME"`: a header, which is text. `"property:user_id"`: the property `user_id`, for which RabbitMQ vouches, as it takes no other name than that of the login. With a header or a property the body may be anything up to 1 MiB: the broker does not look at it. The broker parks a job without a submitter. When empty, it is `"body:user"`, as KNIME Server writes it. Change it for other senders of jobs. Example: `user_from = "header:user"`.',
  'jobs.user_field':
    'Short for `user_from = "body:NAME"`, and refused beside `user_from`. Leave it empty in new configurations. Example: `user_field = "user"`.',
  'jobs.can_handle_header':
    'The header that tells executors that a job is theirs to take. The broker sets it to true. Change it only where executors look for another header. Example: `can_handle_header = "canHandle"`.',
  'jobs.held_per_user':
    "How many jobs of one user the broker holds while the executor starts or is busy. Further ones wait in a delay queue. Lower it where one user's jobs leave no room for others. Example: `held_per_user = 32`.",

  'jobs.mac_key_file':
    'The file with the key of `x-kpx-mac`: 32 random bytes, the same on all hosts. Only headers that a broker has written count as kpx\'s own. With 64 bytes the first key writes, and both are accepted. When empty, systemd passes the credential `job-mac-key`, which `kpx-broker.service` takes from `/etc/kpx/job-mac-key` when it starts. Set it where the broker runs without systemd. Example: `mac_key_file = "/etc/kpx/job-mac-key"`.',

  ...SEALED_TEXTS,

  helper: {
    text: 'How the broker reaches kpx-privhelper, which runs as root.',
    effect: RESTART,
  },
  'helper.socket':
    'The socket of kpx-privhelper. Change it only together with `ListenStream=` of `kpx-privhelper.socket`, or with `--listen`. Example: `socket = "/run/kpx/privhelper.sock"`.',

  executors: {
    text: 'When an executor counts as started, and when as lost.',
    effect: RELOAD,
  },
  'executors.ready':
    'When an executor counts as ready for jobs. `"connected"`: a process of its account has a connection to RabbitMQ\'s port. `"delay"`: `ready_delay` has passed since it was started. Set `"delay"` where the broker cannot see connections, as with `watch = false`. Example: `ready = "delay"`.',
  'executors.ready_delay':
    'With `ready = "delay"`: how long an executor boots before it gets jobs. With `watch = true` it needs a connection after that, too. Raise it where executors need longer to boot. Example: `ready_delay = "30s"`.',
  'executors.start_timeout':
    'How long an executor may take to be ready. A later one is ended, and counts as a failed start. With `ready = "delay"` the time starts when `ready_delay` is over. Raise it where KNIME starts slowly, from a network drive for example. Example: `start_timeout = "5m"`.',
  'executors.ready_for':
    'How long a connection to RabbitMQ must last before the executor counts as ready. A connection whose login RabbitMQ refuses ends at once. It must be less than `start_timeout`. Raise it where such connections last longer. Example: `ready_for = "3s"`.',
  'executors.watch':
    'If true, the broker watches the connections of executors to RabbitMQ. Set it to false where it cannot see them: executors in a network namespace of their own, or behind a proxy on another port. Set `ready = "delay"` there. Example: `watch = false`.',
  'executors.lost_after':
    'How long an executor may be without a connection to RabbitMQ. Then it is ended, and counts as a failed start; its jobs wait meanwhile. The time starts anew when the broker itself had no RabbitMQ. It must be at least `ready_for`. Raise it where executors take longer to connect again. Example: `lost_after = "2m"`.',

  policy: {
    text: 'Rules for executors: for which users, how many, and when they end.',
    effect: RELOAD,
  },
  'policy.max_executors':
    'How many executors run at once. Further users wait in line. Lower it where the memory of the host does not suffice. Example: `max_executors = 16`.',
  'policy.max_starting':
    'How many executors start at once. Further users wait in line. Lower it where many starts at once slow the host down. Example: `max_starting = 2`.',
  'policy.start_attempts':
    "How many failed starts in a row, within `start_window`, a user may have. After them the broker parks the user's jobs for `backoff_max`, and then tries once more. Raise it where starts fail for a reason that passes. Example: `start_attempts = 10`.",
  'policy.start_window':
    'How long a failed start counts for `start_attempts`. Lower it where failures are rare and far apart. Example: `start_window = "10m"`.',
  'policy.backoff_initial':
    'The wait before the second attempt to start an executor. It doubles with each further one, up to `backoff_max`; half of it is random. Raise it where a failed start is costly. Example: `backoff_initial = "5s"`.',
  'policy.backoff_max':
    'The longest wait between two attempts, and how long a user\'s jobs are parked after `start_attempts`. It must be at least `backoff_initial`. Lower it to have users back sooner after a fault. Example: `backoff_max = "2m"`.',
  'policy.deny':
    'KNIME names, in any case, whose jobs the broker parks. `privhelper.toml` has lists of its own, which hold whatever this list says. Change it to keep single users out. Example: `deny = ["mallory"]`.',
  'policy.when_full':
    'The answer when there is no room for the executor of a user who waits. `"wait"`: the user waits until an executor ends. `"evict-idle"`: the broker ends the executor that has been idle for longest, if that is `evict_idle_after` or more. It ends at most `max_starting` at once. Set `"wait"` where idle executors must never be ended for others. Example: `when_full = "wait"`.',
  'policy.evict_idle_after':
    'With `when_full = "evict-idle"`: how long an executor must have been idle before it is ended for a user who waits. `max_age` waits for as long. A job that waits for a database looks idle, and would be done again. Raise it above the longest such wait. Example: `evict_idle_after = "30m"`.',
  'policy.account_lost':
    'The fate of an executor whose account is deleted, denied, or out of its allowed group while it runs. `"end"`: the broker ends it, and refuses jobs of its user. `"warn"`: the broker logs it. It judges accounts once a minute, and two refusals in a row count. Set `"warn"` where running jobs must finish. Example: `account_lost = "warn"`.',
  'policy.idle_stop':
    'How long an executor may be idle before it is ended; when empty, it runs on. Idle means no job from kpx and hardly any processor time; a job that waits for a database looks idle. The broker looks every 30 s, or twice within the shortest `idle_stop`, but at most once a second. Set it to free memory. Example: `idle_stop = "30m"`.',
  'policy.idle_cpu_percent':
    'Up to this share of one processor, in percent, an executor counts as idle. Raise it where idle executors take more. Example: `idle_cpu_percent = 10`.',
  'policy.executor_memory':
    'How much of the host\'s memory an executor is expected to take. The broker starts none that does not fit into what is available (`MemAvailable`), less what starting executors will take. When empty, memory is not looked at. Set it where memory limits the host sooner than `max_executors`. Example: `executor_memory = "4GiB"`.',
  'policy.min_available_memory':
    'How much of the host\'s memory must stay available after a start. When empty, the broker looks only whether `executor_memory` fits. Set it where other programs on the host need memory. Example: `min_available_memory = "2GiB"`.',
  'policy.core_tokens':
    'How many core tokens of the licence this host may use; 0 means no limit. Set it together with `tokens_per_executor` where several hosts share a licence. Example: `core_tokens = 64`.',
  'policy.tokens_per_executor':
    'How many core tokens an executor takes: 1 to `core_tokens`. Two threads take one. Set it together with `core_tokens`. Example: `tokens_per_executor = 4`.',
  'policy.job_max_age':
    'How old a job may be. The broker parks older ones with the reason `JOB_TOO_OLD`, because KNIME Server has given them up. When empty, no job is too old. The age is that of the message\'s timestamp, or else the time since kpx first put the job back. Set it to KNIME Server\'s load timeout. Example: `job_max_age = "30m"`.',
  'policy.rule': {
    text: 'Other values for some users. The first rule that matches a user counts, so put special rules before general ones. A user whom no rule matches is allowed, with the values of `[policy]`. A rule needs `users`, `groups`, or both. Rules may stand anywhere after the keys of `[policy]`, also at the end of the file.',
    effect: RELOAD,
  },
  'policy.rule.name':
    'A name for logs and explanations, which call the rule `rule 2 "name"`. Set it where there are several rules. Example: `name = "reports"`.',
  'policy.rule.users':
    'KNIME names in any case; a `*` stands for any characters, or none. Set it, or `groups`, or both: then a user has to match both. Example: `users = ["svc-*"]`.',
  'policy.rule.groups':
    'Groups of the operating system. The broker asks `id` for those of the account with the KNIME name in lower case. It uses the answer for five minutes, or until the next reload. It does not know the map of `privhelper.toml`: name mapped users in `users`. A group that the host does not know matches nobody, and the broker logs it. Set it for departments. Example: `groups = ["analysts"]`.',
  'policy.rule.action':
    '`"allow"`: these users may have an executor. `"deny"`: the broker parks their jobs with the reason `USER_DENIED`. Set `"deny"` to keep users out. Example: `action = "deny"`.',
  'policy.rule.profile':
    'The template unit of their executors: `"default"`, or a key of `[executor.profiles]` in `privhelper.toml`. The broker logs a profile that the helper does not have, and parks these users\' jobs with the reason `PROFILE_UNKNOWN`. Set it for users who need other limits. Example: `profile = "big"`.',
  'policy.rule.max_executors':
    'How many executors these users have at once, all of them together. When not set, there is no limit of their own. Set it where one group must leave room for others. Example: `max_executors = 5`.',
  'policy.rule.priority':
    'The order in which waiting users start: the highest number first, and among equals as `share` has it. Raise it for users who must not wait. Example: `priority = 10`.',
  'policy.rule.share':
    'The weight of each of these users among those of the same `priority` who wait. Everybody waits as if they had come later by the executor time that they have had recently, divided by this number. Recent time is that of executors that have ended; half of it is forgotten each hour, and all of it with a restart of the broker. It is 1 to 1000. Raise it for users who need more of the host than others. Example: `share = 3`.',
  'policy.rule.jobs_max':
    'How many jobs of each of these users the broker holds; further ones wait in a delay queue. It replaces `jobs.held_per_user`, and may be more or less. While a user waits for room the broker holds one job in any case. Lower it for users who send thousands of jobs at once. Example: `jobs_max = 32`.',
  'policy.rule.run_time_max':
    'How long an executor of these users may be at work without a pause and without taking a job from kpx. Then it is ended, up to a minute later, and RabbitMQ gives the jobs that it has not acknowledged to another one. A pause is a time between two looks (30 s) with no more than `idle_cpu_percent`. The broker does not see single jobs: short ones that the executor takes meanwhile make the time begin anew. When empty, or where processor time is not known, it works for as long as it likes. Set it, with a shorter `job_max_age`, for workflows that may run in circles. Example: `run_time_max = "12h"`.',
  'policy.rule.idle_stop':
    'How long an executor of these users may be idle before it is ended. When empty, it runs on. It replaces the value of `[policy]`. Set it where these users need their executors for longer or shorter. Example: `idle_stop = "2h"`.',
  'policy.rule.keep_warm':
    'How long an idle executor of these users stays after its last job, or after its start if it has had none. Until then the broker ends it neither for a shorter `idle_stop` nor, with `when_full = "evict-idle"`, for another user. Afterwards `idle_stop` and `when_full` hold as ever: without them it runs on. Set it for users who must not wait for a start. Example: `keep_warm = "2h"`.',
  'policy.rule.max_age':
    'The age at which an executor of these users is ended, as soon as it has been idle for `evict_idle_after`. If `keep_warm` still keeps it, or a job has come, another one is started. The broker ends at most `max_starting` at once, and none while the host is drained. When empty, an executor may become as old as it likes. Set it where executors take more memory from day to day. Example: `max_age = "24h"`.',
  'policy.rule.prestart':
    'Days and a time of day at which executors of these users are started before there is a job: `"Mon-Fri 07:30"`, `"Sat,Sun 09:00"`, or `"07:30"` for every day. The rule has to name its users: no pattern, no `groups` alone. All limits hold, and users with jobs start first. Times are those of the time zone that the host has when the broker starts. A time that the change to summer time leaves out comes an hour later; one that comes twice counts once. A broker that starts up to 30 minutes late makes up for it. Set `keep_warm` with it, or else `idle_stop` may end the executor before the first job. When empty, executors start as jobs come. Example: `prestart = "Mon-Fri 07:30"`.',

  control: {
    text: 'How an operator asks the running broker.',
    effect: RESTART,
  },
  'control.socket':
    'The socket where the running broker answers kpxctl and `--check`. Root may ask, and members of the group `kpx-admin` where the directory is setgid and that group\'s. When empty, nobody can. Change it where the broker runs without systemd. Example: `socket = "/run/kpx-broker/control.sock"`.',

  http: {
    text: 'The pages that programs which watch kpx may read over TCP: `GET /metrics` for Prometheus, `GET /status`, and a page for people at `/`.',
    effect: RELOAD,
  },
  'http.listen':
    'The address and port of the status page, `/status` and `/metrics`; when empty, there is none. Everybody who can connect may read: on loopback every account of the machine. The broker warns of any other address. Change it where Prometheus runs on another host. Example: `listen = "127.0.0.1:9464"`.',
  'http.user_labels':
    'If true, the names of users are shown: in the series `kpx_user_jobs_held` for the 1,000 users with the most jobs held, in `/status`, and on the page. Set it where everybody who can read may know them. Example: `user_labels = true`.',

  hook: {
    text: 'A program of your own that the broker calls when a job is parked, and when the answer to "is all well?" changes.',
    effect: RELOAD,
  },
  'hook.command':
    'The program, with its whole path, and its arguments; when empty, nothing is called. It gets one JSON object on its standard input, and runs as the account of the broker, in the sandbox of `kpx-broker.service`, without a shell. The broker calls it 10 times a minute at most, one call at a time. It kills the program and its process group after 10 seconds. A program that fails is logged, and is not called again for the same event. Set it to have mail or tickets made. Example: `command = ["/usr/local/lib/kpx-hook", "--team", "knime"]`.',

  log: {
    text: 'The log of the broker, one JSON object a line.',
    effect: RELOAD,
  },
  'log.level':
    'The least severe level that is logged, from `"fatal"` to `"trace"`. `"debug"` has a line for each job. No level has the body of a job. Set `"debug"` to follow single jobs. Example: `level = "debug"`.',
};
