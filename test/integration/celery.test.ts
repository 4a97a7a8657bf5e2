import { chownSync, mkdtempSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { celeryBroker } from '../fixtures/celery.js';
import { idsOf, type Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { startAccountsRabbitmq } from '../fixtures/sealed-accounts.js';
import { clientOf, startCelery } from './installed-celery.js';

/* What a Celery worker can do as the executor of its own account. docs/workers.md has the set-up: see workers.test.ts. */

let accounts: RabbitmqServer;
beforeAll(async () => {
  accounts = await startAccountsRabbitmq();
});
afterAll(() => accounts.remove());

const start = async (sealed: object = {}, environment: Record<string, string> = {}): Promise<Kpx> =>
  await startCelery(accounts, { broker: celeryBroker({ ...sealed }), environment });

const uidOf = (user: string) => idsOf(user).uid;

describe('a Celery worker that is the executor of its account', { timeout: 120_000 }, () => {
  it('does tasks of a client, each under the account of its user, and the client has the results by rpc://', async () => {
    const kpx = await start();
    const results = await Promise.all(['alice', 'bob'].map((user) => clientOf(kpx, 'group', { user, count: 20 })));
    const expected = (user: string) => Array.from({ length: 20 }, (_, number) => ({ value: number + 1, uid: uidOf(user) }));
    expect(results).toEqual([expected('alice'), expected('bob')]);
  });

  it('does a chain, whose every result the client has, and a task that is retried', async () => {
    const kpx = await start();
    const uid = uidOf('alice');
    expect(await clientOf(kpx, 'chain', { user: 'alice' })).toEqual([113, 13, 3].map((value) => ({ value, uid })));
    expect(await clientOf(kpx, 'retry', { user: 'alice' })).toEqual({ value: 2, uid });
    expect(await kpx.vhost.queueDepth('kpx.dead-letter')).toMatchObject({ messages: 0 });
  });

  it('answers inspect ping, beside those of other accounts, and its events reach who listens', async () => {
    const kpx = await start();
    for (const user of ['alice', 'bob']) await clientOf(kpx, 'group', { user });
    expect(await clientOf(kpx, 'ping')).toEqual({ 'alice@kpx': { ok: 'pong' }, 'bob@kpx': { ok: 'pong' } });
    expect(await clientOf(kpx, 'events', { user: 'alice', timeout: 30 })).toEqual(
      expect.arrayContaining(['task-received', 'task-started', 'task-succeeded']),
    );
  });

  it('does a chord where results are files of the account: Celery has none over rpc://', async () => {
    const results = mkdtempSync('/srv/celery-results-');
    const { uid, gid } = idsOf('alice');
    chownSync(results, uid, gid);
    const kpx = await start({}, { RESULTS: `file://${results}` });
    expect(await clientOf(kpx, 'chord', { user: 'alice', results: `file://${results}` })).toEqual({
      value: 12,
      uid,
      of: [uid, uid, uid, uid],
    });
    expect(await clientOf(kpx, 'chord', { user: 'alice' })).toEqual({ error: expect.stringContaining('does not support chords') });
  });
});

it('Celery: without sealed.answers = "clients" a client has the results of its own tasks, and not of those that tasks lead to', {
  timeout: 120_000,
}, async () => {
  const kpx = await start({ answers: 'jobs' });
  expect(await clientOf(kpx, 'group', { user: 'alice' })).toEqual([{ value: 1, uid: uidOf('alice') }]);
  expect(await clientOf(kpx, 'chain', { user: 'alice', timeout: 5 })).toEqual({ error: 'The operation timed out.' });
});
