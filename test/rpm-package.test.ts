import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTree } from './fixtures/debian/open-tree.js';

const root = new URL('..', import.meta.url).pathname;
const VERSION = '1.2.3~test1';
const NEWER = '1.2.3';
const BUILD_TIMEOUT_MS = 60_000;
const ARCHIVE_BYTES_MAX = 64 * 1024 * 1024;
const EXIT_UNAVAILABLE = 69;
/** As `ls -l` shows them. */
const FILES = '[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILENAMES}\n]';

const work = mkdtempSync(join(tmpdir(), 'kpx-rpm-test-'));
let first = '';
let second = '';
let newer = '';
let deb = '';

const run = (command: string, ...args: string[]) => execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const sha256 = (content: Buffer) => createHash('sha256').update(content).digest('hex');
const query = (format: string) => run('rpm', '--query', '--package', '--queryformat', format, first);
const lines = (text: string) => text.split('\n').filter(Boolean);

/** `npm test` has made the bundles; others are using them, so they stay as they are. */
function makePackages(args: string[], env: NodeJS.ProcessEnv = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'scripts/package.mjs'), '--no-build', ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  return { status, files: lines(stdout), stderr };
}

beforeAll(() => {
  [first = '', deb = ''] = makePackages(['--version', VERSION, '--output', join(work, 'first')]).files;
  const umask = process.umask(0o077);
  [second = ''] = makePackages(['--rpm', '--version', VERSION, '--output', join(work, 'second')]).files;
  process.umask(umask);
  [newer = ''] = makePackages(['--rpm', '--version', NEWER, '--output', join(work, 'newer')]).files;
}, BUILD_TIMEOUT_MS);
afterAll(() => rmSync(work, { recursive: true, force: true }));

const archive = () => execFileSync('rpm2cpio', [first], { maxBuffer: ARCHIVE_BYTES_MAX });

/** Path → type, mode and owner. */
function filesOfRpm(): Map<string, string> {
  return new Map(lines(query(FILES)).map((line) => [line.split(' ').slice(2).join(' '), line.split(' ').slice(0, 2).join(' ')]));
}

function filesOfDeb(): Map<string, string> {
  const listed = lines(run('dpkg-deb', '--contents', deb)).map((line) => line.split(/\s+/));
  return new Map(
    listed.map(([mode = '', owner = '', , , , path = '']) => [path.replace(/^\./, '').replace(/(.)\/$/, '$1'), `${mode} ${owner}`]),
  );
}

describe('npm run package', () => {
  it('makes both packages, the .deb last, each under the name that its system gives it', () => {
    const architecture = query('%{ARCH}');
    expect(first).toBe(join(work, `first/kpx-${VERSION}-1.${architecture}.rpm`));
    expect(deb).toBe(join(work, `first/kpx_${VERSION}_${run('dpkg', '--print-architecture').trim()}.deb`));
    expect(readdirSync(join(work, 'second'))).toEqual([`kpx-${VERSION}-1.${architecture}.rpm`]);
  });

  it('makes the one whose tool is there, and says why it leaves out the other; of one that is asked for it is an error', () => {
    const directory = join(work, 'tools');
    mkdirSync(directory);
    for (const tool of ['git', 'dpkg-deb', 'npm', 'node', 'tar']) symlinkSync(run('which', tool).trim(), join(directory, tool));
    const env = { PATH: directory };
    const both = makePackages(['--version', VERSION, '--output', join(work, 'tools-both')], env);
    expect(both).toMatchObject({ status: 0, files: [expect.stringMatching(/\.deb$/)] });
    expect(both.stderr).toContain('No .rpm is made: rpmbuild is missing');
    const rpm = makePackages(['--rpm', '--version', VERSION, '--output', join(work, 'tools-rpm')], env);
    expect(rpm).toMatchObject({ status: EXIT_UNAVAILABLE, files: [] });
    expect(rpm.stderr).toContain('rpmbuild is missing');
  });
});

