import { describe, expect, it } from 'vitest';
import { type Config, configSchema } from '../config/config.js';
import type { AccountSession } from './account-session.js';
import { replyQueueOf } from './names.js';
import { OpenAnswers } from './open-answers.js';
import { Replies } from './replies.js';

const GRACE_MS = 1_000;
const LATER = performance.now() + 1_000 * GRACE_MS;
const queueOf = (client: string) => replyQueueOf(client).name;

/** RabbitMQ, as far as it answers here: the queues that are there. What `meanwhile` has for a deletion happens before RabbitMQ answers. */
function vhost() {
  const queues = new Set<string>();
  const meanwhile = new Map<string, () => Promise<unknown>>();
  const refusesConsumers = new Set<string>();
  const refusesQueues = new Set<string>();
  const consumed: string[] = [];
  const channel = {
    assertQueue: async (name: string) => {
      if (refusesQueues.has(name)) throw new Error('queue limit is reached');
      queues.add(name);
    },
    deleteQueue: async (name: string) => {
      queues.delete(name);
      await meanwhile.get(name)?.();
    },
  };
  const session = {
    channel,
    apart: async (action: (on: typeof channel) => Promise<unknown>) =>
      await action(channel).then(
        () => undefined,
        ({ message }: Error) => message,
      ),
    consume: async (name: string) => {
      if (refusesConsumers.delete(name)) throw new Error('no answer');
      consumed.push(name);
    },
  } as unknown as AccountSession;
  return { queues, meanwhile, refusesConsumers, refusesQueues, consumed, session };
}

function repliesFor(answers: Config['sealed']['answers'] = 'jobs', unmade: (client: string, why: string) => void = () => {}) {
  const config = configSchema.parse({
    amqp: { urls: ['amqp://kpx-broker@127.0.0.1/knime'] },
    sealed: { answers },
  });
  return new Replies({ config }, new OpenAnswers(() => GRACE_MS), false, { answer: () => {}, unnamed: () => {}, unmade });
}

/** A job of this client is given, as {@link Giving} does it. */
async function give(replies: Replies, session: AccountSession, client: string): Promise<void> {
  replies.answers.open(client, 'job', LATER);
  await replies.queueFor(session, client);
}

async function idle(replies: Replies, session: AccountSession, ...clients: string[]): Promise<void> {
  for (const client of clients) {
    await replies.queueFor(session, client);
    replies.answers.knows(client, 0);
  }
}

describe('the queue of a client who has waited for nothing for a while', () => {
  it('is kept for a job that comes while the queue of another client is deleted', async () => {
    const { queues, meanwhile, session } = vhost();
    const replies = repliesFor();
    await idle(replies, session, 'one', 'two');
    meanwhile.set(queueOf('one'), () => give(replies, session, 'two'));
    await replies.sweep(session, LATER);
    expect([...queues]).toEqual([queueOf('two')]);
  });

  it('is kept under the name of the client for a job that comes while its other queue is deleted', async () => {
    const { queues, meanwhile, session } = vhost();
    const replies = repliesFor('clients');
    await idle(replies, session, 'one');
    meanwhile.set(queueOf('one'), () => give(replies, session, 'one'));
    await replies.sweep(session, LATER);
    expect([...queues].sort()).toEqual([queueOf('one'), 'one'].sort());
    expect(replies.isNamed('one')).toBe(true);
  });

  it('is deleted the next time where RabbitMQ did not answer to the deletion of another one', async () => {
    const { queues, meanwhile, session } = vhost();
    const replies = repliesFor();
    await idle(replies, session, 'one', 'two');
    meanwhile.set(queueOf('one'), async () => {
      meanwhile.clear();
      throw new Error('no answer');
    });
    await expect(replies.sweep(session, LATER)).rejects.toThrow('no answer');
    expect([...queues]).toEqual([queueOf('two')]);
    await replies.sweep(session, LATER);
    expect([...queues, ...replies.queues]).toEqual([]);
  });

  it('is deleted later where RabbitMQ did not answer to its deletion', async () => {
    const { queues, meanwhile, session } = vhost();
    const replies = repliesFor();
    await idle(replies, session, 'one');
    meanwhile.set(queueOf('one'), async () => {
      queues.add(queueOf('one'));
      meanwhile.clear();
      throw new Error('no answer');
    });
    await expect(replies.sweep(session, LATER)).rejects.toThrow('no answer');
    await replies.sweep(session, LATER + GRACE_MS);
    expect([...queues]).toEqual([]);
  });
});

it('a queue with the name of a client that could not be read is tried again with the next job', async () => {
  const { refusesConsumers, session } = vhost();
  const replies = repliesFor('clients');
  refusesConsumers.add('one');
  await expect(replies.queueFor(session, 'one')).rejects.toThrow('no answer');
  expect(await replies.queueFor(session, 'one')).toBe(queueOf('one'));
  expect(replies.isNamed('one')).toBe(true);
});

describe('queues of clients', () => {
  it('are read by the next session where one failed after it had begun to read', async () => {
    const [failed, next] = [vhost(), vhost()];
    const replies = repliesFor();
    const declared = ['one', 'two'].map(replyQueueOf);
    failed.refusesConsumers.add(queueOf('two'));
    await expect(replies.takeUp(failed.session, declared)).rejects.toThrow('no answer');
    await replies.takeUp(next.session, declared);
    expect(next.consumed).toEqual(declared.map(({ name }) => name));
  });

  it('that are gone are made anew by the next session while their answers are open, and no others', async () => {
    const [before, next] = [vhost(), vhost()];
    const replies = repliesFor();
    await give(replies, before.session, 'one');
    await idle(replies, before.session, 'two');
    await replies.takeUp(next.session, []);
    expect([...next.queues]).toEqual([queueOf('one')]);
    expect(next.consumed).toEqual([queueOf('one')]);
  });

  it('that RabbitMQ does not let the next session make anew are said, and keep it from nothing else', async () => {
    const [before, next] = [vhost(), vhost()];
    const said: string[] = [];
    const replies = repliesFor('jobs', (client, why) => said.push(`${client}: ${why}`));
    for (const client of ['one', 'two']) await give(replies, before.session, client);
    next.refusesQueues.add(queueOf('one'));
    await replies.takeUp(next.session, []);
    expect(next.consumed).toEqual([queueOf('two')]);
    expect(said).toEqual(['one: queue limit is reached']);
  });

  it('that RabbitMQ refuses are asked for again with the next job, and none else is touched', async () => {
    const { refusesQueues, session, queues } = vhost();
    const replies = repliesFor();
    refusesQueues.add(queueOf('one'));
    await expect(give(replies, session, 'one')).rejects.toThrow('queue limit is reached');
    expect([...replies.queues]).toEqual([]);
    refusesQueues.clear();
    await give(replies, session, 'one');
    expect([...queues]).toEqual([queueOf('one')]);
  });
});
