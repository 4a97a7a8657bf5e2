import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { idsOf, type Kpx, node } from '../fixtures/kpx.js';

export interface Check {
  readonly what: string;
  readonly held: boolean;
  /** What was found, for people. */
  readonly seen: string;
}

const ACCOUNTS = ['alice', 'bob', 'carol'];
const PRIVATE_ACL = 'user::rwx group::--- other::--- default:user::rwx default:group::--- default:other::---';

/** Looks at the running executors from outside (/proc, getfacl), then tries to get at one user's things as another user. */
export async function isolationChecks(kpx: Kpx): Promise<Check[]> {
  return [
    ...ACCOUNTS.flatMap((account) => [identity(kpx, account), ...confinement(kpx, account), directories(kpx, account)]),
    ...intrusions(kpx),
  ];
}

const pidOf = (kpx: Kpx, account: string) => kpx.done(account)[0]?.pid ?? 0;

function statusOf(pid: number): Record<string, string> {
  const lines = readFileSync(`/proc/${pid}/status`, 'utf8').trimEnd().split('\n');
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]));
}

function identity(kpx: Kpx, account: string): Check {
  const { uid, gid } = idsOf(account);
  const groups = execFileSync('/usr/bin/id', ['-G', account], { encoding: 'utf8' }).trim().split(' ').sort().join(' ');
  const status = statusOf(pidOf(kpx, account));
  const found = { Uid: status.Uid, Gid: status.Gid, Groups: status.Groups?.split(' ').sort().join(' ') };
  const held = found.Uid === Array(4).fill(uid).join('\t') && found.Gid === Array(4).fill(gid).join('\t') && found.Groups === groups;
  const names = execFileSync('/usr/bin/id', ['-Gn', account], { encoding: 'utf8' }).trim();
  return { what: `${account}'s executor has the account's uid, gid and groups`, held, seen: `${uid}, ${gid}, ${names}` };
}

function confinement(kpx: Kpx, account: string): Check[] {
  const pid = pidOf(kpx, account);
  const status = statusOf(pid);
  const sets = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'];
  const inherited = readdirSync(`/proc/${pid}/fd`)
    .map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
    .filter((target) => target.includes('privhelper') || (target.startsWith('socket:') && socketsOf(kpx.helper?.pid).has(target)));
  const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  const names = environment.map((entry) => entry.split('=')[0]).filter((name) => name && !name.startsWith('KPX_STANDIN_'));
  return [
    {
      what: `${account}'s executor has no capability and cannot gain one`,
      held: sets.every((set) => /^0+$/.test(status[set] ?? '')) && status.NoNewPrivs === '1',
      seen: `CapBnd ${status.CapBnd}, NoNewPrivs ${status.NoNewPrivs}`,
    },
    { what: `${account}'s executor has no descriptor of the helper`, held: inherited.length === 0, seen: inherited.join(' ') },
    {
      what: `${account}'s executor has an environment from scratch`,
      held: !names.includes('KPX_CANARY') && names.length === 13,
      seen: `${names.length} variables, HOME=${environment.find((entry) => entry.startsWith('HOME='))?.slice(5)}`,
    },
  ];
}

const socketsOf = (pid: number | undefined) => new Set(readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`)));

function directories(kpx: Kpx, account: string): Check {
  const { uid } = idsOf(account);
  const paths = [`${kpx.workspaces}/${account}`, `${kpx.temps}/${account}`];
  const options = ['--omit-header', '--absolute-names', '--no-effective'];
  const acls = paths.map((path) =>
    execFileSync('/usr/bin/getfacl', [...options, path], { encoding: 'utf8' })
      .trim()
      .split('\n')
      .join(' '),
  );
  const privately = [...paths, `/home/${account}`].every((path) => statSync(path).uid === uid && (statSync(path).mode & 0o7777) === 0o700);
  const held = privately && acls.every((acl) => acl === PRIVATE_ACL);
  return {
    what: `${account}'s home, workspace and temp are 0700 and theirs`,
    held,
    seen: `default ACL ${acls[0]?.split(' ').slice(3).join(' ').replaceAll('default:', '')}`,
  };
}

/** What bob tries at alice, and what her executor could try at kpx: each must fail with a refusal. */
function intrusions(kpx: Kpx): Check[] {
  const pid = pidOf(kpx, 'alice');
  const attempts: [what: string, as: string, path: string][] = [
    ["alice's workspace", 'bob', `${kpx.workspaces}/alice/started.json`],
    ["alice's temp directory", 'bob', `${kpx.temps}/alice/x`],
    ["alice's home", 'bob', '/home/alice/.profile'],
    ["the environment of alice's executor, with RabbitMQ's password", 'bob', `/proc/${pid}/environ`],
    ["the helper's configuration", 'alice', `${kpx.etc}/privhelper.toml`],
    ["the file with the executors' RabbitMQ password", 'alice', `${kpx.etc}/executor-msgq`],
    ["the broker's RabbitMQ password", 'alice', `${kpx.etc}/amqp-password`],
    ["the helper's socket", 'alice', kpx.socket],
  ];
  const own = openAs('bob', `${kpx.workspaces}/bob/started.json`);
  const control = { what: 'bob can open his own workspace, so that the attempts below mean something', held: own === 'opened', seen: own };
  const refusals = attempts.map(([what, as, path]) => {
    const answer = openAs(as, path);
    return { what: `${as} cannot open ${what}`, held: answer === 'EACCES', seen: answer };
  });
  return [control, ...refusals];
}

/** Opens a file (or connects to a socket) for reading under another account; answers the error's code. */
function openAs(account: string, path: string): string {
  const { uid, gid } = idsOf(account);
  const program =
    "try { require('fs').accessSync(process.argv[1], 4); require('fs').openSync(process.argv[1]); console.log('opened') } catch (e) { console.log(e.code) }";
  const { stdout } = spawnSync(node(), ['-e', program, path], { uid, gid, encoding: 'utf8', env: {}, cwd: '/' });
  return stdout.trim();
}
