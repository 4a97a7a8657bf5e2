import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { withChannel } from '../fixtures/amqp.js';
import { eventually } from '../fixtures/eventually.js';
import { freePorts } from '../fixtures/free-ports.js';
import { jobOf } from '../fixtures/jobs.js';
import type { Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { scrape } from '../fixtures/scrape.js';
import { accountsIn, asExecutor, letLook, managementWay, nameOf, startAccountsRabbitmq, takeClient } from '../fixtures/sealed-accounts.js';
import { installKpx, jobsDone, publish, runKpxctl } from './installed-kpx.js';
import { startSealed } from './installed-sealed.js';

let accounts: RabbitmqServer;
beforeAll(async () => {
  accounts = await startAccountsRabbitmq();
});
afterAll(() => accounts.remove());

const kpxctl = (kpx: Kpx, ...args: string[]) => runKpxctl([...args, '--config', kpx.brokerConfigFile]);

/** Of a command that has to go well. */
async function rowsOf(kpx: Kpx, ...args: string[]): Promise<Record<string, unknown>[]> {
  const { code, stdout, stderr } = await kpxctl(kpx, ...args, '--json');
  if (code !== 0) throw new Error(`kpxctl ${args.join(' ')} ended with ${code}: ${stderr}`);
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line: string) => JSON.parse(line));
}

const LEFT = 'the virtual host of an account is left: all that was published is carried';

async function endOf(kpx: Kpx, user: string): Promise<void> {
  expect((await kpxctl(kpx, 'stop', user, '--kill')).code).toBe(0);
  await kpx.brokerLog.line({ msg: LEFT, account: user });
}

describe('kpxctl sealed list', () => {
  it('has a line for each account with a virtual host: what waits in there while it works, and that it is kept afterwards', async () => {
    const [port = 0] = await freePorts(1);
    const kpx = await startSealed(accounts, {
      standIn: { BOOT_MS: '50', JOB_MS: '60000', PREFETCH: '1' },
      broker: { http: { listen: `127.0.0.1:${port}` } },
    });
    expect((await kpxctl(kpx, 'sealed', 'list')).stdout).toBe('No account has a virtual host here.\n');
    const client = await takeClient(kpx);
    const jobs = ['1', '2', '3'].map((job) => jobOf('alice', job));
    await publish(
      kpx,
      ...jobs.map(({ body, properties }, id) => ({ body, properties: { ...properties, replyTo: client, correlationId: `${id}` } })),
    );
    const working = await eventually('two of three jobs wait', async () => {
      const rows = await rowsOf(kpx, 'sealed', 'list');
      return rows[0]?.jobs === 2 && rows;
    });
    expect(working).toEqual([
      expect.objectContaining({ account: 'alice', vhost: nameOf('alice'), state: 'connected', up: 0, replies: 0, open_answers: 3 }),
    ]);
    expect(Date.now() - Date.parse(String(working[0]?.last_used))).toBeLessThan(60_000);
    const { stdout } = await kpxctl(kpx, 'sealed', 'list');
    expect(stdout).toMatch(
      /^ACCOUNT +VIRTUAL HOST +STATE +JOBS +UP +REPLIES +OPEN +LAST USED +REFUSED\nalice +\S+ +connected +2 +0 +0 +3 +\S+Z +0\n$/,
    );
    const waiting = async () => (await scrape(port)).value('kpx_sealed_jobs_waiting');
    await eventually('the metric has them, too', async () => (await waiting()) === 2);
    await kpxctl(kpx, 'drain');
    const endedAt = Date.now();
    await endOf(kpx, 'alice');
    const kept = await eventually('it is kept', async () => {
      const rows = await rowsOf(kpx, 'sealed', 'list');
      return rows[0]?.state === 'kept' && rows[0].jobs === 0 && rows;
    });
    expect(kept).toEqual([expect.objectContaining({ account: 'alice', up: 0, replies: 0, open_answers: 0 })]);
    expect(await waiting()).toBe(0);
    expect(Date.parse(String(kept[0]?.last_used)), 'used until its executor ended').toBeGreaterThanOrEqual(endedAt);
  });

  it('has the end of a broker’s absence as the last use where the executor ended meanwhile, and leaves those alone that ended before', async () => {
    const kpx = await startSealed(accounts);
    await publish(kpx, jobOf('alice', 'a1'), jobOf('bob', 'b1'));
    const [done] = await jobsDone(kpx, 'alice', 1);
    await jobsDone(kpx, 'bob', 1);
    await endOf(kpx, 'bob');
    await kpx.endBroker();
    process.kill(Number(done?.pid), 'SIGKILL');
    const backAt = Date.now();
    await kpx.startBroker();
    await kpx.brokerLog.line({ msg: LEFT, account: 'alice' });
    const rows = await rowsOf(kpx, 'sealed', 'list');
    const usedAfter = rows.map(({ account, last_used }) => [account, Date.parse(String(last_used)) >= backAt]);
    expect(usedAfter).toEqual([
      ['alice', true],
      ['bob', false],
    ]);
  });

  it("says that the accounts' RabbitMQ does not answer, and has those with an executor all the same", async () => {
    const management = await managementWay(accounts);
    const kpx = await startSealed(accounts, { broker: { sealed: { management_url: management.url } } });
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
    management.cut();
    const { code, stdout, stderr } = await kpxctl(kpx, 'sealed', 'list');
    expect(code).toBe(69);
    expect(stdout).toMatch(/^alice .* connected /m);
    expect(stderr).toMatch(/^Accounts without an executor are not in this list: .*management API.*\n$/);
  });

  it('says where executors are not sealed', async () => {
    const kpx = await (await installKpx()).start();
    const { code, stderr } = await kpxctl(kpx, 'sealed', 'list');
    expect([code, stderr]).toEqual([69, 'Executors are not sealed here: sealed.enabled in broker.toml is false.\n']);
  });
});

