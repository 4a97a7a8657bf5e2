import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { parse } from 'smol-toml';
import { expect, it, onTestFinished } from 'vitest';
import { CROWD } from '../fixtures/accounts.js';
import { jobOf } from '../fixtures/jobs.js';
import { blocksOf } from '../fixtures/page.js';
import { explain, installKpx, jobsDone, publish, runBroker, runKpxctl } from './installed-kpx.js';

/* The worked example of docs/tune.md, on a machine that says it has the memory of that one. */

const WORKED_EXAMPLE = '50 users on a host of 64 GiB with 32 core tokens';
const ALL_RUN_TIMEOUT_MS = 120_000;
const KIB_PER_GIB = 1024 ** 2;

const section = blocksOf('docs/tune.md').filter(({ heading }) => heading === WORKED_EXAMPLE);
const policy = parse(section.find(({ language }) => language === 'toml')?.text ?? '').policy as Record<string, unknown>;

const MEMINFO = `/srv/meminfo-${process.pid}`;

/** As this private machine sees it, once MEMINFO is mounted. */
const haveMemory = (gib: number) => writeFileSync(MEMINFO, `MemTotal: ${64 * KIB_PER_GIB} kB\nMemAvailable: ${gib * KIB_PER_GIB} kB\n`);

it('has sixteen users at work, the tokens and the memory for no more, and tells the seventeenth what the page shows', {
  timeout: 2 * ALL_RUN_TIMEOUT_MS,
}, async () => {
  haveMemory(60);
  execFileSync('/usr/bin/mount', ['--bind', MEMINFO, '/proc/meminfo']);
  onTestFinished(() => void execFileSync('/usr/bin/umount', ['/proc/meminfo']));
  const kpx = await installKpx({ broker: { policy }, standIn: { BOOT_MS: '50' } });
  expect(await runBroker(['--config', kpx.brokerConfigFile, '--check'])).toMatchObject({ code: 0 });
  const waiting: Record<string, unknown> = { ...policy, when_full: 'wait' }; // how long the sixteen take to start is not to decide whether one of them is idle
  kpx.configureBroker({ policy: waiting });
  await kpx.start();
  const sixteen = CROWD.slice(0, 16);
  await publish(kpx, ...sixteen.map((user) => jobOf(user)));
  for (const user of sixteen) await jobsDone(kpx, user, 1, ALL_RUN_TIMEOUT_MS);
  await publish(kpx, jobOf('alice', 'a1'));
  await expect.poll(async () => (await explain(kpx, 'alice')).state, { timeout: 20_000 }).toBe('queued');
  const files = ['--config', kpx.brokerConfigFile, '--helper-config', kpx.configFile];
  const { stdout } = await runKpxctl(['explain', 'alice', ...files]);
  expect(section.map(({ text }) => text)).toContain(stdout.replace(/^(?<account>account .* uid )\d+$/m, '$<account>1001'));

  // Each of the other two bounds alone would say the same.
  const { max_executors: _, ...tokensAndMemory } = waiting;
  await kpx.reload({ policy: tokensAndMemory });
  expect((await explain(kpx, 'alice')).why).toBe('32 of 32 core tokens are taken, an executor takes 2');
  haveMemory(7);
  await kpx.reload({ policy: { ...tokensAndMemory, core_tokens: 0, tokens_per_executor: 0 } });
  await expect
    .poll(async () => (await explain(kpx, 'bob')).why, { timeout: 20_000 })
    .toBe(
      '7168 MiB of memory are available, of which 0 MiB are promised to executors that start; one more takes 3584 MiB, and 4096 MiB are to be left',
    );
});
