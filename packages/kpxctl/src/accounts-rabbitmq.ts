import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';

/* The accounts' RabbitMQ on the executor machine, as `kpxctl sealed setup` makes it: its names, files and ports. */

export const ACCOUNTS_UNIT = 'kpx-rabbitmq.service';
export const UNIT_FILE = `/etc/systemd/system/${ACCOUNTS_UNIT}`;
export const SETTINGS_DIRECTORY = '/etc/kpx/rabbitmq';
/** The operator's own settings, which `setup` leaves alone. RabbitMQ reads them after its rabbitmq.conf, in the order of their names. */
export const OWN_SETTINGS_DIRECTORY = `${SETTINGS_DIRECTORY}/conf.d`;
/** Without it RabbitMQ reads /etc/rabbitmq/conf.d as well. A pattern or a directory; of a directory also what an editor leaves there. */
const OWN_SETTINGS = `RABBITMQ_CONFIG_FILES=${OWN_SETTINGS_DIRECTORY}/*.conf`;
/** The account of Debian's package, and of the .rpm. */
export const RABBITMQ_ACCOUNT = 'rabbitmq';
export const RABBITMQ_SERVER = '/usr/lib/rabbitmq/bin/rabbitmq-server';
/** Rules of nft: who may connect to which port. */
export const PORTS_FILE = `${SETTINGS_DIRECTORY}/ports.nft`;
export const PORTS_TABLE = ['inet', 'kpx_rabbitmq'];
export const NFT = '/usr/sbin/nft';
/** See tcp(7). */
const SYN_COOKIES = '/proc/sys/net/ipv4/tcp_syncookies';
const ALWAYS = '2';
const ACCOUNTS_HOME = '/var/lib/kpx-rabbitmq';
export const COOKIE_FILE = `${ACCOUNTS_HOME}/.erlang.cookie`;
/** RabbitMQ's port for other nodes is this much above the one for AMQP, unless it is configured otherwise. */
const DISTRIBUTION_ABOVE = 20_000;
/** Of an epmd of its own: that of the system listens for other machines. */
const EPMD_PORT = 4_370;
/** Accounts of people have this uid or a larger one. */
const UID_MIN = 1_000;
const UID_MAX = 4_294_967_294;
/** How often an account may connect. Further connections wait: the kernel asks again after a second. */
const CONNECTS_PER_SECOND = 10;
const CONNECTS_AT_ONCE = 100;
/** More than the connections of one account that may be about to come about: those of a minute, with {@link CONNECTS_PER_SECOND}, are 700. */
const BACKLOG = 4_096;

const MARK_CHARS = 16;

/** Why nobody could connect to ports with rules of nft, and what to do; undefined: nothing is in the way. The rules let no SYN cookie pass. */
export async function inTheWay(): Promise<{ readonly why: string; readonly fix: string } | undefined> {
  const cookies = (await readFile(SYN_COOKIES, 'utf8').catch(() => '')).trim();
  if (cookies !== ALWAYS) return undefined;
  return { why: `net.ipv4.tcp_syncookies is ${ALWAYS}: with the rules of nft nobody can connect`, fix: 'sysctl net.ipv4.tcp_syncookies=1' };
}

/** An open port, and who uses it. */
interface Port {
  readonly port: number;
  readonly what: string;
}

const PORTS: Readonly<Record<string, number>> = { 'amqp:': 5_672, 'amqps:': 5_671, 'http:': 80, 'https:': 443 };

/** The port of a URL, or else RabbitMQ's or HTTP's default. */
function portOf(url: string): number {
  const { port, protocol } = new URL(url);
  return Number(port) || (PORTS[protocol] ?? 0);
}

/** `setup` makes one that listens there alone. */
export const isAccountsHost = (host: string) => host === '127.0.0.1' || host === 'localhost';

/** Host and port of a URL: the same text for the same RabbitMQ. */
export function addressOf(url: string): string {
  const { hostname } = new URL(url);
  return `${isAccountsHost(hostname) ? '127.0.0.1' : hostname}:${portOf(url)}`;
}

