import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { DomainController } from '../fixtures/booted/domain-controller.js';
import { BROKER, SLICE, unitOf } from '../fixtures/booted/kpx.js';
import { BROKER_FLAGS } from '../fixtures/helper-installation.js';
import { HEAP_FLAG } from '../fixtures/kpx.js';
import { blocksOf } from '../fixtures/page.js';
import { HOST, HOST_NAME } from '../fixtures/virtual/disk.js';
import { VirtualScene } from './scene.js';

const MACHINE = 'KPX-HOST$';
const EXPORTS = '/srv/export';
const SET_UP_TIMEOUT_MS = 900_000;
const REFUSED = 'Permission denied';
const REFUSED_TO_ROOT =
  '/home/dave: EACCES, refused to root: by NFS with root_squash or sec=krb5, by FUSE, or by a mode without w (kerberos.md)';
/** Of an NFS mount: nobody waits for ever. */
const BOUNDED = 'softerr,timeo=100,retrans=3';
/** Accounts here and in the domain. */
const OF_DOMAIN = ['alice', 'bob', 'frank'];

let scene: VirtualScene;
beforeAll(async () => {
  scene = await VirtualScene.begin();
  await scene.addAccounts(...OF_DOMAIN, 'carol', 'dave', 'erin', 'gina', 'hank');
}, SET_UP_TIMEOUT_MS);
afterAll(() => scene?.end());
const shell = async (text: string) => (await scene.machine.run(['/bin/sh', '-e', '-u', '-c', text])).stdout;

describe('homes on NFS', () => {
  const HOMES = `${EXPORTS}/homes`;
  const mountHomes = async (rights: string) => {
    await shell(`mkdir --parents --mode=755 ${HOMES}; exportfs -o rw,sync,no_subtree_check,${rights} 127.0.0.1:${HOMES}`);
    await shell(`mount -t nfs4 -o ${BOUNDED} 127.0.0.1:${HOMES} /home`);
  };
  const makeHome = (user: string) => shell(`install --directory --owner=${user} --group=${user} --mode=700 ${HOMES}/${user}`);
  afterEach(async () => {
    await scene.machine.systemctl('stop', SLICE);
    await shell(`umount /home; exportfs -u 127.0.0.1:${HOMES}`);
  });

  it('are their users’ where they exist, and are waited for where root cannot make them', async () => {
    onTestFailed(() => scene.printJournal());
    await mountHomes('root_squash');
    await makeHome('carol');
    const seen = await scene.job('carol', 'touch ~/mine && stat --format="%U %a" ~/mine && stat --file-system --format=%T ~');
    expect(seen).toEqual({ exitCode: 0, output: 'carol 600\nnfs\n' });
    const job = await scene.publish('dave', 'stat --format=%U ~');
    await scene.kpx.helperSays({ os_user: 'dave', code: 'DIRECTORY_FAILED', reason: REFUSED_TO_ROOT });
    await makeHome('dave'); // on the file server
    expect(await scene.answer('dave', job)).toEqual({ exitCode: 0, output: 'dave\n' });
  });

  it('are made from the skeleton where root is root to the server', async () => {
    onTestFailed(() => scene.printJournal());
    await mountHomes('no_root_squash');
    expect(await scene.job('erin', 'stat --format="%U %a" ~ ~/.profile')).toEqual({ exitCode: 0, output: 'erin 700\nerin 644\n' });
  });
});

describe('memory', () => {
  const MIB = 1024 ** 2;

  it('is bounded for the heap of the broker by its unit', async () => {
    const { MemoryHigh = '', MemoryMax = '' } = await scene.machine.show(BROKER, 'MemoryHigh', 'MemoryMax');
    const limits = ['-p', `MemoryHigh=${MemoryHigh}`, '-p', `MemoryMax=${MemoryMax}`];
    const heap = ['/usr/bin/node', ...BROKER_FLAGS, '--print', 'v8.getHeapStatistics().heap_size_limit'];
    const inUnit = await scene.machine.run(['/usr/bin/systemd-run', '--quiet', '--wait', '--pipe', ...limits, '--', ...heap]);
    const asTestsHaveIt = await scene.machine.run([...heap.slice(0, 1), HEAP_FLAG, ...heap.slice(1)]);
    expect(Number(inUnit.stdout) / MIB).toBe(Number(asTestsHaveIt.stdout) / MIB);
  });

  it('beyond what an executor may have costs that executor alone; the broker says so, and the job is done once there is more', async () => {
    onTestFailed(() => scene.printJournal());
    const dropIn = `/etc/systemd/system/${unitOf('gina')}.d/10-memory.conf`;
    await scene.machine.writeFile(dropIn, '[Service]\nMemoryMax=150M\n');
    await scene.machine.systemctl('daemon-reload');
    expect(await scene.job('hank', 'true')).toMatchObject({ exitCode: 0 });
    const executor = await scene.machine.show(unitOf('hank'), 'MainPID');
    await scene.kpx.mark();
    const job = await scene.publish('gina', 'python3 -c "len(bytearray(400_000_000))"');
    const { reason } = await scene.kpx.brokerSays({ user: 'gina', state: 'backoff' });
    expect(reason).toContain('the executor ended soon after it was ready: signal SIGKILL (oom-kill)');
    expect(await scene.machine.show(unitOf('hank'), 'MainPID')).toEqual(executor);
    await scene.machine.remove(dropIn);
    await scene.machine.systemctl('daemon-reload');
    expect(await scene.answer('gina', job)).toMatchObject({ exitCode: 0 });
  });
});

