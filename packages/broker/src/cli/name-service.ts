import { readdir, readFile } from 'node:fs/promises';
import { runCommand } from '@kpx/privhelper/system/command';
import { sourcesOf } from '../name-service-down.js';

/*
 * To getent, an account of a directory that nobody can ask is one that does not exist. Who concludes anything from "not found" looks here
 * whether those who could know were there to be asked.
 */

const NSSWITCH = '/etc/nsswitch.conf';
/** Sources that are this machine's own: they can always be asked. */
const LOCAL = new Set(['files', 'compat', 'systemd', 'db', 'cache']);

/** Where each domain of SSSD listens on a bus of its own, for root. */
const SSSD_BUSES = '/var/lib/sss/pipes/private';
const DBUS_SEND = '/usr/bin/dbus-send';
/** How long one domain of SSSD may take, in milliseconds. */
const SSSD_TIMEOUT_MS = 10_000;

export interface NameService {
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
async function lookAtSssd(): Promise<Answers> {
  const names = await readdir(SSSD_BUSES).catch(() => []);
  // Beside each link of a domain there is the socket that it leads to, with a pid at its end.
  const domains = names.flatMap((name) => /^sbus-dp_([A-Za-z0-9._-]+?)(?<!\.\d+)$/.exec(name)?.[1] ?? []);
  if (domains.length === 0) return unsure(`no domain of SSSD can be seen in ${SSSD_BUSES}`);
  for (const domain of domains) {
    const answer = await stateOf(domain);
    if (answer === 'hangs') return wrong('SSSD does not answer');
    if (answer === 'offline') return wrong(`SSSD is offline: it does not reach the directory of "${domain}"`);
    if (answer === undefined) return unsure(`SSSD does not tell whether it reaches the directory of "${domain}" (asked with ${DBUS_SEND})`);
  }
  return CAN_SAY;
}

/**
 * `/usr/bin/dbus-send --bus=unix:path=… --print-reply …`: IsOnline of the domain's process, as `sssctl domain-status` has it, which needs
 * SSSD's InfoPipe. undefined: it does not tell.
 */
async function stateOf(domain: string): Promise<'online' | 'offline' | 'hangs' | undefined> {
  const signal = AbortSignal.timeout(SSSD_TIMEOUT_MS);
  const bus = ['--print-reply', `--bus=unix:path=${SSSD_BUSES}/sbus-dp_${domain}`];
  const ask = async (...args: string[]) => (await runCommand(DBUS_SEND, [...bus, ...args], signal)).stdout;
  try {
    const names = await ask('--dest=org.freedesktop.DBus', '/org/freedesktop/DBus', 'org.freedesktop.DBus.ListNames');
    const [, name] = /string "(sssd\.domain_[^"]+)"/.exec(names) ?? [];
    if (name === undefined) return undefined;
    const answer = await ask(`--dest=${name}`, '/sssd', 'sssd.DataProvider.Backend.IsOnline', `string:${domain}`);
    const [, online] = /boolean (true|false)/.exec(answer) ?? [];
    return online === undefined ? undefined : online === 'true' ? 'online' : 'offline';
  } catch {
    return signal.aborted ? 'hangs' : undefined;
  }
}
