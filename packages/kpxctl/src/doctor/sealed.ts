import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { isLoopback } from '@kpx/broker/config/address';
import { runCommand } from '@kpx/privhelper/system/command';
import { nodeOf } from '@kpx/protocol';
import {
  ACCOUNTS_UNIT,
  accountsPorts,
  addressOf,
  COOKIE_FILE,
  inTheWay,
  NFT,
  PORTS_FILE,
  PORTS_TABLE,
  portsOf,
  portsRules,
} from '../accounts-rabbitmq.js';
import { ASK_AS_ROOT, type Check, fail, ok, Skipped, type Verdict, warn } from './check.js';
import { statusOf } from './file-system.js';
import { BROKER_UNIT, type BrokerConfig, type Scene } from './scene.js';
import { showUnit, type Unit } from './systemd.js';

/** Descriptors that RabbitMQ has for a virtual host to which broker and executor are connected, measured with 3.10.8, and for all else. */
const FDS_PER_VHOST = 5;
const FDS_OF_RABBITMQ = 500;
/** Threads of RabbitMQ, measured with 3.10.8: 20 with two processors. They do not grow with virtual hosts. */
const TASKS_OF_RABBITMQ = 64;
const TASKS_PER_PROCESSOR = 3;
/** Threads of the broker: 11 with two processors. */
const TASKS_OF_BROKER = 32;
/** Of the broker: one for the virtual host of each account with an executor, and for all else. */
const FDS_OF_BROKER = 200;
const COOKIE_MODE = 0o400;

/** Sealed executors: the two configurations, and the accounts' RabbitMQ on this machine. Nothing where executors are not sealed. */
export async function sealedChecks(scene: Scene): Promise<Check[]> {
  const ofBroker = (await scene.broker().catch(() => undefined))?.sealed.enabled ?? false;
  const ofHelper = (await scene.helper().catch(() => undefined))?.executor.sealed ?? false;
  if (!ofBroker && !ofHelper) return [];
  return [
    agreement(scene),
    ...(ofBroker ? [template(scene), listeners(scene), settings(scene), cookie(scene), firewall(scene), room(scene)] : []),
  ];
}

const agreement = ({ broker, helper }: Scene): Check => ({
  name: 'sealed executors',
  fix: 'Write the same into [sealed] of broker.toml and [executor] of privhelper.toml, then: systemctl restart kpx-broker.',
  look: async () => {
    const [{ sealed }, { executor }] = [await broker(), await helper()];
    const fix = 'Set both, or neither, then: systemctl restart kpx-broker. Until then no executor starts.';
    if (sealed.enabled !== (executor.sealed !== false)) {
      return fail(`sealed.enabled is ${sealed.enabled} in broker.toml, executor.sealed is ${executor.sealed} in privhelper.toml`, fix);
    }
    const [ofBroker, ofHelper] = [nodeOf(sealed), nodeOf(executor)];
    if (ofBroker !== ofHelper) {
      const same = 'Set the same sealed.node and executor.node, then: systemctl restart kpx-broker. Until then no executor starts.';
      return fail(`the node is "${ofBroker}" in broker.toml and "${ofHelper}" in privhelper.toml`, same);
    }
    return ok(`both configurations say so, for the node "${ofBroker}"`);
  },
});

/** Where executors log in, and where the broker makes their virtual hosts, is the same RabbitMQ. */
const template = ({ broker, helper, isRoot }: Scene): Check => ({
  name: 'sealed template',
  fix: 'Write the host and port of sealed.urls into executor.msgq_file.',
  look: async () => {
    if (!isRoot) throw new Skipped(ASK_AS_ROOT);
    const [{ sealed }, { executor }] = [await broker(), await helper()];
    const text = await readFile(executor.msgq_file, 'utf8').catch(() => '');
    const [, scheme, host] = /^(amqps?:)\/\/[^@]*@([^/]+)\//.exec(text) ?? [];
    if (host === undefined || !URL.canParse(`${scheme}//${host}`))
      throw new Skipped('executor.msgq_file is no template; another check says what it is');
    const at = addressOf(`${scheme}//${host}`);
    const hosts = sealed.urls.map(addressOf);
    if (hosts.includes(at)) return ok(`executors log in at ${at}, as in sealed.urls`);
    return fail(
      `executors log in at ${at}, and sealed.urls names ${hosts.join(', ')}`,
      `Write the same host and port into both: an executor finds its virtual host only where the broker makes it.`,
    );
  },
});

/** An address of `/proc/net/tcp` or tcp6 in which something listens. */
interface Listener {
  readonly port: number;
  readonly isLoopback: boolean;
}

const LISTENING = '0A';
/** 127.0.0.0/8, ::1, and 127.0.0.0/8 as IPv6 writes it; of a machine with little-endian numbers. */
const LOOPBACK = /^(?:[0-9A-F]{6}7F|0{24}01000000|0{16}FFFF0000[0-9A-F]{6}7F)$/;