describe('kpxctl sealed refused', () => {
  it('has what the code of an account has published and may not, with the reason and how often; metrics count it', async () => {
    const [port = 0] = await freePorts(1);
    const kpx = await startSealed(accounts, { broker: { http: { listen: `127.0.0.1:${port}` } } });
    await publish(kpx, jobOf('alice', 'a1'), jobOf('bob', 'b1'));
    await Promise.all([jobsDone(kpx, 'alice', 1), jobsDone(kpx, 'bob', 1)]);
    expect((await kpxctl(kpx, 'sealed', 'refused')).stdout).toBe('Nothing was refused since the broker started.\n');
    const channel = await (await asExecutor(kpx, 'alice')).createConfirmChannel();
    for (let each = 0; each < 15; each += 1) channel.publish('', 'kpx.up', Buffer.from('x'));
    channel.publish('amq.topic', 'a.key', Buffer.from('x'));
    await channel.waitForConfirms();
    const rows = await eventually('all are refused', async () => {
      const all = await rowsOf(kpx, 'sealed', 'refused', '--account', 'alice');
      return all.reduce((sum, { count }) => sum + Number(count), 0) === 16 && all;
    });
    expect(rows).toEqual([
      expect.objectContaining({ account: 'alice', count: 15, reason: 'by_name', exchange: '', key: 'kpx.up' }),
      expect.objectContaining({ account: 'alice', count: 1, reason: 'exchange', exchange: 'amq.topic', key: 'a.key' }),
    ]);
    expect(await rowsOf(kpx, 'sealed', 'refused', '--account', 'bob')).toEqual([]);
    expect((await kpxctl(kpx, 'sealed', 'refused')).stdout).toMatch(
      /^alice +1 +\S+Z +exchange +amq\.topic +a\.key +no \[\[sealed\.up\]\] names the exchange$/m,
    );
    const { value } = await scrape(port);
    expect(value('kpx_sealed_refused_total{reason="by_name"}')).toBe(15);
    expect(value('kpx_sealed_refused_total{reason="key"}')).toBe(0);
    expect(value('kpx_sealed_accounts{vhost="connected"}')).toBe(2);
    expect(value('kpx_sealed_provision_seconds_count')).toBe(2);
    const [listed] = await rowsOf(kpx, 'sealed', 'list');
    expect(listed?.refused).toMatchObject({ by_name: 15, exchange: 1 });
    await endOf(kpx, 'alice');
    expect(await rowsOf(kpx, 'sealed', 'refused', '--account', 'alice')).toHaveLength(2);
  });
});

