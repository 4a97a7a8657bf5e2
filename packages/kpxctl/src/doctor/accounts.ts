import type { Account } from '@kpx/privhelper/accounts';
import { hasHome } from '@kpx/privhelper/directories';
import { runCommand } from '@kpx/privhelper/system/command';
import { lookUpAccount } from '@kpx/privhelper/system/name-service';
import { KpxError, type OsUser } from '@kpx/protocol';
import { lookAtNameService } from '../name-service.js';
import { identityOf } from './access.js';
import { type Check, ok, Skipped, warn } from './check.js';
import { chain } from './file-system.js';
import { whyNotExecutable } from './may-execute.js';
import { BROKER_ACCOUNT, type Scene } from './scene.js';
import { programOf, showUnit } from './systemd.js';

/** Accounts: the broker's own, the name service, and that of the user in --user. */
export const accountChecks = (scene: Scene): Check[] => [
  brokerAccount(scene),
  nameService(),
  ...(scene.user === undefined ? [] : [account(scene), home(scene), existing(scene), mayRun(scene)]),
];

const brokerAccount = ({ brokerAccount }: Scene): Check => ({
  name: 'broker account',
  fix: 'systemd-sysusers kpx.conf',
  look: async () => {
    const { uid, shell } = await brokerAccount().catch((error: Error) => {
      throw new Error(error.message);
    });
    if (uid === 0) throw new Error(`${BROKER_ACCOUNT} has the uid of root`);
    if (!/\/(nologin|false)$/.test(shell))
      return warn(`${BROKER_ACCOUNT} may log in, with ${shell}`, `usermod --shell /usr/sbin/nologin ${BROKER_ACCOUNT}`);
    return ok(`${BROKER_ACCOUNT} has the uid ${uid}, and does not log in`);
  },
});

const nameService = (): Check => ({
  name: 'name service',
  fix: 'See systemctl status sssd, journalctl -u sssd, and getent passwd NAME for somebody who must be known.',
  look: async (signal) => {
    const { sources, wrong, unsure } = await lookAtNameService(signal);
    if (!(await lookUpAccount('root', signal))) throw new Error('even root is unknown');
    if (wrong !== undefined) throw new Error(`${wrong}: accounts of a directory are unknown`);
    return ok(`accounts are from: ${sources.join(', ')}${unsure === undefined ? '' : ` (${unsure})`}`);
  },
});

/** Throws an Error with the helper's words. */
export async function judged({ account }: Scene): Promise<Account> {
  const found = await account();
  if (found === undefined) throw new Skipped('nobody was asked about');
  return found;
}

/** For checks after the one that says so. */
export const orUnseen = (error: unknown) => {
  throw error instanceof KpxError ? new Skipped('there is no account that may have an executor') : error;
};

const account = (scene: Scene): Check => ({
  name: 'user account',
  fix: 'getent passwd NAME and id NAME must answer here, with a uid from min_uid on; [accounts] in privhelper.toml says who is denied, and [accounts.map] is for KNIME names that are not the account\'s (install.md, "Accounts").',
  look: async () => {
    const { osUser, uid, knimeUsers } = await judged(scene);
    return ok(`"${osUser}", uid ${uid}, may have an executor, for the KNIME users ${knimeUsers.join(', ')}`);
  },
});

const home = (scene: Scene): Check => ({
  name: 'user home',
  fix: "It must be below one of directories.home_parents, and the account's own; a missing one is made when create_home is on, in a directory that is there and that only root can change.",
  look: async (signal) => {
    const account = await judged(scene).catch(orUnseen);
    const { directories } = await scene.helper();
    // First, as it gives up on a file server that does not answer.
    await chain(account.home, signal);
    return ok((await hasHome(account, directories)) ? `${account.home} is there` : `${account.home} will be made`);
  },
});

const existing = (scene: Scene): Check => ({
  name: 'user directories',
  fix: "Something else is where the user's directory should be, of an account that is gone perhaps: look at it (kpxctl orphans), and move or remove it.",
  look: async (signal) => {
    const { osUser, uid } = await judged(scene).catch(orUnseen);
    const { workspace_parent, temp_parent } = (await scene.helper()).directories;
    for (const path of [`${workspace_parent}/${osUser}`, `${temp_parent}/${osUser}`]) {
      const found = (await chain(path, signal)).at(-1)?.found;
      if (found !== undefined && found.type !== 'directory') throw new Error(`${path} is a ${found.type}`);
      if (found !== undefined && found.uid !== uid) throw new Error(`${path} belongs to uid ${found.uid}, expected ${uid}`);
    }
    return ok(`workspace and temp directory are the account's, or will be made`);
  },
});

const mayRun = (scene: Scene): Check => ({
  name: 'user may run the executor',
  fix: 'The program and all directories above it must be readable and executable for the account: runuser -u NAME -- PROGRAM -version.',
  look: async (signal) => {
    const account = await judged(scene).catch(orUnseen);
    const { osUser, uid } = account;
    const program = await programFor(scene, osUser, signal);
    const denied = await whyNotExecutable(program, await identityOf(osUser, uid, signal), signal);
    const why = denied === 'elsewhere' ? await tried(program, account, signal) : denied;
    if (why !== undefined) throw new Error(`${osUser} may not execute ${program}: ${why}`);
    return ok(`${osUser} may execute ${program}`);
  },
});

/** `/usr/bin/setpriv … -- /usr/bin/test -x PROGRAM`: only the server of a network file system knows, and it answers the account alone. */
async function tried(program: string, { uid, gid }: Account, signal: AbortSignal): Promise<string | undefined> {
  const drop = ['--reuid', `${uid}`, '--regid', `${gid}`, '--init-groups', '--no-new-privs', '--inh-caps=-all'];
  const { exitCode, stderr } = await runCommand('/usr/bin/setpriv', [...drop, '--', '/usr/bin/test', '-x', program], signal);
  return exitCode === 0 ? undefined : stderr || 'its file server denies it';
}

async function programFor({ helper }: Scene, osUser: OsUser, signal: AbortSignal): Promise<string> {
  const { executor } = await helper();
  if (executor.launcher === 'direct') return executor.command[0] ?? '';
  const program = programOf(await showUnit(`${executor.unit}${osUser}.service`, signal));
  if (program === undefined) throw new Skipped('the unit names no program');
  const found = (await chain(program, signal)).at(-1)?.found;
  if (found === undefined) throw new Skipped(`${program} does not exist`);
  return program;
}
