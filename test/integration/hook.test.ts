import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { BROKER_ACCOUNT } from '../fixtures/accounts.js';
import { freePorts } from '../fixtures/free-ports.js';
import { jobOf } from '../fixtures/jobs.js';
import { idsOf, type Kpx } from '../fixtures/kpx.js';
import { scrape } from '../fixtures/scrape.js';
import { installKpx, jobsDone, publish, startKpx } from './installed-kpx.js';

/* A program that a real broker calls: when jobs are parked, when the verdict changes, and when the program is a bad one. */

const FLOOD = 10_000;

/** A directory that the broker may write, with a program in it that root has written. */
function programIn(kpx: Kpx, text: string) {
  const directory = `${kpx.etc}/hook`;
  mkdirSync(directory, { recursive: true });
  chownSync(directory, idsOf(BROKER_ACCOUNT).uid, 0);
  const told = `${directory}/told`;
  const program = `${kpx.etc}/kpx-hook`;
  writeFileSync(program, `#!/bin/sh\n${text.replaceAll('TOLD', told)}\n`);
  chmodSync(program, 0o755);
  const events = () =>
    existsSync(told)
      ? readFileSync(told, 'utf8')
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line))
      : [];
  return { program, events };
}

const policy = { deny: ['mallory'] };

it('is told of parked jobs and of the verdict, as the account of the broker, after a reload has turned it on', {
  timeout: 120_000,
}, async () => {
  const kpx = await startKpx({ standIn: { BOOT_MS: '50' }, broker: { policy } });
  const { program, events } = programIn(kpx, 'cat >> TOLD');
  await publish(kpx, jobOf('mallory', 'before'));
  await kpx.brokerLog.line({ msg: 'job parked', job: 'before' });
  await kpx.reload({ policy, hook: { command: [program] } });
  await publish(kpx, jobOf('mallory', 'm1'));
  await expect
    .poll(() => events().find(({ event }) => event === 'parked'), { timeout: 20_000 })
    .toMatchObject({
      ...{ user: 'mallory', job: 'm1', reason: 'USER_DENIED', detail: '"mallory" is in policy.deny', suppressed: 0 },
      next: expect.stringContaining('kpxctl reload'),
    });
  await expect
    .poll(() => events().find(({ event }) => event === 'verdict'), { timeout: 60_000 })
    .toMatchObject({
      ...{ level: 'attention', before: 'well', headline: expect.stringMatching(/^[12] parked jobs? lies? in kpx\.dead-letter/) },
      problems: expect.arrayContaining([
        expect.objectContaining({ problem: 'letters', next: expect.stringMatching(/^kpxctl dead-letters list/) }),
      ]),
    });
  await kpx.reload({ policy, hook: { command: [] } });
  const before = events().length;
  await publish(kpx, jobOf('mallory', 'm2'));
  await kpx.brokerLog.line({ msg: 'job parked', job: 'm2' });
  await publish(kpx, jobOf('alice', 'a'));
  await jobsDone(kpx, 'alice', 1);
  expect(events().length).toBe(before);
});

it('is told of some of 10,000 parked jobs, and how many it is not told of; the metrics have both', { timeout: 180_000 }, async () => {
  const kpx = await installKpx({ standIn: { BOOT_MS: '50' } });
  const { program, events } = programIn(kpx, 'cat >> TOLD; sleep 0.3'); // more jobs are parked meanwhile than wait
  const [port = 0] = await freePorts(1);
  kpx.configureBroker({ policy, hook: { command: [program] }, http: { listen: `127.0.0.1:${port}` } });
  await kpx.start();
  await publish(kpx, ...Array.from({ length: FLOOD }, (_, index) => jobOf('mallory', `m${index}`)), jobOf('alice', 'a'));
  await jobsDone(kpx, 'alice', 1, 60_000);
  await expect.poll(async () => (await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages, { timeout: 60_000 }).toBe(FLOOD);
  await expect.poll(() => events().length, { timeout: 20_000 }).toBeGreaterThanOrEqual(10);
  const { value } = await scrape(port);
  const suppressed = value('kpx_hook_suppressed_total');
  expect(value('kpx_hook_calls_total{result="ok"}')).toBeLessThanOrEqual(20); // ten in a minute
  expect(suppressed).toBeGreaterThan(FLOOD - 100);
  expect(Math.max(...events().map((event) => event.suppressed))).toBeGreaterThan(0);
});

it.each([
  ['hangs', 'trap "" TERM; while :; do sleep 1; done', 'timeout', /^it had not ended after 10 s, and was killed$/],
  ['fails', 'echo "no mail server" >&2; exit 3', 'failed', /^exit code 3$/],
  ['writes megabytes', 'yes', 'failed', /^it wrote more than 1048576 characters/],
  ['forks away', 'setsid sleep 15 & exit 4', 'failed', /^exit code 4$/],
])('one that %s is logged, and no job waits for it', { timeout: 60_000 }, async (_, text, result, reason) => {
  const kpx = await installKpx({ standIn: { BOOT_MS: '50' } });
  const { program } = programIn(kpx, text);
  kpx.configureBroker({ policy, hook: { command: [program] } });
  await kpx.start();
  await publish(kpx, jobOf('mallory', 'm1'), jobOf('alice', 'a1'));
  await jobsDone(kpx, 'alice', 1);
  const line = await kpx.brokerLog.line({ result }, { timeoutMs: 20_000 });
  expect(line).toMatchObject({ level: 40, event: 'parked', reason: expect.stringMatching(reason) });
  if (result === 'failed' && text.startsWith('echo')) expect(line.output).toBe('no mail server\n');
});

it('one that does not exist is said at the start, and at the call', async () => {
  const kpx = await installKpx({ broker: { policy, hook: { command: ['/usr/local/lib/nowhere'] } } });
  await kpx.start();
  await kpx.brokerLog.line({ reason: "ENOENT: no such file or directory, access '/usr/local/lib/nowhere'" });
  await publish(kpx, jobOf('mallory', 'm1'));
  expect((await kpx.brokerLog.line({ result: 'not_started' })).reason).toContain('ENOENT');
});