describe('kpxctl sealed purge', () => {
  it('leaves nothing of an account whose executor has ended, and puts the jobs that lie in its queue back first', async () => {
    const kpx = await startSealed(accounts);
    await publish(kpx, jobOf('alice', 'a1'), jobOf('bob', 'b1'));
    await Promise.all([jobsDone(kpx, 'alice', 1), jobsDone(kpx, 'bob', 1)]);
    const refused = await kpxctl(kpx, 'sealed', 'purge', 'alice', '--apply');
    expect([refused.code, refused.stderr]).toEqual([77, 'The executor of "alice" runs: end it first, kpxctl stop USER.\n']);
    await kpxctl(kpx, 'drain');
    await endOf(kpx, 'alice');
    const { body, properties } = jobOf('alice', 'left');
    await withChannel(await letLook(accounts, 'alice'), async (channel) => {
      channel.sendToQueue('knime-jobs', Buffer.from(JSON.stringify(body)), properties);
      await channel.waitForConfirms();
    });
    const dry = await kpxctl(kpx, 'sealed', 'purge', 'alice');
    expect(dry.stdout).toMatch(/^virtual host kpx\.\S+\.alice: is removed\nuser kpx\.\S+\.alice: there is none\n/);
    expect(dry.stdout).toMatch(/\nNothing was changed: --apply does it\.\n$/);
    expect(await accountsIn(accounts, 'vhosts')).toEqual([nameOf('alice'), nameOf('bob')]);
    const done = await kpxctl(kpx, 'sealed', 'purge', 'alice', '--apply');
    expect([done.code, done.stderr]).toEqual([0, '']);
    expect(done.stdout).toMatch(/\nDone: nothing of the account is left/);
    expect(await accountsIn(accounts, 'vhosts')).toEqual([nameOf('bob')]);
    expect(await accountsIn(accounts, 'users')).toEqual([nameOf('bob')]);
    const permissions = await accounts.api<{ vhost: string }[]>('GET', 'permissions');
    expect(permissions.filter(({ vhost }) => vhost === nameOf('alice'))).toEqual([]);
    expect(await rowsOf(kpx, 'sealed', 'list')).toHaveLength(1);
    const again = await kpxctl(kpx, 'sealed', 'purge', 'alice', '--apply');
    expect([again.code, again.stderr]).toEqual([66, expect.stringContaining(`has no virtual host "${nameOf('alice')}"`)]);
    await kpxctl(kpx, 'resume');
    expect((await jobsDone(kpx, 'alice', 2)).map(({ job }) => job)).toEqual(['a1', 'left']);
  });

  it('removes a user without a virtual host, and what an interrupted command has left', async () => {
    const kpx = await startSealed(accounts);
    await accounts.api('PUT', `users/${nameOf('carol')}`, { password: 'x', tags: '' });
    const { code, stdout } = await kpxctl(kpx, 'sealed', 'purge', 'carol', '--apply');
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^virtual host \S+: there is none\nuser \S+: removed\n/)]);
    expect(await accountsIn(accounts, 'users')).toEqual([]);
    expect(await accountsIn(accounts, 'vhosts')).toEqual([]);
  });

  it.each(['', '../x', 'a b'])('takes no name that is none of an account: "%s"', async (name) => {
    const { code, stderr } = await runKpxctl(['sealed', 'purge', '--', name]);
    expect([code, stderr]).toEqual([64, expect.stringContaining('Expected the name of an account')]);
  });
});
