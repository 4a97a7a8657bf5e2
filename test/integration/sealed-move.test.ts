import { readFileSync, writeFileSync } from 'node:fs';
import { parse, stringify } from 'smol-toml';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { type Kpx, type KpxOptions, SEALED_NODE } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { accountsIn, nameOf, startAccountsRabbitmq } from '../fixtures/sealed-accounts.js';
import { jobsDone, publish } from './installed-kpx.js';
import { installSealed } from './installed-sealed.js';

/* The move from shared to sealed executors account by account, and back. The helper's configuration decides: executor.sealed has the accounts. */

let accounts: RabbitmqServer;
beforeAll(async () => {
  accounts = await startAccountsRabbitmq();
});
afterAll(() => accounts.remove());

const STAND_IN = { BOOT_MS: '50', JOB_MS: '20' };

/** kpx with these accounts sealed, and the address that all others share. */
async function installMoving(sealed: readonly string[], options: KpxOptions = {}): Promise<Kpx> {
  const kpx = await installSealed(accounts, { standIn: STAND_IN, ...options });
  writeFileSync(`${kpx.msgqFile}.shared`, `${kpx.vhost.url('executor')}\n`, { mode: 0o600 });
  configure(kpx, sealed);
  return kpx;
}

/** Takes effect with the next start of the helper. */
function configure(kpx: Kpx, sealed: readonly string[]): void {
  const config = parse(readFileSync(kpx.configFile, 'utf8')) as Record<string, object>;
  writeFileSync(kpx.configFile, stringify({ ...config, executor: { ...config.executor, sealed, node: SEALED_NODE } }));
}

const urlOf = (kpx: Kpx, osUser: string) =>
  new URL((kpx.started(osUser) as unknown as { env: Record<string, string> }).env.KNIME_EXECUTOR_MSGQ ?? '');

describe('while some accounts are sealed and others are not', () => {
  it('each executor has its own kind of login, and jobs are done by it', async () => {
    const kpx = await installMoving(['alice']);
    await kpx.start();
    await publish(kpx, ...['1', '2', '3'].flatMap((job) => [jobOf('alice', job), jobOf('bob', job)]));
    await jobsDone(kpx, 'alice', 3);
    await jobsDone(kpx, 'bob', 3);
    expect(urlOf(kpx, 'alice').username).toBe(nameOf('alice'));
    expect(urlOf(kpx, 'bob').username).toBe('knime-executor');
    expect(await accountsIn(accounts, 'users')).toEqual([nameOf('alice')]);
    expect(await accountsIn(accounts, 'vhosts')).toEqual([nameOf('alice')]);
  });

  it('a broker that is started anew knows of each which it is', async () => {
    const kpx = await installMoving(['alice']);
    await kpx.start();
    await publish(kpx, jobOf('alice', '1'), jobOf('bob', '1'));
    const pids = [(await jobsDone(kpx, 'alice', 1))[0]?.pid, (await jobsDone(kpx, 'bob', 1))[0]?.pid];
    await kpx.endBroker('SIGKILL');
    await kpx.startBroker();
    await publish(kpx, jobOf('alice', '2'), jobOf('bob', '2'));
    expect([(await jobsDone(kpx, 'alice', 2))[1]?.pid, (await jobsDone(kpx, 'bob', 2))[1]?.pid]).toEqual(pids);
    expect(await accountsIn(accounts, 'users')).toEqual([nameOf('alice')]);
  });
});

it('an account moves to a virtual host of its own and back while jobs go on, and none is lost or parked', {
  timeout: 180_000,
}, async () => {
  const kpx = await installMoving([]);
  await kpx.start();
  const jobs: string[] = [];
  let goesOn = true;
  const publishing = (async () => {
    while (goesOn) {
      const job = `${jobs.length}`;
      jobs.push(job);
      await publish(kpx, jobOf('alice', `a${job}`), jobOf('bob', `b${job}`));
    }
  })();
  const kinds: string[] = [];
  for (const sealed of [['alice'], ['alice', 'bob'], ['bob'], []]) {
    await jobsDone(kpx, 'alice', kpx.done('alice').length + 20);
    await jobsDone(kpx, 'bob', kpx.done('bob').length + 20);
    configure(kpx, sealed);
    const before = new Map(['alice', 'bob'].map((user) => [user, new Set(kpx.done(user).map(({ pid }) => pid))]));
    await kpx.endHelper();
    await kpx.startHelper();
    for (const user of ['alice', 'bob']) {
      await eventually(`${user} has another executor`, () => kpx.done(user).some(({ pid }) => !before.get(user)?.has(pid)), 60_000);
      kinds.push(urlOf(kpx, user).username);
    }
  }
  goesOn = false;
  await publishing;
  const shared = 'knime-executor';
  expect(kinds).toEqual([nameOf('alice'), shared, nameOf('alice'), nameOf('bob'), shared, nameOf('bob'), shared, shared]);
  for (const user of ['alice', 'bob']) {
    const expected = new Set(jobs.map((job) => `${user[0]}${job}`));
    await eventually(`all jobs of ${user} are done`, () => new Set(kpx.done(user).map(({ job }) => job)).size === expected.size, 60_000);
    expect(new Set(kpx.done(user).map(({ job }) => job))).toEqual(expected);
  }
  expect((await kpx.vhost.queueDepth('knime-jobs'))?.messages).toBe(0);
  expect((await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages).toBe(0);
  await eventually('no user of an account is left', async () => (await accountsIn(accounts, 'users')).length === 0);
});
