import { configSchema as brokerSchema } from '@kpx/broker/config/config';
import { MSGQ_BYTES_MAX } from '@kpx/privhelper/environment';
import { ConfigError, parseConfig, privhelperConfigSchema } from '@kpx/protocol';
import { stringify } from 'smol-toml';
import { inUrl, type Original, OriginalRefused, type Setting } from './original.js';

/** One file of what kpx wants; `path` is relative to the directory of the import. */
export interface ImportedFile {
  readonly path: string;
  readonly mode: number;
  readonly content: string;
}

export interface Report {
  readonly mapped: readonly { readonly setting: Setting; readonly value: string; readonly to: string }[];
  readonly dropped: readonly { readonly setting: Setting; readonly why: string }[];
  /** Things that an administrator has to look at, as no file can say them. */
  readonly todo: readonly string[];
}

export const DROP_IN = 'kpx-executor@.service.d/10-all.conf';

const DEFAULT_PORTS = { amqp: 5672, amqps: 5671 } as const;
/** policy.backoff_max of kpx, in milliseconds: a longer wait than this has to raise it. */
const BACKOFF_MAX_MS = 300_000;

/** The original's settings, in kpx's words. Throws {@link OriginalRefused} when kpx's own schemas refuse it. */
export function convert(original: Original): { files: ImportedFile[]; report: Report } {
  const broker = tomlFile('broker', brokerTables(original));
  const privhelper = tomlFile('privhelper', privhelperTables(original));
  const msgq = `${msgqOf(original)}\n`;
  const problems = [...refusals('broker.toml', broker, brokerSchema), ...refusals('privhelper.toml', privhelper, privhelperConfigSchema)];
  if (Buffer.byteLength(msgq) > MSGQ_BYTES_MAX) {
    problems.push(`hosts, user, password and virtual host make an address of more than ${MSGQ_BYTES_MAX} bytes`);
  }
  if (problems.length > 0) throw new OriginalRefused(problems);
  const files = [
    { path: 'broker.toml', mode: 0o640, content: broker },
    { path: 'privhelper.toml', mode: 0o600, content: privhelper },
    { path: 'amqp-password', mode: 0o600, content: `${original.rabbitmq_client_password}\n` },
    { path: 'executor-msgq', mode: 0o600, content: msgq },
    { path: DROP_IN, mode: 0o644, content: dropIn(original.knime_home) },
  ];
  return { files, report: reportOf(original) };
}

function tomlFile(program: 'broker' | 'privhelper', tables: object): string {
  return `#:schema /usr/share/kpx/${program}.schema.json
# Made by an import of the original's settings. Keys that are not here have their defaults: kpx-${program}.toml(5)

${stringify(tables)}`;
}

function brokerTables(original: Original): object {
  const wait = original.seconds_sleep_executor_start;
  const waitMs = wait === undefined ? 0 : Math.round(wait * 1_000);
  return {
    amqp: {
      urls: urlsOf(original, encodeURIComponent(original.rabbitmq_client_user)),
      ...given('queue', original.rabbitmq_queue_name),
      ...given('exchange', original.rabbitmq_exchange),
      ...given('routing_key', original.rabbitmq_routing_key),
      ...(original.ca_cert_file === undefined ? {} : { tls: { ca_file: original.ca_cert_file } }),
    },
    policy: {
      ...given('start_attempts', original.max_attempts_executor_start),
      ...given('backoff_initial', waitMs > 0 ? `${waitMs}ms` : undefined),
      ...given('backoff_max', waitMs > BACKOFF_MAX_MS ? `${waitMs}ms` : undefined),
    },
    ...(original.log_level === undefined ? {} : { log: { level: original.log_level } }),
  };
}

const given = (key: string, value: unknown) => (value === undefined ? {} : { [key]: value });

function privhelperTables({ local_knime_user_os_user_mapping: map = [] }: Original): object {
  return { accounts: { map: Object.fromEntries(map) } };
}

function urlsOf(original: Original, credentials: string): string[] {
  return hostsOf(original).map(
    (host) => `${protocolOf(original)}://${credentials}@${host}/${encodeURIComponent(original.rabbitmq_virtual_host)}`,
  );
}

/** KNIME_EXECUTOR_MSGQ: later hosts come without credentials and virtual host. */
function msgqOf(original: Original): string {
  const credentials = `${encodeURIComponent(original.rabbitmq_client_user)}:${encodeURIComponent(original.rabbitmq_client_password)}`;
  const [first] = urlsOf(original, credentials);
  const others = hostsOf(original).slice(1);
  return [first, ...others.map((host) => `${protocolOf(original)}://${host}`)].join(',');
}

const protocolOf = ({ rabbitmq_protocol: protocol = 'amqp' }: Original) => protocol;

