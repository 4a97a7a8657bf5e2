import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { lookAtSssd } from '../packages/kpxctl/src/name-service.js';
import { openTree } from './fixtures/debian/open-tree.js';
import { treesToTest } from './fixtures/debian/trees.mjs';
import { eventually } from './fixtures/eventually.js';
import { EmptyDirectory } from './fixtures/ldap-server.js';

/* What doctor and orphans learn of a real SSSD of a newer Debian. That of Debian 12: test/system/doctor.test.ts and orphans.test.ts. */

const CHROOT = '/usr/sbin/chroot';

/** Two domains, of which the second one needs a directory that is elsewhere. Its name has what SSSD escapes on its bus. */
const CONFIGURATION = (ldapPort: number) => `[sssd]
services = nss
domains = local, corp-1.example

[domain/local]
id_provider = proxy
proxy_lib_name = files
proxy_pam_target = other

[domain/corp-1.example]
id_provider = ldap
auth_provider = none
ldap_uri = ldap://127.0.0.1:${ldapPort}
ldap_search_base = dc=example
ldap_id_use_start_tls = false
offline_timeout = 1
offline_timeout_random_offset = 0
`;

/** SSSD ends its own processes one by one, on a machine that has other work. */
const END_TIMEOUT_MS = 60_000;

describe.each(treesToTest())('the SSSD of %s', async (name) => {
  const tree = openTree(name);
  const directory = await EmptyDirectory.listen();
  mkdirSync(join(tree.root, 'etc/sssd'), { recursive: true });
  writeFileSync(join(tree.root, 'etc/sssd/sssd.conf'), CONFIGURATION(directory.port), { mode: 0o600 });
  const sssd = spawn(CHROOT, [tree.root, '/usr/sbin/sssd', '--interactive'], { stdio: 'ignore' });
  const ended = once(sssd, 'exit');
  afterAll(async () => {
    sssd.kill('SIGTERM');
    await ended;
    await directory.close();
    tree.close();
  }, END_TIMEOUT_MS);
  const buses = join(tree.root, 'var/lib/sss/pipes/private');
  /** SSSD notices what has become of its directory when somebody asks for an account that it does not remember. */
  let asked = 0;
  const said = async () => {
    const getent = spawn(CHROOT, [tree.root, '/usr/bin/getent', 'passwd', `unheard-of-${++asked}`], { stdio: 'ignore' });
    await once(getent, 'exit'); // and not tree.run(), which would keep the directory from answering
    return await lookAtSssd(buses);
  };

  it('is said to reach its directories when it does', async () => {
    // On a slow machine SSSD can say so before it has asked its directory.
    await expect.poll(said).toEqual({ wrong: undefined, unsure: undefined });
    await expect.poll(() => directory.questions).toBeGreaterThan(0);
  });

  it('is said to be offline, and for which domain, when that one’s directory is gone', async () => {
    await directory.close();
    const why = 'SSSD is offline: it does not reach the directory of "corp-1.example"';
    expect(await eventually('it is offline', async () => (await said()).wrong)).toBe(why);
  });
});