/** Those of a RabbitMQ at these addresses, by RabbitMQ's defaults. */
export function portsOf(urls: readonly string[], managementUrl: string): Port[] {
  return [
    ...urls.map(portOf).flatMap((port) => [
      { port, what: 'AMQP' },
      { port: port + DISTRIBUTION_ABOVE, what: 'other nodes' },
    ]),
    { port: portOf(managementUrl), what: 'the management API' },
    { port: EPMD_PORT, what: 'epmd' },
  ];
}

/** The ports of one that `setup` makes. */
export interface AccountsPorts {
  readonly amqp: number;
  readonly management: number;
}

/** The broker's URL of one that `setup` makes, where the configuration has none. */
const DEFAULT_URL = 'amqp://kpx-broker@127.0.0.1:5673';

export const accountsUrl = (urls: readonly string[]) => urls[0] ?? DEFAULT_URL;

export const accountsPorts = (sealed: { readonly urls: readonly string[]; readonly management_url: string }): AccountsPorts => ({
  amqp: portOf(accountsUrl(sealed.urls)),
  management: portOf(sealed.management_url),
});

/** The unit: as the account of RabbitMQ's package, with data, a cookie, an epmd and ports of its own, all on loopback. `ports`: a program that limits who connects. */
export const unitText = (
  { amqp }: AccountsPorts,
  ports: boolean,
) => `# Made by kpxctl sealed setup: the RabbitMQ of kpx's accounts. Changes of your own go into a drop-in: systemctl edit ${ACCOUNTS_UNIT}
[Unit]
Description=RabbitMQ of the accounts of kpx, on loopback
Documentation=file:/usr/share/doc/kpx/docs/sealed.md
Before=kpx-broker.service
After=network.target

[Service]
Type=notify
NotifyAccess=all
User=${RABBITMQ_ACCOUNT}
Group=${RABBITMQ_ACCOUNT}
UMask=0077
StateDirectory=kpx-rabbitmq
StateDirectoryMode=0700
WorkingDirectory=${ACCOUNTS_HOME}
Environment=HOME=${ACCOUNTS_HOME} LANG=C.UTF-8
Environment=RABBITMQ_NODENAME=kpx-accounts@localhost RABBITMQ_DIST_PORT=${amqp + DISTRIBUTION_ABOVE}
Environment=ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=${EPMD_PORT}
Environment=RABBITMQ_MNESIA_BASE=${ACCOUNTS_HOME}/mnesia RABBITMQ_LOG_BASE=${ACCOUNTS_HOME} RABBITMQ_PID_FILE=${ACCOUNTS_HOME}/pid
# To the journal.
Environment=RABBITMQ_LOGS=-
Environment=RABBITMQ_CONFIG_FILE=${SETTINGS_DIRECTORY}/rabbitmq.conf RABBITMQ_ENABLED_PLUGINS_FILE=${SETTINGS_DIRECTORY}/enabled_plugins
# Not those of another RabbitMQ of this machine.
Environment=RABBITMQ_CONF_ENV_FILE=${SETTINGS_DIRECTORY}/none RABBITMQ_ADVANCED_CONFIG_FILE=${SETTINGS_DIRECTORY}/none.config
Environment=${OWN_SETTINGS}
Environment="RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}"
${
  ports
    ? `# Who may connect to which port.
ExecStartPre=+${NFT} --file ${PORTS_FILE}
`
    : ''
}ExecStart=${RABBITMQ_SERVER}
TimeoutStartSec=180
TimeoutStopSec=60
Restart=always
RestartSec=5
# Descriptors: five for each virtual host. Threads: by processors. See kpxctl doctor.
LimitNOFILE=65536
TasksMax=2048
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
IPAddressDeny=any
IPAddressAllow=localhost

[Install]
WantedBy=multi-user.target
`;

