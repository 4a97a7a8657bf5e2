import { chownSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { freePorts } from '../fixtures/free-ports.js';
import { jobOf } from '../fixtures/jobs.js';
import { idsOf, type Kpx, type KpxOptions } from '../fixtures/kpx.js';
import { scrape } from '../fixtures/scrape.js';
import { type Visit, visit } from './browser.js';
import { rawAccounts } from './installed-helper.js';
import { installKpx, publish, runKpxctl, startKpx } from './installed-kpx.js';

/* Why a job does not run, each cause made on purpose: explain, the job's story and the page's headline name it, and the next step. */

const QUICK = { BOOT_MS: '50' };
/** No job has this header: the executor gives each back, and ends with 0 after half a second. */
const TAKES_NONE = { USER_HEADER: 'x-nobody', IDLE_MS: '500' };
const ONCE = { start_attempts: 1, backoff_max: '5m' };

interface Cause {
  readonly user: string;
  readonly options?: KpxOptions;
  /** Before the job is published. */
  readonly made?: (kpx: Kpx) => Promise<void> | void;
  /** The line "a job now" of explain, and the next step. The job's story names the same. */
  readonly explained: readonly [cause: RegExp, step: RegExp];
  /** The next step of the job's story, where it is another one because the job is parked. */
  readonly told?: RegExp;
  /** The page's headline, and the next step of its first problem. */
  readonly headline: readonly [cause: RegExp, step: RegExp];
}

const CAUSES: Readonly<Record<string, Cause>> = {
  'the account is not known': {
    user: 'nobody-has-this-account',
    options: { broker: { policy: ONCE } },
    explained: [/START_FAILED: .*ACCOUNT_UNKNOWN: there is no account/, /getent passwd NAME/],
    told: /Fix its cause, then replay/,
    headline: [/starts of executors are given up.* of 1 user: ACCOUNT_UNKNOWN/i, /getent passwd NAME/],
  },
  'the policy denies the user': {
    user: 'mallory',
    options: { broker: { policy: { deny: ['mallory'] } } },
    explained: [/USER_DENIED: "mallory" is in policy\.deny/, /broker\.toml, then kpxctl reload/],
    headline: [/1 parked job lies in kpx\.dead-letter, the latest of this broker: USER_DENIED/, /broker\.toml, then kpxctl reload/],
  },
  'the account is root’s': {
    user: 'root',
    explained: [/ACCOUNT_DENIED: .*uid or gid of root/, /\[accounts\] in privhelper\.toml/],
    headline: [/starts of executors are refused.* of 1 user: ACCOUNT_DENIED/i, /\[accounts\] in privhelper\.toml/],
  },
  'the home is somebody else’s': {
    user: 'not-at-home-12',
    made: () => {
      const { home } = rawAccounts().account('not-at-home-12');
      mkdirSync(home, { mode: 0o700 });
      onTestFinished(() => rmdirSync(home));
    },
    explained: [/HOME_UNUSABLE: .*belongs to uid/, /home_parents, create_home/],
    headline: [/of 1 user: HOME_UNUSABLE/, /home_parents, create_home/],
  },
  'the home is not below home_parents': {
    user: 'alice',
    options: { helper: { directories: { home_parents: ['/srv'] } } },
    explained: [/HOME_UNUSABLE: .*home_parents/, /home_parents, create_home/],
    headline: [/of 1 user: HOME_UNUSABLE/, /home_parents, create_home/],
  },
  'a directory is somebody else’s': {
    user: 'alice',
    made: (kpx) => {
      mkdirSync(`${kpx.workspaces}/alice`, { mode: 0o700 });
      const { uid, gid } = idsOf('bob');
      chownSync(`${kpx.workspaces}/alice`, uid, gid);
    },
    explained: [/DIRECTORY_UNSAFE: /, /Inspect the named directory/],
    headline: [/of 1 user: DIRECTORY_UNSAFE/, /Inspect the named directory/],
  },
  'the executor ends before it is ready': {
    user: 'alice',
    options: { standIn: { FAIL: '3' }, broker: { policy: ONCE } },
    explained: [/START_FAILED: .*ended before it was ready: exit 3/, /kpxctl logs alice/],
    told: /Fix its cause, then replay/,
    headline: [/given up.* of 1 user: LAUNCH_FAILED/, /executor log of this user/],
  },
  'executors cannot log in to RabbitMQ': {
    user: 'alice',
    options: { standIn: QUICK, broker: { policy: ONCE, executors: { start_timeout: '3s' } } },
    made: (kpx) => writeFileSync(kpx.msgqFile, `${kpx.vhost.url('executor').replace(/:[^:@/]*@/, ':wrong@')}\n`),
    explained: [/EXECUTOR_WITHOUT_RABBITMQ: /, /kpxctl logs alice, and the URL in \/etc\/kpx\/executor-msgq/],
    headline: [/given up.* of 1 user: EXECUTOR_WITHOUT_RABBITMQ/, /executor-msgq/],
  },
  'all places are taken': {
    user: 'bob',
    options: { standIn: QUICK, broker: { policy: { max_executors: 1 } } },
    made: async (kpx) => {
      await publish(kpx, jobOf('alice'));
      await kpx.brokerLog.line({ user: 'alice', state: 'ready' });
    },
    explained: [/1 of 1 executors run \(max_executors\)/, /raise policy\.max_executors/],
    headline: [/1 user waits for room, the longest for \d+s: max_executors 1/, /docs\/tune\.md/],
  },
  'the host is drained': {
    user: 'alice',
    made: async (kpx) => void (await runKpxctl(['drain', '--config', kpx.brokerConfigFile])),
    explained: [/the host is being drained/, /kpxctl resume/],
    headline: [/the host is being drained/, /kpxctl resume/],
  },
};

const JOB = 'why-not';

/** Where the page of one kpx is. */
async function pageAddress(): Promise<{ readonly listen: string }> {
  const [port] = await freePorts(1);
  return { listen: `127.0.0.1:${port}` };
}

describe('a job does not run, because', () => {
  it.each(Object.entries(CAUSES))('%s', async (_, { user, options = {}, made, explained, told, headline }) => {
    const http = await pageAddress();
    const kpx = await startKpx({ ...options, broker: { ...options.broker, http } });
    // Opened before there is anything to see: a user who is refused is so for half a minute.
    const visited = await visitPage(http);
    await made?.(kpx);
    await publish(kpx, jobOf(user, JOB));
    await expectExplained(kpx, user, explained);
    await expectTold(kpx, [explained[0], told ?? explained[1]]);
    await expectPage(visited, headline);
  });

  it('RabbitMQ is not there', async () => {
    const [nobody] = await freePorts(1);
    const urls = [`amqp://kpx-broker@127.0.0.1:${nobody}/knime`];
    const http = await pageAddress();
    const kpx = await installKpx({ broker: { amqp: { urls }, http } });
    await kpx.startHelper();
    await kpx.startBroker({ wait: false });
    await kpx.brokerLog.line({ msg: 'RabbitMQ cannot be used; trying again' });
    const step = /kpxctl doctor/;
    await expectExplained(kpx, 'alice', [/stays in RabbitMQ, .*no connection to RabbitMQ since .*ECONNREFUSED/, step]);
    await expectPage(await visitPage(http), [/no connection to RabbitMQ since/i, step]);
  });

  it('executors end by themselves soon after they are ready', async () => {
    const http = await pageAddress();
    const kpx = await startKpx({ standIn: { ...QUICK, ...TAKES_NONE }, broker: { http } });
    await publish(kpx, jobOf('alice', JOB));
    const cause = /; the last \d+ executors ended with exit 0 within 10s after they were ready, without a job$/;
    await expectExplained(kpx, 'alice', [cause, /kpxctl logs alice has why the executor ends by itself/]);
    await expectPage(await visitPage(http), [
      /executors of 1 user end soon after they are ready, again and again/i,
      /kpxctl list has these users first/,
    ]);
    // An executor that may have taken a job before its end does not count, and so interrupts those that do.
    const listed = async () =>
      JSON.parse((await runKpxctl(['list', '--json', '--config', kpx.brokerConfigFile])).stdout.split('\n')[0] ?? '');
    await expect.poll(listed).toMatchObject({ user: 'alice', cause: 'ends_soon' });
    const { value } = await scrape(Number(http.listen.split(':')[1]));
    expect(value('kpx_executors_ended_soon_total')).toBeGreaterThan(1);
    expect(value('kpx_executor_starts_total{result="failed"}')).toBe(0);
  });

  it('its body is no job', async () => {
    const http = await pageAddress();
    const kpx = await startKpx({ broker: { http } });
    await publish(kpx, { body: 'no job' });
    await expectPage(await visitPage(http), [
      /1 parked job lies in kpx\.dead-letter, the latest of this broker: BODY_NOT_JSON/,
      /Fix what sends such jobs, then drop it/,
    ]);
    const { stdout } = await runKpxctl(['dead-letters', 'list', '--config', kpx.brokerConfigFile]);
    expect(stdout).toMatch(/BODY_NOT_JSON.*the body is not a JSON object/);
  });
});

async function expectExplained(kpx: Kpx, user: string, [cause, step]: Cause['explained']): Promise<void> {
  const lines = await eventually(`${cause} is explained`, async () => {
    const files = ['--config', kpx.brokerConfigFile, '--helper-config', kpx.configFile];
    const { stdout } = await runKpxctl(['explain', user, ...files]);
    const [first = '', second = ''] = stdout.split('\n');
    return cause.test(first) && [first, second];
  });
  expect(lines[0]).toMatch(/^a job now /);
  expect(lines[1]).toMatch(/^next step /);
  expect(lines[1]).toMatch(step);
}

async function expectTold(kpx: Kpx, [cause, step]: Cause['explained']): Promise<void> {
  const [first = '', second = ''] = (await runKpxctl(['job', JOB, '--config', kpx.brokerConfigFile])).stdout.split('\n');
  expect(first).toMatch(/^the job /);
  expect(first).toMatch(cause);
  expect(second).toMatch(/^next step /);
  expect(second).toMatch(step);
}

const visitPage = ({ listen }: { readonly listen: string }) => visit(`http://${listen}/`);

async function expectPage({ page, troubles }: Visit, [cause, step]: Cause['headline']): Promise<void> {
  await page.locator('#headline', { hasText: cause }).waitFor();
  await page.locator('#problems li', { hasText: step }).first().waitFor();
  expect(troubles).toEqual([]);
}