describe('the .rpm', () => {
  it('is the same, byte by byte, when it is made again under another umask', () => {
    expect(sha256(readFileSync(second))).toBe(sha256(readFileSync(first)));
  });

  it('says what it is, and what it needs by the names that Fedora and RHEL have', () => {
    const [name, version, license] = query('%{NAME}\n%{VERSION}\n%{LICENSE}').split('\n');
    expect([name, version, license]).toEqual(['kpx', VERSION, 'Apache-2.0 AND BSD-3-Clause AND MIT']);
    const requires = lines(run('rpm', '--query', '--package', '--requires', first));
    const needed = [
      'nodejs(engine) >= 20.19',
      'systemd >= 252',
      'acl',
      'util-linux',
      'findutils',
      'coreutils',
      'glibc-common',
      '/usr/bin/node',
    ];
    expect(requires).toEqual(expect.arrayContaining(needed));
    // Its native part is for one architecture, and nobody else's library.
    expect(query('%{ARCH}')).toBe({ x64: 'x86_64', arm64: 'aarch64' }[process.arch as 'x64']);
    expect(requires.filter((requirement) => requirement.startsWith('libc.so.6')).length).toBeGreaterThan(0);
    const provides = lines(run('rpm', '--query', '--package', '--provides', first));
    expect(provides.filter((provided) => provided.includes('.so') || provided.includes('.node'))).toEqual([]);
    expect(provides).toContainEqual(expect.stringMatching(/^bundled\(npm\(zod\)\) = \d/));
  });

  it('gives rpmlint nothing to say', () => {
    const { status, stdout } = spawnSync('rpmlint', ['--strict', '--config', join(root, 'systemd/rpm/rpmlint.toml'), first], {
      encoding: 'utf8',
    });
    expect(stdout).toContain('0 errors, 0 warnings');
    expect(status).toBe(0);
  });

  it('brings the files of the .deb in the same places, with the same contents, modes and owners, but for what is Debian’s or Fedora’s own', () => {
    const onlyDeb = ['/usr/share/doc/kpx/changelog.gz', '/usr/share/doc/kpx/copyright', '/usr/share/lintian/overrides/kpx'];
    const onlyRpm = ['/usr/share/licenses/kpx/LICENSE', '/usr/share/licenses/kpx/bundled.txt', '/usr/share/zsh/site-functions/_kpxctl'];
    const [rpm, debian] = [filesOfRpm(), filesOfDeb()];
    const notDirectories = (files: Map<string, string>) => [...files].filter(([, what]) => !what.startsWith('d')).map(([path]) => path);
    const differing = notDirectories(rpm).filter((path) => !debian.has(path));
    expect(differing.sort()).toEqual(onlyRpm);
    const missing = notDirectories(debian).filter((path) => !rpm.has(path));
    expect(missing.sort()).toEqual([...onlyDeb, '/usr/share/zsh/vendor-completions/_kpxctl']);
    const others = [...rpm].filter(([path]) => debian.has(path));
    // postinst of the .deb gives it to the group, which an rpm can name.
    const ofGroup = '/etc/kpx/broker.toml';
    expect(rpm.get(ofGroup)).toBe('-rw-r----- root/kpx-broker');
    expect(others.filter(([path, what]) => path !== ofGroup && debian.get(path) !== what)).toEqual([]);
    expect(others.length).toBeGreaterThan(40);

    const tree = join(work, 'deb');
    run('dpkg-deb', '--extract', deb, tree);
    const digests = lines(query('[%{FILEDIGESTS} %{FILENAMES}\n]')).map((line) => line.split(' '));
    const compared = digests.filter(([digest = '', path = '']) => digest !== '' && existsSync(join(tree, path)));
    expect(compared.length).toBeGreaterThan(30);
    // Each has the name of its own system's stack in it.
    const alike = compared.filter(([, path]) => path !== '/etc/pam.d/kpx-account');
    for (const [digest, path = ''] of alike) expect([path, digest]).toEqual([path, sha256(readFileSync(join(tree, path)))]);
  });

  it('owns its own directories, and none that others have, too', () => {
    const directories = [...filesOfRpm()].filter(([, what]) => what.startsWith('d'));
    expect(directories).toContainEqual(['/etc/kpx', 'drwxr-xr-x root/root']);
    expect(directories.map(([path]) => path).filter((path) => !path.split('/').includes('kpx'))).toEqual([]);
  });

  it('leaves the configuration to the administrator', () => {
    const configured = lines(run('rpm', '--query', '--package', '--configfiles', first));
    expect(configured.sort()).toEqual([
      '/etc/kpx/broker.toml',
      '/etc/kpx/privhelper.toml',
      '/etc/logrotate.d/kpx',
      '/etc/pam.d/kpx-account',
    ]);
  });

  it('passes on the licence of each npm package that it brings', () => {
    const provides = lines(run('rpm', '--query', '--package', '--provides', first));
    const bundled = provides.flatMap((provided) => /^bundled\(npm\((.*)\)\) = (.*)$/.exec(provided)?.slice(1).join(' ') ?? []);
    const texts = execFileSync('cpio', ['--extract', '--quiet', '--to-stdout', './usr/share/licenses/kpx/bundled.txt'], {
      input: archive(),
      encoding: 'utf8',
    });
    expect(bundled.length).toBeGreaterThan(10);
    expect(bundled.filter((name) => !texts.includes(`${name} (`))).toEqual([]);
  });

  it('says nothing of the machine it was made on', () => {
    for (const text of [archive().toString('latin1'), run('rpm', '--query', '--package', '--dump', '--info', '--scripts', first)])
      expect(text.includes(root) || text.includes(work) || text.includes('kpx-package-')).toBe(false);
    expect(query('%{BUILDHOST}')).toBe('localhost');
  });
});