export const configurationText = ({
  amqp,
  management,
}: AccountsPorts) => `# Made by kpxctl sealed setup, which makes it anew. Settings of your own go into a file of ${OWN_SETTINGS_DIRECTORY}
# whose name ends in .conf. They win over these. Then: systemctl restart ${ACCOUNTS_UNIT}
listeners.tcp.1 = 127.0.0.1:${amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = ${management}
# No account fills it: its connections are limited in ports.nft.
tcp_listen_options.backlog = ${BACKLOG}
# The broker's user. With it RabbitMQ makes neither the user guest nor the virtual host /.
load_definitions = ${SETTINGS_DIRECTORY}/definitions.json
# An executor may work on a job for days before it acknowledges it; in milliseconds.
consumer_timeout = 604800000
# Beyond these nobody publishes until there is room again.
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 1GB
`;

export const PLUGINS_TEXT = '[rabbitmq_management].\n';

/** An operator may have enabled others, too. */
export const enablesManagement = (plugins: string) => /\brabbitmq_management\b/.test(plugins);

const TABLE = PORTS_TABLE.join(' ');
const UIDS = `0-${UID_MAX + 1}`;

/**
 * Every account of the machine reaches loopback: who may connect to which port, and who may answer there.
 *
 * Not each packet has a skuid, and without one neither = nor != matches. So a SYN passes only where a named account has sent it. SYN cookies have none:
 * RabbitMQ's backlog is long enough to need none.
 */
const portsTextOf = (
  { amqp, management }: AccountsPorts,
  people: string,
  mark: string,
) => `# Made by kpxctl sealed setup: who may connect to the RabbitMQ of the accounts.
table ${TABLE}
delete table ${TABLE}
table ${TABLE} {
  set connecting {
    type uid
    size 65535
    flags dynamic,timeout
    timeout 1m
  }
  chain output {
    type filter hook output priority filter; policy accept;
    oifname "lo" tcp sport { ${amqp}, ${management}, ${amqp + DISTRIBUTION_ABOVE}, ${EPMD_PORT} } jump answers
    oifname "lo" tcp dport { ${amqp}, ${management}, ${amqp + DISTRIBUTION_ABOVE}, ${EPMD_PORT} } jump connects
  }
  # Nobody answers in RabbitMQ's place while it is away, and so gets the broker's password.
  chain answers {
    meta skuid { root, ${RABBITMQ_ACCOUNT} } return
    meta skuid ${UIDS} drop
    # From no socket: no connection comes about without it.
    tcp flags & syn == syn drop
  }
  chain connects {
    # AMQP and the management API: the broker, and root who looks.
    tcp dport { ${amqp}, ${management} } meta skuid { root, kpx-broker } return
    # Other nodes and epmd: RabbitMQ itself, and root.
    tcp dport { ${amqp + DISTRIBUTION_ABOVE}, ${EPMD_PORT} } meta skuid { root, ${RABBITMQ_ACCOUNT} } return
    # AMQP: people's accounts, which executors run as. None of them fills RabbitMQ's backlog, and so keeps all others out.
    tcp dport ${amqp} tcp flags & (syn | ack) == syn meta skuid ${people} update @connecting { meta skuid limit rate over ${CONNECTS_PER_SECOND}/second burst ${CONNECTS_AT_ONCE} packets } drop
    tcp dport ${amqp} meta skuid ${people} return
    meta skuid ${UIDS} reject with tcp reset
    tcp flags & syn == syn reject with tcp reset
  }
  # Without rules: by its name kpxctl doctor knows which rules are in force.
  chain ${mark} {
  }
}
`;

/** The rules as a file, and the name of the chain by which they are known. `minUid`: the lowest uid of executors. */
export function portsRules(ports: AccountsPorts, minUid: number): { readonly text: string; readonly mark: string } {
  const people = `${Math.min(UID_MIN, minUid)}-${UID_MAX}`;
  const hash = createHash('sha256')
    .update(portsTextOf(ports, people, ''))
    .digest('hex');
  const mark = `rules_${hash.slice(0, MARK_CHARS)}`;
  return { text: portsTextOf(ports, people, mark), mark };
}

/** For RabbitMQ's load_definitions: the broker's user and nothing else. Tried with 3.10.8 and 4.0.5. */
export const definitionsText = (user: string, hash: string, algorithm: string) =>
  `${JSON.stringify({ users: [{ name: user, password_hash: hash, hashing_algorithm: algorithm, tags: ['administrator'] }], vhosts: [], permissions: [] }, undefined, 2)}\n`;
