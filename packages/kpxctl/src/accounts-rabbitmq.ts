/* The accounts' RabbitMQ on the executor machine, as `kpxctl sealed setup` makes it: its names, files and ports. */

export const ACCOUNTS_UNIT = 'kpx-rabbitmq.service';
export const UNIT_FILE = `/etc/systemd/system/${ACCOUNTS_UNIT}`;
export const SETTINGS_DIRECTORY = '/etc/kpx/rabbitmq';
/** The account of Debian's package, and of the .rpm. */
export const RABBITMQ_ACCOUNT = 'rabbitmq';
export const RABBITMQ_SERVER = '/usr/lib/rabbitmq/bin/rabbitmq-server';
/** Rules of nft: who may connect to which port. */
export const PORTS_FILE = `${SETTINGS_DIRECTORY}/ports.nft`;
export const PORTS_TABLE = ['inet', 'kpx_rabbitmq'];
export const NFT = '/usr/sbin/nft';
const ACCOUNTS_HOME = '/var/lib/kpx-rabbitmq';
export const COOKIE_FILE = `${ACCOUNTS_HOME}/.erlang.cookie`;
/** The content of executor.msgq_file from when executors shared one RabbitMQ user: kept until that user is deleted. */
export const SHARED_MSGQ_FILE = '/etc/kpx/executor-msgq.shared';
/** RabbitMQ's port for other nodes is this much above the one for AMQP, unless it is configured otherwise. */
const DISTRIBUTION_ABOVE = 20_000;
/** Of an epmd of its own: that of the system listens for other machines. */
const EPMD_PORT = 4_370;
/** Accounts of people, executors among them, have this uid or a larger one. */
const UID_MIN = 1_000;

/** An open port, and who uses it. */
interface Port {
  readonly port: number;
  readonly what: string;
}

/** Those of a RabbitMQ at these addresses, by RabbitMQ's defaults. */
export function portsOf(urls: readonly string[], managementUrl: string): Port[] {
  const amqp = urls.map((url) => new URL(url)).map(({ port, protocol }) => Number(port) || (protocol === 'amqps:' ? 5_671 : 5_672));
  const management = new URL(managementUrl);
  return [
    ...amqp.flatMap((port) => [
      { port, what: 'AMQP' },
      { port: port + DISTRIBUTION_ABOVE, what: 'other nodes' },
    ]),
    { port: Number(management.port) || (management.protocol === 'https:' ? 443 : 80), what: 'the management API' },
    { port: EPMD_PORT, what: 'epmd' },
  ];
}

/** The ports of one that `setup` makes. */
export interface AccountsPorts {
  readonly amqp: number;
  readonly management: number;
}

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

export const configurationText = ({ amqp, management }: AccountsPorts) => `# Made by kpxctl sealed setup.
listeners.tcp.1 = 127.0.0.1:${amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = ${management}
# The broker's user. With it RabbitMQ makes neither the user guest nor the virtual host /.
load_definitions = ${SETTINGS_DIRECTORY}/definitions.json
# An executor may work on a job for days before it acknowledges it; in milliseconds.
consumer_timeout = 604800000
# Beyond these nobody publishes until there is room again.
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 1GB
`;

export const PLUGINS_TEXT = '[rabbitmq_management].\n';

const TABLE = PORTS_TABLE.join(' ');

/** Every account of the machine reaches loopback: who may connect to which port, and who may answer there. */
export const portsText = ({
  amqp,
  management,
}: AccountsPorts) => `# Made by kpxctl sealed setup: who may connect to the RabbitMQ of the accounts.
table ${TABLE}
delete table ${TABLE}
table ${TABLE} {
  chain output {
    type filter hook output priority filter; policy accept;
    # The management API: the broker, and root who looks.
    oifname "lo" tcp dport ${management} meta skuid != { root, kpx-broker } reject with tcp reset
    # Other nodes and epmd: RabbitMQ itself, and root.
    oifname "lo" tcp dport { ${amqp + DISTRIBUTION_ABOVE}, ${EPMD_PORT} } meta skuid != { root, ${RABBITMQ_ACCOUNT} } reject with tcp reset
    # AMQP: the broker, and people's accounts, which executors run as.
    oifname "lo" tcp dport ${amqp} meta skuid 1-${UID_MIN - 1} meta skuid != kpx-broker reject with tcp reset
    # Nobody answers in RabbitMQ's place while it is away, and so gets the broker's password.
    oifname "lo" tcp sport { ${amqp}, ${management}, ${amqp + DISTRIBUTION_ABOVE}, ${EPMD_PORT} } meta skuid != { root, ${RABBITMQ_ACCOUNT} } drop
  }
}
`;

/** For RabbitMQ's load_definitions: the broker's user and nothing else. Tried with 3.10.8 and 4.0.5. */
export const definitionsText = (user: string, hash: string, algorithm: string) =>
  `${JSON.stringify({ users: [{ name: user, password_hash: hash, hashing_algorithm: algorithm, tags: ['administrator'] }], vhosts: [], permissions: [] }, undefined, 2)}\n`;
