import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { privhelperConfigSchema as helperSchema, PROTOCOL_VERSION, parseConfig } from '@kpx/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { configSchema as brokerSchema } from '../packages/broker/src/config/config.js';

const root = new URL('..', import.meta.url).pathname;
const VERSION = '1.2.3~test1';
const BUILD_TIMEOUT_MS = 60_000;
/** The services' programs, and the operator's. */
const SERVICES = ['kpx-broker', 'kpx-privhelper'];
const PROGRAMS = [...SERVICES, 'kpxctl'];

const work = mkdtempSync(join(tmpdir(), 'kpx-package-test-'));
const tree = join(work, 'tree');
let first = '';
let second = '';

const run = (command: string, ...args: string[]) => execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const sha256 = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex');

/** The path that the script prints last. `npm test` has made the bundles; others are using them, so they stay as they are. */
function makePackage(output: string): string {
  const stdout = run(process.execPath, join(root, 'scripts/package.mjs'), '--no-build', '--version', VERSION, '--output', output);
  return stdout.trimEnd().split('\n').at(-1) ?? '';
}

beforeAll(() => {
  first = makePackage(join(work, 'first'));
  const umask = process.umask(0o077);
  second = makePackage(join(work, 'second'));
  process.umask(umask);
  run('dpkg-deb', '--raw-extract', first, tree);
}, BUILD_TIMEOUT_MS);
afterAll(() => rmSync(work, { recursive: true, force: true }));

const field = (name: string) => run('dpkg-deb', '--field', first, name).trim();
const inTree = (path: string) => readFileSync(join(tree, path), 'utf8');

