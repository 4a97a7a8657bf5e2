import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const CHECKOUT = new URL('../', import.meta.url).pathname;
const EXIT_UNAVAILABLE = 69;
/** Nobody listens there. */
const ARCHIVE = 'http://127.0.0.1:9/debian';
/** What apt has of that archive from a time when it could be reached, by the names that apt gives it. */
const LISTS = {
  '127.0.0.1:9_debian_dists_trixie_Release': 'Origin: Debian\nLabel: Debian\nSuite: trixie\nCodename: trixie\n',
  '127.0.0.1:9_debian_dists_trixie_main_binary-amd64_Packages': 'Package: none\nVersion: 1\nArchitecture: all\n\n',
};

describe('a tree of Debian that is missing', () => {
  const directory = mkdtempSync('/tmp/kpx-debian-trees-');
  const checkout = join(directory, 'checkout');
  beforeAll(() => {
    for (const part of ['scripts', 'test/fixtures/debian', 'test/fixtures/booted'])
      cpSync(join(CHECKOUT, part), join(checkout, part), { recursive: true });
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  /** Makes one, by an apt that has `lists`. */
  function make(lists: Readonly<Record<string, string>>) {
    const apt = mkdtempSync(join(directory, 'apt-'));
    mkdirSync(join(apt, 'lists/partial'), { recursive: true });
    for (const [name, text] of Object.entries(lists)) writeFileSync(join(apt, 'lists', name), text);
    writeFileSync(join(apt, 'sources.list'), `deb [trusted=yes] ${ARCHIVE} trixie main\n`);
    const settings = { 'Dir::State::lists': `${apt}/lists/`, 'Dir::Etc::sourcelist': `${apt}/sources.list`, 'Dir::Etc::sourceparts': '-' };
    const more = { 'Dir::Cache::pkgcache': '', 'Dir::Cache::srcpkgcache': '', 'Acquire::Retries': '0' };
    const text = Object.entries({ ...settings, ...more }).map(([key, value]) => `${key} "${value}";\n`);
    writeFileSync(join(apt, 'apt.conf'), text.join(''));
    const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', APT_CONFIG: join(apt, 'apt.conf') };
    const { status, stderr } = spawnSync(process.execPath, ['scripts/debian-trees.mjs', 'debian13'], {
      cwd: checkout,
      env,
      encoding: 'utf8',
    });
    expect(readdirSync(join(checkout, 'dist/tools/debian'))).toEqual(['lock']);
    return { status, stderr };
  }

  it('is an error with its reason where the archive cannot be reached, and leaves nothing', () => {
    const { status, stderr } = make(LISTS);
    expect(stderr).toContain(`The tree of Debian's trixie cannot be made of ${ARCHIVE}/: mmdebstrap: exit code`);
    expect(stderr).toContain('Could not connect to 127.0.0.1:9');
    expect(status).toBe(EXIT_UNAVAILABLE);
  });

  it('is an error with what to do where apt knows of no archive', () => {
    const { status, stderr } = make({});
    expect(stderr).toContain('apt has no list of an archive of Debian: run apt-get update with a source of Debian.');
    expect(status).toBe(EXIT_UNAVAILABLE);
  });
});