describe('docs/kerberos.md: Drives that the kernel mounts, as it is written', () => {
  const written = (file: string) => {
    const block = blocksOf('docs/kerberos.md').find(({ text }) => text.startsWith(`# ${file}\n`));
    if (block === undefined) throw new Error(`docs/kerberos.md has no ${file}`);
    return block.text;
  };
  let controller: DomainController;

  beforeAll(async () => {
    controller = await DomainController.start();
    await DomainController.servesMachine(scene.machine);
    for (const user of OF_DOMAIN) {
      await controller.addUser(user);
      await controller.giveDirectory(user);
      await scene.machine.writeFile(`/etc/kpx/keytabs/${user}.keytab`, await controller.keytab(user), { mode: 0o600 });
    }
    await controller.addMachine(HOST.toUpperCase());
    await controller.tool('spn', 'add', `nfs/${HOST_NAME}`, MACHINE);
    await scene.machine.writeFile('/etc/krb5.keytab', await controller.keytab(MACHINE), { mode: 0o600 });
    await scene.machine.run(['/usr/bin/kpxctl', 'kerberos', 'setup', '--apply']);
  }, SET_UP_TIMEOUT_MS);
  afterAll(() => controller?.end());

  const mount = async (unit: string, values: Record<string, string>) => {
    const text = Object.entries(values).reduce((all, [word, value]) => all.replaceAll(word, value), written(`/etc/systemd/system/${unit}`));
    await scene.machine.writeFile(`/etc/systemd/system/${unit}`, text);
    await scene.machine.systemctl('daemon-reload');
    await scene.machine.systemctl('start', unit);
  };

  it('SMB: each user reaches what is theirs with their own ticket, and the server refuses what is another’s', async () => {
    onTestFailed(() => scene.printJournal());
    await mount('mnt-people.mount', { HOST$: MACHINE });
    for (const [user, other] of [
      ['alice', 'bob'],
      ['bob', 'alice'],
    ] as const) {
      const own = await scene.job(user, `cat /mnt/people/${user}/${user}.txt && echo new > /mnt/people/${user}/new`);
      expect(own).toMatchObject({ exitCode: 0, output: `of ${user}\n` });
      expect(controller.readShared(`${user}/new`)).toBe('new\n');
      expect(await scene.job(user, `cat /mnt/people/${other}/${other}.txt`)).toMatchObject({
        exitCode: 1,
        output: expect.stringContaining(REFUSED),
      });
    }
  });

  it('NFS: the same, and who has no ticket is nobody', async () => {
    onTestFailed(() => scene.printJournal());
    const projects = `${EXPORTS}/projects`;
    for (const user of ['alice', 'bob']) await shell(`install --directory --owner=${user} --group=${user} --mode=700 ${projects}/${user}`);
    await shell(
      `exportfs -o rw,sync,fsid=0,no_subtree_check,sec=krb5p:krb5 '*:${EXPORTS}'; exportfs -o rw,sync,no_subtree_check,sec=krb5p '*:${projects}'`,
    );
    await scene.machine.writeFile('/etc/gssproxy/40-kpx.conf', written('/etc/gssproxy/40-kpx.conf'));
    await shell(`sed -i 's/^\\[gssd\\]/&\\nuse-gss-proxy = 1/' /etc/nfs.conf; systemctl restart gssproxy.service rpc-gssd.service`);
    await mount('mnt-projects.mount', { 'nfs.corp.example': HOST_NAME });
    for (const [user, other] of [
      ['alice', 'bob'],
      ['bob', 'alice'],
    ] as const) {
      const own = await scene.job(user, `touch /mnt/projects/${user}/new && stat --format=%U /mnt/projects/${user}/new`);
      expect(own).toMatchObject({ exitCode: 0, output: `${user}\n` });
      expect(await scene.job(user, `ls /mnt/projects/${other}`)).toMatchObject({ exitCode: 2, output: expect.stringContaining(REFUSED) });
    }
    const withoutTicket = ['/usr/bin/setpriv', '--reuid=gina', '--regid=gina', '--clear-groups', '--', '/usr/bin/ls', '/mnt/projects'];
    const { stdout, stderr } = await scene.machine.run(withoutTicket, { allowFailure: true });
    expect(stdout).toBe('');
    expect(stderr).toMatch(/Permission denied|Stale file handle/);
  });

  it('NFS: a home that only its user’s ticket opens', async () => {
    onTestFailed(() => scene.printJournal());
    await shell(`install --directory --owner=frank --group=frank --mode=700 ${EXPORTS}/homes/frank
      exportfs -o rw,sync,no_subtree_check,root_squash,sec=krb5 '*:${EXPORTS}/homes'; mount -t nfs4 -o sec=krb5,${BOUNDED} ${HOST_NAME}:/homes /home`);
    expect(await scene.machine.run(['/usr/bin/ls', '/home/frank'], { allowFailure: true })).toMatchObject({
      stderr: expect.stringContaining(REFUSED),
    });
    expect(await scene.job('frank', 'touch ~/new && stat --format=%U ~/new')).toEqual({ exitCode: 0, output: 'frank\n' });
    await scene.machine.systemctl('stop', unitOf('frank'));
    await shell('umount /home');
  });
});