/** Throws where the kernel's list cannot be read. */
export function listenersIn(table: string): Listener[] {
  return table.split('\n').flatMap((line) => {
    const [, address = '', port = '', state] = /^\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) \S+ ([0-9A-F]{2}) /.exec(line) ?? [];
    return state === LISTENING ? [{ port: Number.parseInt(port, 16), isLoopback: LOOPBACK.test(address) }] : [];
  });
}

const hostsOf = ({ sealed }: BrokerConfig) =>
  [...sealed.urls, sealed.management_url].map((url) => new URL(url).hostname.replace(/^\[|\]$/g, ''));

const isHere = (config: BrokerConfig) => hostsOf(config).every((host) => host === 'localhost' || isLoopback({ host, port: 0 }));
const ELSEWHERE = "the accounts' RabbitMQ is on another machine";

const listeners = ({ broker }: Scene): Check => ({
  name: "accounts' RabbitMQ listens",
  fix: 'See ss -ltn.',
  look: async () => {
    const config = await broker();
    if (!isHere(config)) throw new Skipped(ELSEWHERE);
    const tables = await Promise.all(['/proc/net/tcp', '/proc/net/tcp6'].map((file) => readFile(file, 'latin1').catch(() => '')));
    const open = tables.flatMap(listenersIn);
    const ports = portsOf(config.sealed.urls, config.sealed.management_url);
    const outside = ports.filter(({ port }) => open.some((each) => each.port === port && !each.isLoopback));
    if (outside.length > 0) {
      const seen = outside.map(({ port, what }) => `${port} (${what})`).join(', ');
      const fix = `Have it listen on loopback alone, as ${ACCOUNTS_UNIT} does (sealed.md): listeners.tcp and management.tcp.ip in its rabbitmq.conf, inet_dist_use_interface, and ERL_EPMD_ADDRESS=127.0.0.1. Then restart it.`;
      return fail(`other machines can connect to ${seen}`, fix);
    }
    const missing = ports.filter(({ port, what }) => what !== 'epmd' && !open.some((each) => each.port === port));
    const absent = missing.map(({ port, what }) => `${port} (${what})`).join(', ');
    if (missing.length > 0)
      return warn(
        `nothing listens at ${absent}`,
        `systemctl status ${ACCOUNTS_UNIT}; ports of your own are to be looked at by hand: ss -ltnp`,
      );
    return ok('on loopback alone: AMQP, the management API, epmd, and the port for other nodes');
  },
});

/** The unit of an earlier version also reads the settings of another RabbitMQ of this machine, which may say that it listens for other machines. */
const settings = ({ broker, underSystemd }: Scene): Check => ({
  name: "accounts' RabbitMQ settings",
  fix: `See systemctl cat ${ACCOUNTS_UNIT}.`,
  look: async (signal) => {
    await underSystemd();
    if (!isHere(await broker())) throw new Skipped(ELSEWHERE);
    const { LoadState, Environment } = await showUnit(ACCOUNTS_UNIT, signal);
    if (LoadState !== 'loaded') throw new Skipped(`there is no ${ACCOUNTS_UNIT}; see that your RabbitMQ reads settings of its own alone`);
    if (/\bRABBITMQ_CONFIG_FILES=/.test(Environment)) return ok(`${ACCOUNTS_UNIT} reads none of another RabbitMQ`);
    const seen = `${ACCOUNTS_UNIT} also reads /etc/rabbitmq/conf.d, the settings of another RabbitMQ`;
    return warn(seen, 'In a pause, as it restarts that RabbitMQ: kpxctl sealed setup --apply');
  },
});

/** By the cookie one runs code in RabbitMQ. */
const cookie = ({ broker, isRoot }: Scene): Check => ({
  name: "accounts' RabbitMQ cookie",
  fix: `See ls -l ${COOKIE_FILE}.`,
  look: async (signal) => {
    if (!isHere(await broker())) throw new Skipped(ELSEWHERE);
    if (!isRoot) throw new Skipped(ASK_AS_ROOT);
    const found = (await statusOf([COOKIE_FILE], signal)).get(COOKIE_FILE);
    if (found === undefined) throw new Skipped(`there is no ${COOKIE_FILE}: see that the cookie of your RabbitMQ has mode 0400`);
    if (found.type === 'regular file' && found.mode === COOKIE_MODE && found.uid !== 0)
      return ok(`${COOKIE_FILE} is its own, with mode 0400`);
    const seen = `${COOKIE_FILE} is a ${found.type} of uid ${found.uid} with mode 0${found.mode.toString(8)}`;
    return fail(seen, `chown rabbitmq:rabbitmq ${COOKIE_FILE} && chmod 0400 ${COOKIE_FILE}: by it one does everything in that RabbitMQ.`);
  },
});

