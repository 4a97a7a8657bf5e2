import { access, constants } from 'node:fs/promises';
import { shellWord } from '@kpx/broker/output/format';
import type { Account } from '@kpx/privhelper/accounts';
import { runCommand } from '@kpx/privhelper/system/command';
import { aclsOf, type Identity, identityOf, type Judged, may } from './access.js';
import { judged, orUnseen } from './accounts.js';
import { ASK_AS_ROOT, type Check, ok, Skipped, type Verdict, warn } from './check.js';
import { stepsTo } from './file-system.js';
import type { Scene } from './scene.js';
import { refusedBySshd } from './sshd.js';
import { showUnit } from './systemd.js';

/** How deep below /run sockets are looked for, and how many are named. */
const DEPTH_MAX = 8;
const NAMED_MAX = 10;
/** A user of one of these sockets can become root: the check names them even where they are open to everybody. */
const MANAGERS = /\/(docker|podman|containerd|crio|lxd|incus)[^/]*(\/|$)|\/libvirt-sock$/;
const WORLD_WRITES = 0o002;

/** Of find, whose list is cut off then. With 1 it has not seen what has gone meanwhile. */
const ENDED_BY_A_SIGNAL = -1;

const SSHD = '/usr/sbin/sshd';
const SSH_UNITS = ['ssh.service', 'sshd.service', 'ssh.socket', 'sshd.socket'];
const LINGER = '/var/lib/systemd/linger';

/** How a user could leave the unit of the executor, with its limits and without what it forbids. */
export const wayOutChecks = (scene: Scene): Check[] => (scene.user === undefined ? [] : [sockets(scene), logins(scene)]);

const sockets = (scene: Scene): Check => ({
  name: 'user sockets',
  fix: 'See: find /run -type s.',
  look: async (signal) => {
    const account = await judged(scene).catch(orUnseen);
    if (!scene.isRoot) throw new Skipped(ASK_AS_ROOT);
    const all = await socketsBelowRun(await hiddenPaths(scene, account, signal), signal);
    const who = await identityOf(account.osUser, account.uid, signal);
    const usable = await usableBy(who, all, signal);
    if (usable.length === 0) return ok(`none of ${all.length} sockets below /run is open to a group of "${account.osUser}"`);
    const more = usable.length > NAMED_MAX ? `, and ${usable.length - NAMED_MAX} more` : '';
    return warn(
      `"${account.osUser}" can use ${usable.slice(0, NAMED_MAX).join(', ')}${more}`,
      `A user of a socket of Docker, libvirt and the like can become root. Take "${account.osUser}" out of that group, deny the group in privhelper.toml (denied_groups), or hide the socket: InaccessiblePaths= in a drop-in of the executor's unit.`,
    );
  },
});

/** Below /run, what the unit of the executor does not show. */
async function hiddenPaths({ helper }: Scene, { osUser }: Account, signal: AbortSignal): Promise<string[]> {
  const { executor } = await helper();
  if (executor.launcher === 'direct') return [];
  const unit = await showUnit(`${executor.unit}${osUser}.service`, signal);
  if (unit.LoadState !== 'loaded') throw new Skipped('the unit cannot be loaded');
  const paths = `${unit.InaccessiblePaths} ${unit.TemporaryFileSystem}`
    .split(' ')
    .map((path) => path.replace(/^[-+]+/, '').replace(/:.*$/, ''));
  return paths.filter((path) => path === '/run' || path.startsWith('/run/'));
}

/** `/usr/bin/find /run … -type s -print0`. */
async function socketsBelowRun(hidden: readonly string[], signal: AbortSignal): Promise<string[]> {
  const prune = hidden.flatMap((path) => ['-path', path, '-prune', '-o']);
  const args = ['/run', '-maxdepth', `${DEPTH_MAX}`, ...prune, '-type', 's', '-print0'];
  const { exitCode, stdout } = await runCommand('/usr/bin/find', args, signal);
  if (exitCode === ENDED_BY_A_SIGNAL) throw new Skipped('the list of sockets is too long');
  // One name that is not UTF-8, or has an end of line, is nobody's to give away here.
  return stdout.split('\0').filter((path) => path !== '' && !/[\n\ufffd]/.test(path));
}

/** With how they are open. A socket can be used by who may write it, and enter every directory above. */
async function usableBy(who: Identity, paths: readonly string[], signal: AbortSignal): Promise<string[]> {
  const steps = new Map((await aclsOf([...new Set(paths.flatMap(stepsTo))], signal)).map((step) => [step.path, step]));
  return paths.flatMap((path) => {
    const socket = steps.get(path);
    const above = stepsTo(path).slice(0, -1);
    const isReached = above.every((directory) => {
      const step = steps.get(directory);
      return step !== undefined && may('x', step, who);
    });
    if (socket === undefined || !isReached || !may('w', socket, who)) return [];
    const isEverybodys = (socket.status.mode & WORLD_WRITES) !== 0;
    return isEverybodys && !MANAGERS.test(path) ? [] : [`${path} (${openedBy(socket, isEverybodys)})`];
  });
}

const openedBy = ({ status: { uid, gid, mode } }: Judged, isEverybodys: boolean) =>
  isEverybodys ? 'open to everybody' : `uid ${uid}, gid ${gid}, mode 0${mode.toString(8)}`;

const logins = (scene: Scene): Check => ({
  name: 'user logins',
  fix: 'See loginctl user-status NAME, and sshd -T as root.',
  look: async (signal) => {
    const account = await judged(scene).catch(orUnseen);
    await scene.underSystemd();
    if (!scene.isRoot) throw new Skipped(ASK_AS_ROOT);
    return (await lingering(account, signal)) ?? (await sshLogin(account, signal));
  },
});

const OUTSIDE = 'what is started there is outside of the unit: no limits, and it outlives the executor';

/** A manager of the user's own, which systemd has started for a login or without one. */
async function lingering({ osUser, uid }: Account, signal: AbortSignal): Promise<Verdict | undefined> {
  const isThere = await access(`${LINGER}/${osUser}`).then(
    () => true,
    () => false,
  );
  if (isThere) return warn(`systemd keeps a manager for "${osUser}" (linger): ${OUTSIDE}`, `loginctl disable-linger ${osUser}`);
  const { ActiveState } = await showUnit(`user@${uid}.service`, signal);
  if (ActiveState !== 'active') return undefined;
  return warn(
    `"${osUser}" is logged in, with user@${uid}.service: ${OUTSIDE}`,
    `loginctl terminate-user ${osUser}, and keep the account from logging in.`,
  );
}

async function sshLogin({ osUser, shell }: Account, signal: AbortSignal): Promise<Verdict> {
  if (/\/(nologin|false)$/.test(shell)) return ok(`"${osUser}" does not log in, with the shell ${shell}`);
  const states = await Promise.all(SSH_UNITS.map(async (unit) => (await showUnit(unit, signal)).ActiveState));
  if (!states.includes('active')) return ok(`no sshd runs here where "${osUser}" could log in`);
  const refused = await access(SSHD, constants.X_OK).then(
    () => refusedBySshd(SSHD, osUser, signal),
    () => undefined,
  );
  if (refused !== undefined) return ok(`sshd refuses "${osUser}" (${refused})`);
  return warn(
    `"${osUser}" may log in to localhost by sshd, with the shell ${shell}: ${OUTSIDE}`,
    `Users of kpx need no login here: DenyUsers or DenyGroups in sshd_config, or usermod --shell /usr/sbin/nologin ${shellWord(osUser)}.`,
  );
}