/**
 * What is said of Debian, and not of the package: by its rpm; by rpm 4.20, whose plugin for private mounts does not know --root; by SSSD, which is
 * there and not configured, when rpm 4.20 makes the account with useradd.
 */
const SAID_OF_DEBIAN =
  /^(rpm: (RPM should not be used|However assuming)|warning: private mounts in chroot|\[sss_cache\]|Can't find configuration db, was SSSD)/;

describe('rpm --root, in a tree of Debian', () => {
  const tree = openTree('debian13');
  afterAll(() => tree.close());
  /** Debian's rpm keeps its records in root's home, and knows nothing of what dpkg has installed. */
  const inTree = ['--root', tree.root, '--dbpath', '/var/lib/rpm'];
  const rpm = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync('rpm', [...inTree, ...args], { encoding: 'utf8' });
    const said = lines(stdout + stderr).filter((line) => !SAID_OF_DEBIAN.test(line));
    return { status, said };
  };
  const at = (path: string) => join(tree.root, path);
  const status = (...paths: string[]) => lines(tree.run('/usr/bin/stat', '--format=%a %U:%G %n', ...paths));
  const enabled = () => tree.run('/usr/bin/systemctl', 'is-enabled', 'kpx-broker.service', 'kpx-privhelper.socket');
  const CONFIGURATION = ['640 root:kpx-broker /etc/kpx/broker.toml', '600 root:root /etc/kpx/privhelper.toml'];
  const ADMINS = '# An admin’s own line.\n';

  it('installs it: the account, the directories, the configuration for those who may read it; nothing is enabled', () => {
    // As on Fedora and RHEL.
    mkdirSync(at('usr/lib/systemd/system-preset'), { recursive: true });
    writeFileSync(at('usr/lib/systemd/system-preset/99-default-disable.preset'), 'disable *\n');
    const { status: exitCode, said } = rpm('--install', '--nodeps', first);
    expect({ exitCode, said: said.filter((line) => !line.startsWith('Creating ')) }).toEqual({ exitCode: 0, said: [] });
    expect(tree.run('/usr/bin/getent', 'passwd', 'kpx-broker')).toMatch(
      /^kpx-broker:x:\d+:\d+:kpx broker:\/nonexistent:\/usr\/sbin\/nologin\n$/,
    );
    expect(tree.run('/usr/bin/getent', 'group', 'kpx-admin')).toMatch(/^kpx-admin:/);
    expect(status('/etc/kpx/broker.toml', '/etc/kpx/privhelper.toml')).toEqual(CONFIGURATION);
    expect(status('/run/kpx', '/run/kpx-broker', '/srv/kpx/workspaces')).toEqual([
      '755 root:root /run/kpx',
      '2710 kpx-broker:kpx-admin /run/kpx-broker',
      '755 root:root /srv/kpx/workspaces',
    ]);
    expect(status('/etc/kpx/job-mac-key')).toEqual(['600 root:root /etc/kpx/job-mac-key']);
    expect(readFileSync(at('etc/kpx/job-mac-key'))).toHaveLength(32);
    expect(enabled()).toBe('disabled\ndisabled\n');
    expect(rpm('--verify', '--nodeps', 'kpx')).toEqual({ status: 0, said: [] });
    expect(tree.run('/usr/sbin/kpx-broker', '--help')).toContain('Usage: kpx-broker ');
    expect(readlinkSync(at('usr/bin/kpxctl'))).toBe('../lib/kpx/kpxctl.cjs');
  });

  it('upgrades it: what an admin has changed and enabled stays so', () => {
    tree.run('/usr/bin/systemctl', 'enable', 'kpx-broker.service');
    writeFileSync(at('etc/kpx/broker.toml'), ADMINS, { flag: 'a' });
    writeFileSync(at('etc/kpx/amqp-password'), 'secret\n');
    chmodSync(at('etc/kpx/amqp-password'), 0o600);
    const key = readFileSync(at('etc/kpx/job-mac-key'));
    expect(rpm('--upgrade', '--nodeps', newer)).toEqual({ status: 0, said: [] });
    expect(readFileSync(at('etc/kpx/job-mac-key'))).toEqual(key);
    expect(rpm('--query', '--queryformat', '%{VERSION}\n', 'kpx').said).toEqual([NEWER]);
    expect(readFileSync(at('etc/kpx/broker.toml'), 'utf8')).toContain(ADMINS);
    expect(status('/etc/kpx/broker.toml', '/etc/kpx/privhelper.toml')).toEqual(CONFIGURATION);
    expect(enabled()).toBe('enabled\nenabled\n');
  });

  it('goes back to the version before, and makes a key that a full disk has left empty', () => {
    writeFileSync(at('etc/kpx/job-mac-key'), '');
    expect(rpm('--upgrade', '--oldpackage', '--nodeps', first)).toEqual({ status: 0, said: [] });
    expect(readFileSync(at('etc/kpx/job-mac-key'))).toHaveLength(32);
    expect(rpm('--query', '--queryformat', '%{VERSION}\n', 'kpx').said).toEqual([VERSION]);
    expect(readFileSync(at('etc/kpx/broker.toml'), 'utf8')).toContain(ADMINS);
    expect(enabled()).toBe('enabled\nenabled\n');
  });

  it('removes it: the account, secrets, users’ directories and a changed configuration stay, links of systemctl enable do not', () => {
    expect(rpm('--erase', 'kpx')).toEqual({ status: 0, said: ['warning: /etc/kpx/broker.toml saved as /etc/kpx/broker.toml.rpmsave'] });
    for (const gone of ['usr/lib/kpx', 'usr/share/doc/kpx', 'usr/share/licenses/kpx', 'run/kpx', 'run/kpx-broker'])
      expect(existsSync(at(gone))).toBe(false);
    expect(readdirSync(at('etc/kpx')).sort()).toEqual(['amqp-password', 'broker.toml.rpmsave', 'job-mac-key']);
    expect(readdirSync(at('srv/kpx')).sort()).toEqual(['temp', 'workspaces']);
    expect(tree.run('/usr/bin/getent', 'passwd', 'kpx-broker')).toMatch(/^kpx-broker:/);
    expect(lines(tree.run('/usr/bin/find', '/etc/systemd/system', '-name', 'kpx-*'))).toEqual([]);
  });
});