function hostsOf(original: Original): string[] {
  const port = original.rabbitmq_port ?? DEFAULT_PORTS[protocolOf(original)];
  return original.rabbitmq_host_name.map((host) => `${inUrl(host)}:${port}`);
}

/** `home` has no character that systemd gives a meaning. */
function dropIn(home: string): string {
  return `# KNIME's installation, as the original had it. An empty line takes the unit's own command away.
[Service]
WorkingDirectory=${home}
ExecStart=
ExecStart=${home}/knime -nosplash -consolelog -data \${KPX_WORKSPACE} -application com.knime.enterprise.slave.KNIME_REMOTE_APPLICATION
`;
}

/** Judges the files before they are written, as the programs will judge them. */
function refusals(file: string, content: string, schema: typeof brokerSchema | typeof privhelperConfigSchema): string[] {
  try {
    parseConfig(file, content, schema);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    // No file was written whose lines could be counted.
    const problems = error.message.replaceAll(/^(\S+\.toml: )line \d+, /gm, '$1').split('\n');
    return problems.map((problem) => problem.replace('privhelper.toml: accounts.map.', 'local_knime_user_os_user_mapping.'));
  }
}

const URLS = 'broker.toml: amqp.urls; executor-msgq';
const JOURNAL = 'kpx logs to the journal, which keeps and rotates it: journalctl -t kpx-broker, and journald.conf(5)';

/** Where each setting goes, or why it goes nowhere. */
const FATES: Record<Setting, { readonly to: string } | { readonly why: string }> = {
  log_file: { why: JOURNAL },
  log_level: { to: 'broker.toml: log.level' },
  log_rotation_when: { why: JOURNAL },
  log_rotation_interval: { why: JOURNAL },
  log_rotation_keep: { why: JOURNAL },
  ca_cert_file: { to: 'broker.toml: amqp.tls.ca_file' },
  rabbitmq_host_name: { to: URLS },
  rabbitmq_virtual_host: { to: URLS },
  rabbitmq_client_user: { to: URLS },
  rabbitmq_client_password: { to: 'amqp-password; executor-msgq' },
  rabbitmq_port: { to: URLS },
  rabbitmq_protocol: { to: URLS },
  rabbitmq_queue_name: { to: 'broker.toml: amqp.queue' },
  rabbitmq_exchange: { to: 'broker.toml: amqp.exchange' },
  rabbitmq_routing_key: { to: 'broker.toml: amqp.routing_key' },
  knime_home: { to: DROP_IN },
  knime_workspace_parent_folder: {
    why: 'users could write to it, which kpx refuses: workspaces are below /srv/kpx/workspaces, and start empty (directories.workspace_parent)',
  },
  max_attempts_executor_start: { to: 'broker.toml: policy.start_attempts' },
  seconds_sleep_executor_start: { to: 'broker.toml: policy.backoff_initial' },
  seconds_sleep_executor_existing: { why: 'kpx does not sleep: jobs of a user whose executor runs go on at once' },
  local_knime_user_os_user_mapping: { to: 'privhelper.toml: accounts.map' },
};

const NO_WAIT = { why: 'kpx does wait between attempts: policy.backoff_initial has its default' };

function reportOf(original: Original): Report {
  const fates = (Object.keys(original) as Setting[]).map((setting) => ({ setting, ...fateOf(setting, original) }));
  return {
    mapped: fates.flatMap((fate) => ('to' in fate ? [{ ...fate, value: shown(fate.setting, original[fate.setting]) }] : [])),
    dropped: fates.flatMap((fate) => ('why' in fate ? [fate] : [])),
    todo: todoOf(original),
  };
}

function fateOf(setting: Setting, original: Original): { to: string } | { why: string } {
  return setting === 'seconds_sleep_executor_start' && original[setting] === 0 ? NO_WAIT : FATES[setting];
}

function shown(setting: Setting, value: unknown): string {
  if (setting === 'rabbitmq_client_password') return '(not shown)';
  if (setting === 'local_knime_user_os_user_mapping') return `${(value as unknown[]).length} names`;
  return Array.isArray(value) ? value.join(', ') : String(value);
}

function todoOf({ ca_cert_file, rabbitmq_client_user: user, knime_home }: Original): string[] {
  return [
    `In RabbitMQ, "${user}" needs the right to make queues that begin with "kpx."; a user for kpx-broker and one for executors are better (rabbitmq.md, Accounts).`,
    'RabbitMQ or the DNS server at a public address: IPAddressAllow= in a drop-in for kpx-broker.service.',
    `${knime_home} and all that is in it must be root's and writable by nobody else: it runs as every user.`,
    'KNIME before 4.11.3: reservation_clause = "user = {user}" in [executor] of privhelper.toml.',
    'The original had no limits: policy.max_executors is 40 and policy.max_starting 4 (tune.md).',
    ...(ca_cert_file === undefined ? [] : [`${ca_cert_file} must be readable by the account kpx-broker.`]),
  ];
}
