import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect, it } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { HelperConnection } from '../fixtures/helper-connection.js';
import { checkout, helperFlags, idsOf, type Kpx, node } from '../fixtures/kpx.js';
import { isGone } from '../fixtures/process.js';
import { Terminal } from '../fixtures/terminal.js';
import { installKpx, runKpxctl } from './installed-kpx.js';

/*
 * A process that has root's terminal can type commands on it. So no program of kpx gives its terminal to what it starts, whoever that runs as.
 * Here each program runs on a real terminal, and each command that the sources name tells which terminal it has.
 */

const SOURCES = ['packages/privhelper/src', 'packages/broker/src', 'packages/kpxctl/src'];
const NONE = '0';

/** Every external command that stands in the sources and is installed here. */
function commandsInSources(): string[] {
  const files = SOURCES.flatMap((directory) =>
    readdirSync(join(checkout(), directory), { recursive: true, encoding: 'utf8' }).map((file) => join(checkout(), directory, file)),
  );
  const text = files.filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts')).map((file) => readFileSync(file, 'utf8'));
  const named = text.flatMap((code) => [...code.matchAll(/'(\/usr\/s?bin\/[a-z-]+)'/g)].map(([, path = '']) => path));
  return [...new Set(named)].filter((path) => existsSync(path)).sort();
}

interface Told {
  readonly command: string;
  /** As in proc_pid_stat(5), tty_nr: 0 is none. */
  readonly terminal: string;
  readonly uid: string;
}

/** A terminal, and what stands in front of a program so that the commands it runs tell of theirs. */
function watched(kpx: Kpx) {
  const [record, fakes, reals] = [join(kpx.etc, 'terminals'), join(kpx.etc, 'fakes'), join(kpx.etc, 'reals')];
  for (const directory of [fakes, reals]) mkdirSync(directory, { mode: 0o755 });
  writeFileSync(record, '');
  execFileSync('/usr/bin/chmod', ['0666', record]);
  const tell = (name: string) =>
    'read -r pid name state parent group session terminal rest </proc/$$/stat; ' +
    'while read -r key uid rest; do [ "$key" = Uid: ] && break; done </proc/$$/status; ' +
    `echo "${name} $terminal $uid" >>${record}`;
  const commands = commandsInSources();
  for (const command of commands) {
    const name = basename(command);
    copyFileSync(command, join(reals, name));
    writeFileSync(join(fakes, name), `#!/bin/sh\n${tell(name)}\nexec ${join(reals, name)} "$@"\n`, { mode: 0o755 });
  }
  const mounts = commands.map((command) => `/usr/bin/mount --bind ${join(fakes, basename(command))} ${command}`);
  const script = join(kpx.etc, 'watched.sh');
  writeFileSync(script, [...mounts, 'exec "$@"', ''].join('\n'));
  const told = (): Told[] =>
    readFileSync(record, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => {
        const [command = '', terminal = '', uid = ''] = line.split(' ');
        return { command, terminal, uid };
      });
  return {
    terminal: new Terminal(),
    run: ['/usr/bin/unshare', '--mount', '--', '/bin/sh', script],
    real: (name: string) => join(reals, name),
    told,
    tell,
    /** Has another script run in place of a command. */
    instead: (name: string, script: string) => writeFileSync(join(fakes, name), `#!/bin/sh\n${script}\n`),
    /** Of those that have told, each once. */
    names: () => [...new Set(told().map(({ command }) => command))].sort(),
    withTerminal: () => told().filter(({ terminal }) => terminal !== NONE),
    asUser: (name: string) => told().filter(({ uid }) => uid === `${idsOf(name).uid}`),
  };
}

const bundle = (name: string, ...args: string[]) => [node(), join(checkout(), name), ...args];

it('what a shell runs has the terminal, and tells so', async () => {
  const { terminal, run, told } = watched(await installKpx());
  terminal.type([...run, '/usr/bin/getent', 'passwd', 'root'].join(' '));
  await eventually('getent has told', () => told().length === 1);
  expect(told()).toEqual([{ command: 'getent', terminal: expect.stringMatching(/^[1-9]\d*$/), uid: '0' }]);
});

