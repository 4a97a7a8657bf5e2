import { readdir, readFile } from 'node:fs/promises';
import { sourcesOf } from '@kpx/broker/host/name-service-down';
import { runCommand } from '@kpx/privhelper/system/command';
import { KpxError } from '@kpx/protocol';

/*
 * getent says "not found" of every account of a directory that it cannot reach. Look here before a "not found" counts as proof.
 */

const NSSWITCH = '/etc/nsswitch.conf';
/** Sources that are this machine's own: they can always be asked. */
const LOCAL = new Set(['files', 'compat', 'systemd', 'db', 'cache']);

/** Where SSSD has its buses, for root. */
const SSSD_BUSES = '/var/lib/sss/pipes/private';
/** From SSSD 2.10 on, all its processes are on this one. */
const MASTER_BUS = 'sbus-master';
/** Before, each domain has one: a link, beside the socket that it leads to, with a pid at its end. */
const BUS_OF_ONE_DOMAIN = /^sbus-dp_[A-Za-z0-9._-]+?(?<!\.\d+)$/;
const DBUS_SEND = '/usr/bin/dbus-send';
/** How long one question to SSSD may take, in milliseconds. */
const SSSD_TIMEOUT_MS = 10_000;

interface NameService {
  /** Where accounts come from, in their order. */
  readonly sources: readonly string[];
  /** Why not every one of them can say which accounts there are; undefined: nothing is known to be wrong. */
  readonly wrong: string | undefined;
  /** Why it is not known whether they can; undefined: they can. */
  readonly unsure: string | undefined;
}

type Answers = Omit<NameService, 'sources'>;

const CAN_SAY: Answers = { wrong: undefined, unsure: undefined };
const wrong = (why: string): Answers => ({ wrong: why, unsure: why });
const unsure = (why: string): Answers => ({ wrong: undefined, unsure: why });

/** Throws an Error when it takes too long. As root it sees more. */
export async function lookAtNameService(signal: AbortSignal): Promise<NameService> {
  const sources = sourcesOf(await readFile(NSSWITCH, 'utf8'));
  const answers = await Promise.all(sources.map((source) => look(source, signal)));
  const first = (what: keyof Answers) => answers.map((answer) => answer[what]).find((why) => why !== undefined);
  return { sources, wrong: first('wrong'), unsure: first('unsure') };
}

async function look(source: string, signal: AbortSignal): Promise<Answers> {
  if (LOCAL.has(source)) return CAN_SAY;
  if (source !== 'sss') return unsure(`nobody knows whether the source "${source}" of ${NSSWITCH} answers`);
  const { stdout } = await runCommand('/usr/bin/systemctl', ['is-active', 'sssd.service'], signal);
  if (stdout.trim() !== 'active') return wrong(`${NSSWITCH} names sss, and sssd.service is ${stdout.trim()}`);
  return await lookAtSssd();
}

/** Every domain, until one cannot say. */
export async function lookAtSssd(directory: string = SSSD_BUSES): Promise<Answers> {
  const names = await readdir(directory).catch((): string[] => []);
  // Files of an older SSSD may lie beside the bus of a newer one.
  const buses = names.includes(MASTER_BUS) ? [MASTER_BUS] : names.filter((name) => BUS_OF_ONE_DOMAIN.test(name));
  if (buses.length === 0) return unsure(`no bus of SSSD can be seen in ${directory}`);
  try {
    for (const bus of buses) {
      const answers = await lookAtDomains(`${directory}/${bus}`);
      if (answers !== CAN_SAY) return answers;
    }
    return CAN_SAY;
  } catch (error) {
    if (!(error instanceof KpxError)) throw error;
    return error.code === 'DEADLINE_EXCEEDED' ? wrong('SSSD does not answer') : unsure(`SSSD cannot be asked: ${error.message}`);
  }
}

/**
 * `/usr/bin/dbus-send --bus=unix:path=… --print-reply …`: IsOnline of each domain's process, as `sssctl domain-status` has it, which needs SSSD's
 * InfoPipe. Throws a KpxError where a domain does not answer in time, or dbus-send is missing.
 */
async function lookAtDomains(bus: string): Promise<Answers> {
  const ask = async (...args: string[]) =>
    (await runCommand(DBUS_SEND, ['--print-reply', `--bus=unix:path=${bus}`, ...args], AbortSignal.timeout(SSSD_TIMEOUT_MS))).stdout;
  const list = await ask('--dest=org.freedesktop.DBus', '/org/freedesktop/DBus', 'org.freedesktop.DBus.ListNames');
  const names = [...list.matchAll(/string "(sssd\.domain_(\w+))"/g)];
  if (names.length === 0) return unsure(`SSSD does not tell of its domains (asked with ${DBUS_SEND} at ${bus})`);
  for (const [, name = '', escaped = ''] of names) {
    const domain = unescaped(escaped);
    const answer = await ask(`--dest=${name}`, '/sssd', 'sssd.DataProvider.Backend.IsOnline', `string:${domain}`);
    const [, online] = /boolean (true|false)/.exec(answer) ?? [];
    if (online === 'false') return wrong(`SSSD is offline: it does not reach the directory of "${domain}"`);
    if (online === undefined) return unsure(`SSSD does not tell whether it reaches the directory of "${domain}" (asked with ${DBUS_SEND})`);
  }
  return CAN_SAY;
}

/** SSSD writes each byte of a domain's name that is neither a letter nor a digit as `_` and two hexadecimal digits. */
function unescaped(escaped: string): string {
  const bytes = escaped.replace(/_([0-9a-f]{2})/g, (_, byte: string) => String.fromCharCode(Number.parseInt(byte, 16)));
  return Buffer.from(bytes, 'latin1').toString();
}