/** Path → type, mode and owner, as `ls -l` shows them. */
function contents(): Map<string, string> {
  const lines = run('dpkg-deb', '--contents', first).trimEnd().split('\n');
  return new Map(
    lines.map((line) => {
      const [mode = '', owner = '', , , , path = ''] = line.split(/\s+/);
      return [path.replace(/^\.\//, '/'), `${mode} ${owner}`];
    }),
  );
}

describe('the Debian package', () => {
  it('is the same, byte by byte, when it is made again under another umask', () => {
    expect(second).not.toBe(first);
    expect(sha256(second)).toBe(sha256(first));
  });

  it('says what it is and what it needs', () => {
    const architecture = run('dpkg', '--print-architecture').trim();
    expect(first).toBe(join(work, `first/kpx_${VERSION}_${architecture}.deb`));
    expect([field('Package'), field('Version'), field('Architecture')]).toEqual(['kpx', VERSION, architecture]);
    expect(field('Maintainer')).toBe('kpx maintainers <maintainers@kpx.invalid>');
    const depends = field('Depends').split(', ');
    for (const needed of ['nodejs (>= 20.19)', 'systemd (>= 252)', 'acl']) expect(depends).toContain(needed);
    expect(depends.map((dependency) => dependency.split(' ')[0])).toEqual(expect.arrayContaining(['util-linux', 'libc-bin']));
    expect(Number(field('Installed-Size'))).toBeGreaterThan(1_000);
  });

  it('has every unit of systemd/, the accounts and directories, and the programs', () => {
    const files = contents();
    const units = readdirSync(join(root, 'systemd')).filter((name) => /\.(service|socket|slice)$/.test(name));
    expect(units.length).toBeGreaterThanOrEqual(5);
    for (const unit of units) {
      expect(files.get(`/usr/lib/systemd/system/${unit}`)).toBe('-rw-r--r-- root/root');
      expect(inTree(`usr/lib/systemd/system/${unit}`)).toBe(readFileSync(join(root, 'systemd', unit), 'utf8'));
    }
    for (const file of ['sysusers.d/kpx.conf', 'tmpfiles.d/kpx.conf', 'tmpfiles.d/kpx-temp.conf'])
      expect(files.get(`/usr/lib/${file}`)).toBe('-rw-r--r-- root/root');
    for (const schema of ['broker', 'privhelper']) expect(files.get(`/usr/share/kpx/${schema}.schema.json`)).toBe('-rw-r--r-- root/root');
    for (const program of PROGRAMS) expect(files.get(`/usr/lib/kpx/${program}.cjs`)).toBe('-rwxr-xr-x root/root');
  });

  it('belongs to root, and only root can write to it', () => {
    for (const [path, mode] of contents()) {
      expect([path, mode]).toEqual([path, expect.stringMatching(/ root\/root$/)]);
      if (!mode.startsWith('l')) expect([path, mode]).toEqual([path, expect.stringMatching(/^.rw.[r-]-.[r-]-. /)]);
    }
  });

  it('brings configurations that only the programs can read, and that dpkg leaves to the administrator', () => {
    const files = contents();
    expect(files.get('/etc/kpx/')).toBe('drwxr-xr-x root/root');
    expect(files.get('/etc/kpx/broker.toml')).toBe('-rw-r----- root/root');
    expect(files.get('/etc/kpx/privhelper.toml')).toBe('-rw------- root/root');
    const conffiles = ['/etc/kpx/broker.toml', '/etc/kpx/privhelper.toml', '/etc/logrotate.d/kpx', '/etc/pam.d/kpx-account'];
    expect(inTree('DEBIAN/conffiles').trimEnd().split('\n').sort()).toEqual(conffiles);
    parseConfig('broker.toml', inTree('etc/kpx/broker.toml'), brokerSchema);
    parseConfig('privhelper.toml', inTree('etc/kpx/privhelper.toml'), helperSchema);
  });

  it('brings the schemas that its configurations name', () => {
    for (const name of ['broker', 'privhelper']) {
      const [, schema = ''] = /^#:schema \/(\S+)\n/.exec(inTree(`etc/kpx/${name}.toml`)) ?? [];
      expect(JSON.parse(inTree(schema)).title).toBe(`/etc/kpx/${name}.toml of kpx`);
    }
  });

  it('brings the changelog, which begins with this version and with the wire that broker and helper speak now', () => {
    const changelog = inTree('usr/share/doc/kpx/CHANGELOG.md');
    const topmost = (heading: RegExp) => heading.exec(changelog)?.[1];
    expect(topmost(/^## (\S+)$/m)).toBe(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version);
    expect(topmost(/^### Wire version (\d+)$/m)).toBe(`${PROTOCOL_VERSION}`);
  });

  it('says nothing of the machine it was made on', () => {
    for (const path of readdirSync(tree, { recursive: true, encoding: 'utf8' })) {
      const file = join(tree, path);
      if (!statSync(file).isFile()) continue;
      const content = readFileSync(file);
      const text = (file.endsWith('.gz') ? gunzipSync(content) : content).toString('latin1');
      expect([path, text.includes(root) || text.includes(work) || text.includes('kpx-package-')]).toEqual([path, false]);
    }
  });

  it('has checksums of everything but the configuration', () => {
    const listed = inTree('DEBIAN/md5sums')
      .trimEnd()
      .split('\n')
      .map((line) => line.split('  '));
    for (const [sum, file = ''] of listed)
      expect([
        file,
        createHash('md5')
          .update(readFileSync(join(tree, file)))
          .digest('hex'),
      ]).toEqual([file, sum]);
    const regular = [...contents()].flatMap(([path, mode]) => (mode.startsWith('-') && !path.startsWith('/etc/') ? [path.slice(1)] : []));
    expect(listed.map(([, file]) => file).sort()).toEqual(regular.sort());
  });

  it('has scripts for dpkg that its shell can read', () => {
    for (const script of ['postinst', 'prerm', 'postrm']) {
      run('/bin/sh', '-n', join(tree, 'DEBIAN', script));
      expect(inTree(`DEBIAN/${script}`)).toMatch(/^#!\/bin\/sh\n/);
      expect(inTree(`DEBIAN/${script}`)).toMatch(/^set -e$/m);
    }
  });

  it('names no document or program of its own that is not in it', () => {
    const texts = ['DEBIAN/postinst', 'etc/kpx/broker.toml', 'etc/kpx/privhelper.toml'].map(inTree);
    const units = readdirSync(join(tree, 'usr/lib/systemd/system')).map((unit) => inTree(`usr/lib/systemd/system/${unit}`));
    const named = [...texts, ...units].flatMap((text) => text.match(/\/usr\/(share\/doc|share|lib)\/kpx[\w./-]*\w/g) ?? []);
    expect(named.length).toBeGreaterThan(2);
    expect(named.filter((path) => !existsSync(join(tree, path)))).toEqual([]);
  });

  it('passes on the licence of every npm package that is in a bundle, and no others', () => {
    const copyright = inTree('usr/share/doc/kpx/copyright');
    const bundles = PROGRAMS.map((program) => inTree(`usr/lib/kpx/${program}.cjs`)).join('\n');
    const bundled = [...bundles.matchAll(/^ *\/\/ node_modules\/((?:@[^/\n]+\/)?[^/\n]+)\//gm)].map(([, name]) => name);
    const listed = [...copyright.matchAll(/^Files: node_modules\/(.*)\/\*$/gm)].map(([, name]) => name);
    expect(listed).toEqual([...new Set(bundled)].sort());
    expect(listed).toContain('zod');
    // Paragraphs are kept apart by blank lines: one inside of a licence would end it.
    for (const paragraph of copyright.trimEnd().split('\n\n')) expect(paragraph).toMatch(/^(Format|Files|License): /);
  });
});

describe('its bill of materials', () => {
  const bill = () => JSON.parse(inTree('usr/share/doc/kpx/sbom.cdx.json'));
  /** The whole name, which CycloneDX has in parts. */
  const named = (type: RegExp) =>
    (bill().components as { 'bom-ref': string }[]).map((component) => component['bom-ref']).filter((ref) => type.test(ref));

  it('names exactly the runtime dependencies, each with its version', () => {
    const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { version?: string; dev?: true; link?: true }>;
    };
    const runtime = Object.entries(packages)
      .filter(([path, { dev, link }]) => path.startsWith('node_modules/') && !dev && !link && existsSync(join(root, path)))
      .map(([path, { version }]) => `${path.slice('node_modules/'.length)}@${version}`);
    expect(named(/^(?!@kpx\/)/).sort()).toEqual(runtime.sort());
    expect(named(/^(protobufjs|zod|amqplib)@/).length).toBe(3);
    expect(named(/^@kpx\//).length).toBe(4);
  });

  it('says of what they are that none of it has changed, and under which licence', () => {
    const { components, metadata } = bill();
    for (const component of components) {
      expect(component.licenses, component['bom-ref']).toHaveLength(1);
      if (!component['bom-ref'].startsWith('@kpx/')) expect(component, component['bom-ref']).toHaveProperty('hashes.0.alg', 'SHA-512');
    }
    expect(metadata.component).toMatchObject({ name: 'kpx', version: VERSION });
  });
});

describe.each([
  ['kpx-broker', 'usr/sbin'],
  ['kpx-privhelper', 'usr/sbin'],
  ['kpxctl', 'usr/bin'],
])('the packaged %s', (program, directory) => {
  it('runs from where it is installed, native part included', () => {
    // Bundles load the native part at once: without it there would be no help either.
    expect(run(process.execPath, join(tree, `usr/lib/kpx/${program}.cjs`), '--help')).toContain(`Usage: ${program} `);
    const [native = ''] = readdirSync(join(tree, 'usr/lib/kpx/node_modules'));
    expect(readdirSync(join(tree, 'usr/lib/kpx/node_modules', native))).toEqual(
      expect.arrayContaining([expect.stringMatching(/\.node$/), 'LICENSE', 'package.json']),
    );
  });

  it(`is in /${directory}, and run by the Node that the package depends on`, () => {
    expect(statSync(join(tree, directory, program)).ino).toBe(statSync(join(tree, `usr/lib/kpx/${program}.cjs`)).ino);
    expect(inTree(`${directory}/${program}`)).toMatch(/^#!(\/usr\/bin\/env -S )?\/usr\/bin\/node( |\n)/);
  });
});

describe.each(SERVICES)('the packaged %s', (program) => {
  it('has a manual page with the options that it has, exactly', () => {
    const help = run(process.execPath, join(tree, `usr/lib/kpx/${program}.cjs`), '--help');
    const options = [...help.matchAll(/^ {2}--([a-z-]+)/gm)].map(([, name]) => name);
    expect(options.length).toBeGreaterThan(2);
    const page = manualPage(8, program);
    const described = [...page.matchAll(/^\.It Fl Fl ([a-z-]+)/gm)].map(([, name]) => name);
    expect(described.sort()).toEqual(options.sort());
    const [, codes = ''] = /Exit codes: (.*)\./.exec(help) ?? [];
    for (const [code] of codes.matchAll(/\d+/g)) expect(page).toContain(`\n.It ${code}\n`);
  });
});

function manualPage(section: number, name: string): string {
  return gunzipSync(readFileSync(join(tree, `usr/share/man/man${section}/${name}.${section}.gz`))).toString('utf8');
}

/** Inode and contents of each bundle after a build that is started in `directory` under `umask`. */
function built(directory: string, umask: number) {
  const before = process.umask(umask);
  execFileSync(process.execPath, [join(root, 'scripts/build.mjs')], { cwd: directory, stdio: ['ignore', 'ignore', 'pipe'] });
  process.umask(before);
  const files = PROGRAMS.map((program) => join(root, `packages/${program.replace('kpx-', '')}/dist/${program}.cjs`));
  return files.map((file) => ({ inode: statSync(file).ino, mode: statSync(file).mode & 0o777, sha256: sha256(file) }));
}

it(
  'npm run build gives the same bundles, byte by byte, again and from anywhere',
  () => {
    const first = built(root, 0o022);
    const second = built(tmpdir(), 0o077);
    expect(second.map(({ sha256 }) => sha256)).toEqual(first.map(({ sha256 }) => sha256));
    expect(new Set(second.map(({ mode }) => mode))).toEqual(new Set([0o755]));
    for (const [index, { inode }] of first.entries()) expect(second[index]?.inode).not.toBe(inode); // made again, indeed
  },
  BUILD_TIMEOUT_MS,
);
