import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { parse } from 'smol-toml';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import type { Section } from '../fixtures/helper-installation.js';
import { jobOf } from '../fixtures/jobs.js';
import { idsOf, type Kpx } from '../fixtures/kpx.js';
import { blocksOf } from '../fixtures/page.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { answersTo, startAccountsRabbitmq, takeClient } from '../fixtures/sealed-accounts.js';
import { clientOf, startCelery } from './installed-celery.js';
import { publish, runKpxctl } from './installed-kpx.js';
import { startSealed } from './installed-sealed.js';

/* The programs of docs/workers.md, letter for letter, as executors. */

const BLOCKS = blocksOf('docs/workers.md');
const blockOf = (heading: string, language: string) =>
  BLOCKS.find((block) => block.heading === heading && block.language === language)?.text ?? '';

let accounts: RabbitmqServer;
beforeAll(async () => {
  accounts = await startAccountsRabbitmq();
});
afterAll(() => accounts.remove());

/** In a directory of its own that every account may read. */
function written(name: string, text: string): { directory: string; file: string } {
  expect(text).not.toBe('');
  const directory = mkdtempSync('/srv/worker-');
  chmodSync(directory, 0o755);
  writeFileSync(`${directory}/${name}`, text, { mode: 0o755 });
  return { directory, file: `${directory}/${name}` };
}

/** The variables of the page's privhelper.toml. */
const { executor } = parse(blockOf('In Python', 'toml')) as { executor: { environment: Record<string, string> } };

const start = async (command: string[]): Promise<Kpx> =>
  await startSealed(accounts, { helper: { executor: { command } }, environment: executor.environment });

it('docs/workers.md: the worker in Python answers the jobs of each user under that account, and ends when it is asked to', async () => {
  const kpx = await start(['/usr/bin/python3', written('worker.py', blockOf('In Python', 'python')).file]);
  const client = await takeClient(kpx);
  const bodyOf = (user: string) => ({ user, text: 'grüße' });
  const asked = (user: string) => ({ body: bodyOf(user), properties: { replyTo: client, correlationId: user } });
  await publish(kpx, asked('alice'), asked('bob'));
  const answers = await answersTo(kpx, client, 2);
  const expected = (user: string) =>
    `${Buffer.byteLength(JSON.stringify(bodyOf(user)))} bytes, done by ${user} with uid ${idsOf(user).uid}`;
  expect(answers.map(({ text, properties }) => [properties.correlationId, text]).sort()).toEqual(
    ['alice', 'bob'].map((user) => [user, expected(user)]),
  );
  const from = kpx.brokerLog.lines.length;
  await runKpxctl(['stop', 'alice', '--config', kpx.brokerConfigFile]);
  await kpx.brokerLog.line(
    { account: 'alice', msg: 'the virtual host of an account is left: all that was published is carried', taken_back: 0 },
    { from },
  );
});

it('docs/workers.md: the loop in the shell does the jobs of each user under that account', async () => {
  const kpx = await start(['/bin/bash', written('worker', blockOf('In the shell', 'bash')).file]);
  await publish(kpx, jobOf('alice', 'a1'), jobOf('bob', 'b1'));
  const done = (user: string) => {
    try {
      return readFileSync(`${kpx.workspaces}/${user}/done.log`, 'utf8');
    } catch {
      return '';
    }
  };
  for (const [user, job] of [
    ['alice', 'a1'],
    ['bob', 'b1'],
  ] as const) {
    await eventually(`${user}'s job is done`, () => done(user) !== '');
    expect(done(user)).toBe(`${user} did: ${JSON.stringify(jobOf(user, job).body)}\n`);
  }
});

it('docs/workers.md: Celery, with the tasks and the configuration of the page', { timeout: 120_000 }, async () => {
  const { amqp, jobs, sealed } = parse(blockOf('Celery', 'toml')) as Record<string, Section>;
  const { urls: _server, ...ofAmqp } = amqp as Section & { urls: unknown };
  const {
    urls: _accounts,
    management_password_file: _file,
    ...ofSealed
  } = sealed as Section & { urls: unknown; management_password_file: unknown };
  const { directory } = written('tasks.py', blockOf('Celery', 'python'));
  const kpx = await startCelery(accounts, { broker: { amqp: ofAmqp, jobs: jobs ?? {}, sealed: ofSealed }, app: 'tasks', path: directory });
  for (const user of ['alice', 'bob'])
    expect(await clientOf(kpx, 'send', { user, task: 'tasks.whoami', args: ['done'] })).toBe(`done by uid ${idsOf(user).uid}`);
  expect(await clientOf(kpx, 'ping')).toEqual({ 'alice@kpx': { ok: 'pong' }, 'bob@kpx': { ok: 'pong' } });
});