it('no child of the helper has a terminal', async () => {
  const kpx = await installKpx();
  const { terminal, run, names, tell, withTerminal } = watched(kpx);
  const executor = ['/bin/sh', '-c', `${tell('executor')}; exec sleep infinity`];
  kpx.writeHelperConfig({ accounts: { denied_groups: ['sudo'] }, executor: { command: executor } });
  const [start = '', ...rest] = bundle('packages/privhelper/dist/kpx-privhelper.cjs', '--config', kpx.configFile, '--listen', kpx.socket);
  terminal.type([...run, start, ...helperFlags(), ...rest].join(' '));
  await eventually('the helper listens', () => existsSync(kpx.socket));
  const connection = await HelperConnection.greeted(kpx.socket);
  expect(await connection.spawn('bob')).toMatchObject({ kind: 'executorSpawned' });
  const all = ['executor', 'getent', 'getfacl', 'id', 'setpriv'];
  await eventually('all have told', () => all.every((name) => names().includes(name)));
  expect(withTerminal()).toEqual([]);
});

it('no child of the broker has a terminal', async () => {
  const kpx = await installKpx({ broker: { policy: { rule: [{ name: 'science', groups: ['analysts'] }] } } });
  const { terminal, run, real, names, withTerminal } = watched(kpx);
  const { uid, gid } = idsOf('kpx-broker');
  const become = [real('setpriv'), `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--'];
  terminal.type([...run, ...become, ...bundle('packages/broker/dist/kpx-broker.cjs', '--config', kpx.brokerConfigFile)].join(' '));
  await eventually('the broker answers', () => existsSync(kpx.controlSocket));
  expect((await runKpxctl(['explain', 'bob', '--config', kpx.brokerConfigFile])).stdout).toContain('analysts');
  await eventually('its commands have told', () => ['getent', 'id'].every((name) => names().includes(name)));
  expect(withTerminal()).toEqual([]);
});

it.each<[verb: string, args: string[], expected: string[]]>([
  ['doctor', ['doctor', '--user', 'alice'], ['chroot', 'getent', 'id', 'setfacl', 'setpriv', 'stat', 'timedatectl']],
  ['orphans', ['orphans', '--size'], ['du', 'getent']],
  ['logs', ['logs', 'alice'], ['journalctl']],
])('no child of kpxctl %s has a terminal, and none runs as a user', async (_verb, args, expected) => {
  const kpx = await installKpx();
  execFileSync('/usr/bin/install', ['-d', '-o', '4242', join(kpx.workspaces, 'gone')]);
  const { terminal, run, names, withTerminal, asUser } = watched(kpx);
  const files = args[0] === 'logs' ? [] : ['--helper-config', kpx.configFile];
  const configs = args[0] === 'orphans' ? files : ['--config', kpx.brokerConfigFile, ...files];
  terminal.type(`${[...run, ...bundle('packages/kpxctl/dist/kpxctl.cjs', ...args, ...configs)].join(' ')}; echo "ended with $?"`);
  await terminal.shows('the end', (screen) => /ended with \d/.test(screen));
  expect(names()).toEqual(expect.arrayContaining(expected));
  expect(asUser('alice')).toEqual([]);
  expect(withTerminal()).toEqual([]);
});

it('Ctrl-C ends what kpxctl runs, too, although the terminal does not send it there', async () => {
  const kpx = await installKpx();
  execFileSync('/usr/bin/install', ['-d', '-o', '4242', join(kpx.workspaces, 'gone')]);
  const { terminal, run, instead } = watched(kpx);
  const pidFile = join(kpx.etc, 'pid');
  instead('du', `echo $$ >${pidFile}.new; mv ${pidFile}.new ${pidFile}; exec sleep infinity`);
  terminal.type([...run, ...bundle('packages/kpxctl/dist/kpxctl.cjs', 'orphans', '--size', '--helper-config', kpx.configFile)].join(' '));
  await eventually('du runs', () => existsSync(pidFile));
  terminal.press('C-c');
  await eventually('it is gone', () => isGone(Number(readFileSync(pidFile, 'utf8'))));
  terminal.type('echo "ended with $?"');
  await terminal.shows('the end', (screen) => screen.includes('ended with 130'));
});