/** Another firewall may have removed them: Debian's nftables.service does with each start. An upgrade of kpx leaves them as they are. */
const firewall = ({ broker, helper, isRoot }: Scene): Check => ({
  name: "accounts' RabbitMQ ports",
  fix: `See ${NFT} list ruleset.`,
  look: async (signal) => {
    if (!isHere(await broker())) throw new Skipped(ELSEWHERE);
    if (!isRoot) throw new Skipped(ASK_AS_ROOT);
    const rules = await statusOf([PORTS_FILE], signal);
    if (!rules.has(PORTS_FILE)) {
      return warn(
        `there is no ${PORTS_FILE}: every account of this machine can connect to the management API and try passwords, and can answer in RabbitMQ's place while it is away`,
        'apt install nftables; kpxctl sealed setup --apply. Rules of your own are to be looked at by hand.',
      );
    }
    const isInForce = async (...what: string[]) => (await runCommand(NFT, ['list', ...what], signal)).exitCode === 0;
    const load = `${NFT} --file ${PORTS_FILE}`;
    if (!(await isInForce('table', ...PORTS_TABLE)))
      return fail(`the rules of ${PORTS_FILE} are not in force: every account of this machine can connect to the management API`, load);
    const { text, mark } = portsRules(accountsPorts((await broker()).sealed), (await helper()).accounts.min_uid);
    if ((await readFile(PORTS_FILE, 'utf8')) !== text) {
      const seen = `${PORTS_FILE} has other rules than this version of kpx makes for this configuration`;
      return warn(seen, 'In a pause, as it restarts that RabbitMQ: kpxctl sealed setup --apply');
    }
    if (!(await isInForce('chain', ...PORTS_TABLE, mark))) return warn(`other rules are in force than those of ${PORTS_FILE}`, load);
    const obstacle = await inTheWay();
    if (obstacle) return fail(obstacle.why, `${obstacle.fix}, and the same in a file of /etc/sysctl.d.`);
    return ok("the management API is the broker's and root's alone");
  },
});

const room = (scene: Scene): Check => ({
  name: 'room for virtual hosts',
  fix: `See systemctl show --property=LimitNOFILE,TasksMax ${BROKER_UNIT} ${ACCOUNTS_UNIT}.`,
  look: async (signal) => {
    await scene.underSystemd();
    const config = await scene.broker();
    const rabbitmq = isHere(config) ? await showUnit(ACCOUNTS_UNIT, signal) : undefined;
    return roomIn(config, await scene.brokerUnit(), rabbitmq?.LoadState === 'loaded' ? rabbitmq : undefined, availableParallelism());
  },
});

type Limits = Pick<Unit, 'LimitNOFILE' | 'TasksMax'>;

/** `rabbitmq`: undefined where it is no unit of this machine. */
export function roomIn(
  { sealed: { vhosts_max }, policy: { max_executors } }: Pick<BrokerConfig, 'sealed' | 'policy'>,
  broker: Limits,
  rabbitmq: Limits | undefined,
  processors: number,
): Verdict {
  const needs = [
    ...needsOf(BROKER_UNIT, broker, { LimitNOFILE: FDS_OF_BROKER + max_executors, TasksMax: TASKS_OF_BROKER }),
    ...(rabbitmq
      ? needsOf(ACCOUNTS_UNIT, rabbitmq, {
          LimitNOFILE: FDS_OF_RABBITMQ + FDS_PER_VHOST * vhosts_max,
          TasksMax: TASKS_OF_RABBITMQ + TASKS_PER_PROCESSOR * processors,
        })
      : []),
  ];
  const wanted = `sealed.vhosts_max = ${vhosts_max} and policy.max_executors = ${max_executors}`;
  const lacking = needs.filter(({ isEnough }) => !isEnough);
  if (lacking.length > 0) {
    const seen = lacking.map(({ unit, limit, set, need }) => `${unit} has ${limit}=${set}, and needs ${need}`).join('; ');
    const fix = lacking.map(({ unit, limit, need }) => `systemctl edit ${unit}: ${limit}=${need} below [Service]`).join('; ');
    return fail(`for ${wanted}: ${seen}`, `${fix}. Then restart it.`);
  }
  if (vhosts_max < max_executors) {
    const fix = `Set sealed.vhosts_max = ${max_executors} or more: beyond it the virtual host of every ended executor is removed, and made anew for the next.`;
    return warn(`sealed.vhosts_max is ${vhosts_max}, policy.max_executors ${max_executors}`, fix);
  }
  return ok(`for ${wanted}: ${needs.map(({ unit, limit, set, need }) => `${unit} has ${limit}=${set} of ${need}`).join('; ')}`);
}

function needsOf(unit: string, limits: Limits, needs: Readonly<Record<keyof Limits, number>>) {
  return Object.entries(needs).map(([name, need]) => {
    const limit = name as keyof Limits;
    const set = limits[limit];
    return { unit, limit, need, set, isEnough: set === 'infinity' || Number(set) >= need };
  });
}
