import { readlink } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { HelperClient } from '@kpx/broker/host/helper-client';
import { pino } from 'pino';
import { type Answered, answerOnceConnected } from './broker.js';
import { ASK_AS_ROOT, type Check, ok, Skipped, type Verdict, warn } from './check.js';
import { chain } from './file-system.js';
import { BROKER_ACCOUNT, type Scene } from './scene.js';
import { mainPidsOf, showUnit } from './systemd.js';

const SOCKET_UNIT = 'kpx-privhelper.socket';
const SOCKET_MODE = 0o660;
/** How long a new helper may take to say hello, in milliseconds. */
const HELLO_TIMEOUT_MS = 20_000;
const RESTART = `systemctl restart ${SOCKET_UNIT} kpx-broker; where a drop-in is the cause (systemctl cat ${SOCKET_UNIT}), take its line out first.`;

/** The namespaces of PrivateNetwork=, PrivateIPC= and PrivateMounts=, by their names in /proc/PID/ns. */
const NAMESPACES = { net: 'network', ipc: 'System V IPC', mnt: 'mounts' } as const;

export const helperChecks = (scene: Scene): Check[] => [socketListens(scene), socketFile(scene), namespaces(scene)];

const socketListens = ({ brokerUnit, underSystemd }: Scene): Check => ({
  name: 'helper socket',
  fix: `systemctl restart ${SOCKET_UNIT} kpx-broker`,
  look: async (signal) => {
    await underSystemd();
    const { LoadState, ActiveState, SubState, Result } = await showUnit(SOCKET_UNIT, signal);
    if (LoadState !== 'loaded') throw new Skipped('the unit cannot be loaded');
    if (ActiveState === 'active') return ok(`systemd listens (${SubState})`);
    if (ActiveState === 'inactive' && (await brokerUnit()).UnitFileState !== 'enabled')
      return warn(`${SOCKET_UNIT} is not active`, 'It comes with the broker: systemctl enable --now kpx-broker.service');
    throw new Error(`${SOCKET_UNIT} is ${ActiveState} (${Result})`);
  },
});

/** Owner root; the broker's group may connect, and nobody else. */
const socketFile = ({ broker, brokerAccount }: Scene): Check => ({
  name: 'helper socket file',
  fix: RESTART,
  look: async (signal) => {
    const { socket } = (await broker()).helper;
    const account = await brokerAccount();
    const found = (await chain(socket, signal)).at(-1)?.found;
    if (found === undefined) throw new Skipped(`there is no ${socket}: ${SOCKET_UNIT} has not made it`);
    if (found.type !== 'socket') throw new Error(`${socket} is a ${found.type}`);
    if (found.uid !== 0 || found.gid !== account.gid)
      throw new Error(`${socket} belongs to ${found.uid}:${found.gid}, expected root:${BROKER_ACCOUNT}`);
    if (found.mode !== SOCKET_MODE) throw new Error(`${socket} has mode 0${found.mode.toString(8)}, expected 0${SOCKET_MODE.toString(8)}`);
    return ok(`${socket} is root's, for the group ${BROKER_ACCOUNT}`);
  },
});

/** Where systemd may not make a namespace, in a container for example, it goes on without, and says so in the journal only. */
const namespaces = ({ isRoot, underSystemd }: Scene): Check => ({
  name: 'helper namespaces',
  fix: 'See ls -l /proc/PID/ns of the helper and of PID 1.',
  look: async (signal) => {
    await underSystemd();
    if (!isRoot) throw new Skipped(ASK_AS_ROOT);
    const [pid] = await mainPidsOf('kpx-privhelper@*.service', signal);
    if (pid === undefined) throw new Skipped('no helper runs');
    const shared = await namespacesShared(pid);
    if (shared.length === 0) return ok(`the helper has its own: ${Object.values(NAMESPACES).join(', ')}`);
    return warn(
      `the helper is not kept apart from the machine's ${shared.join(', ')}`,
      "In a container, systemd 257 and later need the capability CAP_NET_ADMIN for PrivateNetwork=: grant it to the container, and restart that. Otherwise look for drop-ins: systemctl cat kpx-privhelper@.service. journalctl -u 'kpx-privhelper@*' says which of them systemd has left out.",
    );
  },
});

/** The {@link NAMESPACES} that a process shares with PID 1. */
async function namespacesShared(pid: number): Promise<string[]> {
  const of = async (process: number, name: string) =>
    await readlink(`/proc/${process}/ns/${name}`).catch(({ code }: NodeJS.ErrnoException) => {
      throw new Skipped(code === 'ENOENT' ? 'the helper has ended meanwhile' : `/proc/${process}/ns/${name} cannot be read: ${code}`);
    });
  const shared: string[] = [];
  for (const [name, what] of Object.entries(NAMESPACES)) if ((await of(pid, name)) === (await of(1, name))) shared.push(what);
  return shared;
}

/**
 * Through the running broker, since there is one connection to the helper at a time. Where no broker runs, a helper is asked itself: as the
 * broker's account, which this process has by now when it was root.
 */
export const helperAnswers = ({ broker, brokerUnit }: Scene, answered: Answered, brokerUid: number | undefined): Check => ({
  name: 'helper',
  fix: `See journalctl -t kpx-privhelper _UID=0 and journalctl -u 'kpx-privhelper@*', fix what they name, then: systemctl restart kpx-broker.`,
  look: async (signal) => {
    const status = await answerOnceConnected(answered, 'helper').catch(() => undefined);
    if (status) {
      if (status.helper.connected) return ok('the broker has its connection');
      throw new Error('the running broker has no connection to a helper');
    }
    const { ActiveState } = await brokerUnit();
    if (ActiveState === 'active') throw new Skipped('the broker, which has the one connection, does not answer');
    if ((await showUnit(SOCKET_UNIT, signal)).ActiveState !== 'active') throw new Skipped(`${SOCKET_UNIT} is not active`);
    if (brokerUid === undefined || process.getuid?.() !== brokerUid) throw new Skipped(ASK_AS_ROOT);
    return await sayHello((await broker()).helper.socket);
  },
});

async function sayHello(socket: string): Promise<Verdict> {
  const done = new AbortController();
  let problem: string | undefined;
  const refused = (line: string) => {
    problem = String(JSON.parse(line).reason);
    done.abort();
  };
  let greeted = false;
  const connected = () => {
    greeted = true;
    done.abort();
  };
  const client = new HelperClient(socket, pino({ level: 'error' }, { write: refused }), { connected, answered: () => {} });
  const running = client.run();
  await delay(HELLO_TIMEOUT_MS, undefined, { signal: done.signal }).catch(() => {}); // there is an answer
  client.stop();
  if (greeted) {
    await running;
    return ok('a helper was started, and said hello');
  }
  throw new Error(problem ?? `no answer within ${HELLO_TIMEOUT_MS / 1_000} s`);
}
