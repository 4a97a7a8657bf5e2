import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Provisioning } from './provisioning.js';

/* What RabbitMQ cannot be made to answer at will. What it does answer is in test/integration/rabbitmq-provisioning.test.ts. */

const PASSWORD = 'a-secret-that-no-message-has';
/** Long for answers that come, short for those that do not. */
const TIMEOUT_MS = 10_000;
const SHORT_MS = 300;

/** Something that listens where the management API should be. */
async function listening(answer: (response: ServerResponse) => void): Promise<string> {
  const server = createServer((_, response) => answer(response)).listen(0, '127.0.0.1');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise((resolve) => server.once('listening', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const at = (url: string, timeoutMs = TIMEOUT_MS) =>
  new Provisioning({
    name: 'sealed.management_url',
    url,
    user: 'kpx',
    password: async () => PASSWORD,
    files: async () => ({}),
    timeoutMs,
  });

const json = (status: number, body: unknown) => (response: ServerResponse) => {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
};

const CASES: readonly (readonly [what: string, answer: (response: ServerResponse) => void, says: RegExp])[] = [
  ['never answers', () => {}, /does not answer within 0\.3 s/],
  [
    'begins, and stops in the middle',
    (response) => response.writeHead(200, { 'content-length': 100 }).write('[{"name"'),
    /does not answer within 0\.3 s/,
  ],
  [
    'ends in the middle of an answer',
    (response) => response.writeHead(200, { 'content-length': 100 }).write('[', () => response.destroy()),
    /cannot be asked/,
  ],
  ['ends without an answer', (response) => response.destroy(), /cannot be asked/],
  ['does not stop', (response) => endless(response), /more than 4194304 bytes/],
  ['refuses the login', json(401, { error: 'not_authorised', reason: 'Login failed' }), /refuses the login of "kpx".*administrator/],
  ['fails', json(500, { error: 'internal', reason: 'timeout' }), /with 500: .*timeout/],
  ['is overloaded', json(503, { error: 'service_unavailable' }), /with 503/],
  ['sends somewhere else', (response) => response.writeHead(302, { location: 'http://127.0.0.1/' }).end(), /with 302/],
  ['is another program', (response) => response.end('<html>Welcome</html>'), /RabbitMQ's management API\?|with 200/],
  ['is another program that knows no such page', (response) => response.writeHead(404).end('<html>'), /with 404/],
  ['answers with other JSON', json(200, { nodes: 3 }), /RabbitMQ's management API\?|with 200/],
];

function endless(response: ServerResponse): void {
  response.writeHead(200);
  const more = () => {
    while (!response.destroyed && response.write(Buffer.alloc(64 * 1024, 32)));
  };
  response.on('drain', more);
  more();
}

const CALLS: readonly (readonly [what: string, call: (api: Provisioning) => Promise<unknown>])[] = [
  ['lists virtual hosts', (api) => api.vhosts('kpx.')],
  ['lists users', (api) => api.users('kpx.')],
  ['lists queues', (api) => api.queues('kpx.h.alice')],
  ['makes a virtual host', (api) => api.putVhost('kpx.h.alice', '')],
  ['makes a user', (api) => api.putUser('kpx.h.alice', 'aGFzaA==')],
  ['limits a user', (api) => api.limitUser('kpx.h.alice', { 'max-connections': 10 })],
  ['deletes users', (api) => api.deleteUsers(['kpx.h.alice'])],
  ['deletes a user', (api) => api.deleteUser('kpx.h.alice')],
];

describe.each(CASES)('a management API that %s', (_, answer, says) => {
  it.each(CALLS)('%s: is an error in time that names the key and has no secret', async (_, call) => {
    const isLate = says.source.includes('within');
    const api = at(await listening(answer), isLate ? SHORT_MS : TIMEOUT_MS);
    const began = performance.now();
    const error: Error = await call(api).then(
      () => expect.unreachable('it has not failed'),
      (why) => why,
    );
    // A PUT or DELETE waits for no list: what it does not stop at is its status.
    expect(error.message).toMatch(error.message.includes('with 200') ? /with 200/ : says);
    expect(error.message).toContain('sealed.management_url');
    expect(error.message + error.stack).not.toContain(PASSWORD);
    expect(performance.now() - began).toBeLessThan(TIMEOUT_MS);
  });
});

it('says what to do where nobody listens', async () => {
  const url = await listening(() => {});
  const nobody = at(url.replace(/\d+$/, '1'));
  await expect(nobody.vhosts('kpx.')).rejects.toThrow(
    /sealed\.management_url cannot be asked: connect ECONNREFUSED 127\.0\.0\.1:1; .*rabbitmq_management/,
  );
});

it('says what to do where the user is no administrator', async () => {
  const api = at(await listening(json(200, { name: 'kpx', tags: ['management'] })));
  await expect(api.administrator()).rejects.toThrow('rabbitmqctl set_user_tags kpx administrator');
});

it('takes what was deleted already for deleted', async () => {
  const api = at(await listening(json(404, { error: 'Object Not Found', reason: 'Not Found' })));
  await api.deleteUser('kpx.h.alice');
  expect(await api.hasUser('kpx.h.alice')).toBe(false);
  await expect(api.putUser('kpx.h.alice', 'aGFzaA==')).rejects.toThrow('with 404');
});

it('escapes what a name has in it', async () => {
  const asked: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url);
    response.writeHead(204).end();
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  await at(`http://127.0.0.1:${(server.address() as AddressInfo).port}`).putVhost('kpx.h.DOM\\a/b?c#d%e', '');
  expect(asked).toEqual(['/api/vhosts/kpx.h.DOM%5Ca%2Fb%3Fc%23d%25e']);
});
