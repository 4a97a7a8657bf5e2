import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, it, onTestFinished } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { freePorts } from '../fixtures/free-ports.js';
import { jobOf } from '../fixtures/jobs.js';
import { checkout, type Kpx, type KpxOptions } from '../fixtures/kpx.js';
import { descriptorsOf } from '../fixtures/process.js';
import { scrape } from '../fixtures/scrape.js';
import { deadLetters, installKpx, jobsDone, publish, startKpx } from './installed-kpx.js';

const QUICK = { BOOT_MS: '50' };
/** As many as the broker serves at once: of all connections, and of these, event streams. */
const CONNECTIONS_MAX = 32;
const STREAMS_MAX = 16;
/** The bound on a connection, and some time for a machine that has other work. */
const CUT_WITHIN_MS = 15_000;

async function listening({ broker, ...options }: KpxOptions = {}): Promise<{ kpx: Kpx; port: number }> {
  const [port = 0] = await freePorts(1);
  const kpx = await startKpx({ ...options, broker: { ...broker, http: { listen: `127.0.0.1:${port}`, ...broker?.http } } });
  return { kpx, port };
}

async function ask(port: number, path: string, { method = 'GET', body = '', headers = {} } = {}) {
  const asked = request({ host: '127.0.0.1', port, path, method, headers, agent: false });
  asked.end(body);
  const [response] = await once(asked, 'response');
  return { status: response.statusCode, headers: response.headers, text: await text(response) };
}

/** Asks for an event stream: its status, and the response as long as it is open; "dropped" where there was no answer. */
async function stream(port: number): Promise<{ status: number | 'dropped'; response?: IncomingMessage }> {
  const asked = request({ host: '127.0.0.1', port, path: '/events', agent: false });
  onTestFinished(() => void asked.destroy());
  asked.end();
  return await new Promise((resolve) => {
    asked.once('error', () => resolve({ status: 'dropped' }));
    asked.once('response', (response) => {
      response.on('error', () => {}).resume();
      resolve({ status: response.statusCode ?? 0, response });
    });
  });
}

/** What rules and panels ask for, without the functions and labels of the query language around it. */
function metricsOf(file: string): string[] {
  const found = readFileSync(join(checkout(), file), 'utf8').match(/\b(kpx|process|nodejs)_[a-z\d_]+/g) ?? [];
  return [...new Set(found)];
}

describe('GET /healthz', () => {
  it('is 200 while jobs get through, and 503 with the reason and the next step where they do not; the metrics say the same', async () => {
    const { kpx, port } = await listening();
    const healthy = await ask(port, '/healthz');
    expect([healthy.status, JSON.parse(healthy.text)]).toEqual([
      200,
      { level: 'well', headline: 'all is well: 0 of 40 executors, nobody waits', problems: [] },
    ]);
    await kpx.signal('SIGUSR2', { draining: true });
    const drained = await ask(port, '/healthz');
    expect([drained.status, JSON.parse(drained.text)]).toMatchObject([200, { level: 'attention', problems: [{ code: 'draining' }] }]);
    await kpx.endHelper();
    await eventually('the helper is missed', async () => (await ask(port, '/healthz')).status === 503);
    expect(JSON.parse((await ask(port, '/healthz')).text)).toMatchObject({
      level: 'trouble',
      headline: expect.stringContaining('no connection to kpx-privhelper'),
      problems: [{ code: 'helper', next: expect.stringContaining('systemctl status') }, { code: 'draining' }],
    });
    const { value } = await scrape(port);
    const problems = ['helper', 'draining', 'rabbitmq'].map((problem) => value(`kpx_problem{problem="${problem}"}`));
    expect([value('kpx_verdict'), ...problems]).toEqual([2, 2, 1, 0]);
  });
});

it('counts dead letters that lie there, whoever has parked them: they need attention until somebody looks after them', async () => {
  const { kpx, port } = await listening();
  await publish(kpx, { body: 'no JSON' }, { body: 'no JSON' });
  await eventually('both are parked', async () => (await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages === 2);
  await kpx.endBroker('SIGKILL');
  await kpx.startBroker();
  await eventually('they are seen', async () => (await scrape(port)).text.includes('kpx_queue_messages{queue="dead_letters"} 2\n'));
  expect((await scrape(port)).value('kpx_jobs_parked_total{reason="BODY_NOT_JSON"}')).toBe(0); // by this broker
  expect(JSON.parse((await ask(port, '/healthz')).text)).toMatchObject({
    level: 'attention',
    problems: [{ code: 'letters', what: '2 parked jobs lie in kpx.dead-letter', next: 'kpxctl dead-letters list says why.' }],
  });
});

describe('GET /metrics', () => {
  it.each(['systemd/prometheus/kpx.rules.yml', 'systemd/grafana/kpx.json', 'docs/monitor.md'])(
    'has every series that %s names',
    async (file) => {
      const { port } = await listening();
      const scraped = (await scrape(port)).text;
      const wanted = metricsOf(file);
      expect(wanted.length).toBeGreaterThan(5);
      const series = new Set(scraped.split('\n').map((line) => line.replace(/[{ ].*/, '')));
      const families = new Set([...scraped.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name));
      expect(wanted.filter((name) => !series.has(name) && !families.has(name))).toEqual([]);
    },
  );

  it('counts each job by where it went, starts by what came of them, and how long they took', async () => {
    const { kpx, port } = await listening({ standIn: QUICK, broker: { policy: { deny: ['mallory'] } } });
    await publish(kpx, jobOf('alice', 'a1'), jobOf('alice', 'a2'), jobOf('mallory', 'm1'), { body: 'no JSON' });
    await jobsDone(kpx, 'alice', 2);
    await deadLetters(kpx, 2);
    const counted = async () => {
      const { value } = await scrape(port);
      return [value('kpx_jobs_total{outcome="forwarded"}') >= 2, value('kpx_jobs_total{outcome="parked"}')];
    };
    await expect.poll(counted).toEqual([true, 2]);
    const { value } = await scrape(port);
    expect(value('kpx_jobs_parked_total{reason="USER_DENIED"}')).toBe(1);
    expect(value('kpx_jobs_parked_total{reason="BODY_NOT_JSON"}')).toBe(1);
    expect(value('kpx_policy_refusals_total{reason="denied"}')).toBe(1);
    expect(value('kpx_executor_starts_total{result="ready"}')).toBe(1);
    expect(value('kpx_executor_start_seconds_count')).toBe(1);
    expect(value('kpx_executor_start_seconds_sum')).toBeGreaterThan(0.05); // BOOT_MS
    expect(value('kpx_job_hold_seconds_sum')).toBeGreaterThan(0.05);
    expect(value('kpx_executors{state="ready"}')).toBe(1);
    expect(value('kpx_users{state="ready"}')).toBe(1);
    expect(value('kpx_helper_request_seconds_count{verb="spawnExecutor"}')).toBe(1);
    for (const up of ['kpx_rabbitmq_connected', 'kpx_helper_connected']) expect([up, value(up)]).toEqual([up, 1]);
    for (const none of ['kpx_draining', 'kpx_jobs_held', 'kpx_rabbitmq_reconnects_total']) expect([none, value(none)]).toEqual([none, 0]);
    expect(value('kpx_jobs_held_max')).toBe(512);
    expect(value('process_resident_memory_bytes')).toBeGreaterThan(10_000_000);
    expect(value('nodejs_eventloop_lag_p99_seconds')).toBeGreaterThan(0);
  });

  it('tells a start that failed, users in line by what there is no room for, and a drained host', async () => {
    const { kpx, port } = await listening({
      standIn: { FAIL: '3' },
      broker: { policy: { max_executors: 1, start_attempts: 1, backoff_max: '5m' } },
    });
    await publish(kpx, jobOf('alice', 'a1'));
    await kpx.brokerLog.line({ user: 'alice', state: 'broken' });
    await kpx.signal('SIGUSR2', { draining: true });
    await publish(kpx, jobOf('bob', 'b1'));
    await kpx.brokerLog.line({ msg: 'draining: no executor is started any more' });
    await expect.poll(async () => (await scrape(port)).value('kpx_longest_wait_seconds{limit="draining"}')).toBeGreaterThan(0);
    const { value } = await scrape(port);
    expect(value('kpx_users{state="queued"}')).toBe(1);
    expect(value('kpx_executor_starts_total{result="failed"}')).toBe(1);
    expect(value('kpx_users{state="broken"}')).toBe(1);
    expect(value('kpx_policy_refusals_total{reason="draining"}')).toBe(1);
    expect(['draining', 'max_executors'].map((limit) => value(`kpx_users_waiting{limit="${limit}"}`))).toEqual([1, 0]);
    expect(JSON.parse((await ask(port, '/status')).text)).toMatchObject({ waits: { draining: { users: 1 }, max_executors: { users: 0 } } });
    expect(value('kpx_draining')).toBe(1);
  });

  it('says when RabbitMQ or the helper is lost, and counts connections that are made again', async () => {
    const { kpx, port } = await listening();
    await kpx.endHelper();
    await expect.poll(async () => (await scrape(port)).value('kpx_helper_connected')).toBe(0);
    await kpx.vhost.closeConnections('broker');
    // A session that no job has passed is not followed by another one at once.
    await expect.poll(async () => (await scrape(port)).value('kpx_rabbitmq_reconnects_total'), { timeout: 10_000 }).toBe(1);
  });

  it('has names of users only where that is asked for', async () => {
    const { kpx, port } = await listening({ standIn: QUICK });
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
    const both = async () => (await Promise.all(['/metrics', '/status'].map((path) => ask(port, path)))).map(({ text }) => text);
    expect((await both()).filter((text) => text.includes('alice'))).toEqual([]);
    await kpx.reload({ http: { listen: `127.0.0.1:${port}`, user_labels: true } });
    const [metrics, status] = await both();
    expect(metrics).toContain('kpx_user_jobs_held{user="alice",state="ready"} 0\n');
    expect(JSON.parse(status ?? '').executors).toMatchObject([{ os_user: 'alice', state: 'ready' }]);
  });
});

describe('the port', () => {
  it('answers what it knows, and nothing else: no other path, method or body, and none of the control socket’s verbs', async () => {
    const { kpx, port } = await listening();
    const status = async (path: string, options = {}) => (await ask(port, path, options)).status;
    expect(await status('/metrics')).toBe(200);
    expect(await ask(port, '/metrics', { method: 'HEAD' })).toMatchObject({ status: 200, text: '' });
    expect(JSON.parse((await ask(port, '/status')).text)).toMatchObject({ rabbitmq: { connected: true }, capacity: { max_executors: 40 } });
    for (const path of ['/index.html', '/metrics/', '/explain?user=alice', '/configuration', '/__proto__'])
      expect(await status(path)).toBe(404);
    for (const verb of ['/drain', '/resume', '/reload', '/start?user=alice', '/stop?user=alice'])
      expect([verb, await status(verb, { method: 'POST' })]).toEqual([verb, 404]);
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS'])
      expect(await ask(port, '/status', { method })).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } });
    expect(await status('/status', { body: '{}', headers: { 'content-length': '2' } })).toBe(413);
    expect(await status('/status', { body: '{}', headers: { 'transfer-encoding': 'chunked' } })).toBe(413);
    expect(await status('/status', { headers: { filler: 'x'.repeat(9_000) } })).toBe(431);
    expect(await status('//')).toBe(400);
    expect(await ask(port, '/events', { method: 'HEAD' })).toMatchObject({ status: 405, headers: { allow: 'GET' } });
    expect(kpx.brokerLog.lines.filter(({ draining }) => draining !== undefined)).toEqual([]);
  });

  it('cuts who is slow in asking, but no event stream, and takes a bounded number of connections', async () => {
    const { port } = await listening();
    const kept = await stream(port);
    const open = () => {
      const socket = connect(port, '127.0.0.1').on('error', () => {});
      onTestFinished(() => void socket.destroy());
      return socket;
    };
    const slow = Array.from({ length: CONNECTIONS_MAX - 1 }, open);
    await Promise.all(slow.map((socket) => once(socket, 'connect')));
    const closed = (socket: Socket) => new Promise((resolve) => socket.once('close', resolve)); // in whatever way
    const ended = Promise.all(slow.map(closed));
    // A header that never ends: nothing is wrong with it.
    for (const socket of slow) socket.write('GET /status HTTP/1.1\r\nx-slow: ');
    const drip = setInterval(() => slow.forEach((socket) => void (socket.writable && socket.write('x'))), 500);
    onTestFinished(() => clearInterval(drip));
    await closed(open()); // one more than there may be
    const began = performance.now();
    expect(slow.filter(({ destroyed }) => destroyed)).toEqual([]);
    await ended;
    expect(performance.now() - began).toBeLessThan(CUT_WITHIN_MS);
    expect(kept).toMatchObject({ status: 200, response: { destroyed: false } });
    expect((await ask(port, '/status')).status).toBe(200);
  });

  it('takes no body, however much of it there is: it says so at once, and cuts who goes on', async () => {
    const { port } = await listening();
    const asked = request({ host: '127.0.0.1', port, path: '/status', method: 'POST', headers: { 'content-length': '1000000000000' } });
    onTestFinished(() => void asked.destroy());
    const cut = new Promise((resolve) => asked.once('close', resolve));
    asked.on('error', () => {}); // how one learns that it is cut
    const more = () => {
      if (!asked.destroyed) asked.write(Buffer.alloc(100_000), () => setImmediate(more));
    };
    more();
    const [response] = await once(asked, 'response');
    expect(response.statusCode).toBe(405);
    response.resume();
    await cut;
    expect((await ask(port, '/status')).status).toBe(200);
  });

  it('on loopback answers to no name that somebody else may have given it', async () => {
    const { port } = await listening();
    for (const path of ['/', '/status', '/metrics', '/events']) {
      expect(await ask(port, path, { headers: { host: `kpx.example:${port}` } })).toMatchObject({
        status: 421,
        text: `${JSON.stringify({ error: `"kpx.example:${port}" is no name of this host here: use its address, or localhost` })}\n`,
      });
    }
    expect((await ask(port, '/', { headers: { host: `localhost:${port}` } })).status).toBe(200);
  });

  it('lets a browser load nothing from elsewhere, keep nothing, and guess no type', async () => {
    const { port } = await listening();
    for (const path of ['/', '/kpx.js', '/status', '/nothing']) {
      const { headers } = await ask(port, path);
      expect(headers).toMatchObject({ 'cache-control': 'no-store', 'referrer-policy': 'no-referrer', 'x-content-type-options': 'nosniff' });
      expect(headers['content-security-policy']).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self'; (?!.*unsafe)/);
      expect(headers).not.toHaveProperty('access-control-allow-origin');
    }
  });

  it('bounds event streams, refuses more of them, answers Prometheus meanwhile, and frees all', async () => {
    const { kpx, port } = await listening();
    const sockets = () => Object.values(descriptorsOf(kpx.broker?.pid ?? 0)).filter((target) => target.startsWith('socket:')).length;
    const before = sockets();
    const asked = await Promise.all(Array.from({ length: 1_000 }, () => stream(port)));
    const count = (status: number | 'dropped') => asked.filter((answer) => answer.status === status).length;
    expect(count(200)).toBe(STREAMS_MAX);
    expect(count(503)).toBeGreaterThan(0);
    expect(count(200) + count(503) + count('dropped')).toBe(1_000);
    await eventually('there is room for a question', async () => (await stream(port)).status === 503);
    expect((await scrape(port)).value('kpx_rabbitmq_connected')).toBe(1);
    expect(JSON.parse((await ask(port, '/events')).text)).toEqual({ error: '16 event streams are open already: try again later' });
    for (const { response } of asked) response?.destroy();
    await eventually('all are closed', () => sockets() <= before);
    expect((await stream(port)).status).toBe(200);
  });

  it('does not keep a broker that stops', async () => {
    const { kpx, port } = await listening();
    const { response } = await stream(port);
    const ended = new Promise((resolve) => response?.once('close', resolve));
    expect(await kpx.endBroker()).toBe(0);
    await ended;
  });

  it('is where a reload says, or nowhere; and somebody else’s port is no reason to end', async () => {
    const { kpx, port } = await listening();
    const [other = 0] = await freePorts(1);
    await kpx.reload({ http: { listen: `127.0.0.1:${other}` } });
    expect((await ask(other, '/status')).status).toBe(200);
    await expect(ask(port, '/status')).rejects.toThrow('ECONNREFUSED');
    const second = await installKpx({ broker: { http: { listen: `127.0.0.1:${other}` } } });
    await second.start();
    expect(
      await second.brokerLog.line({ msg: 'cannot listen: no metrics, /status and page until http.listen is corrected and reloaded' }),
    ).toMatchObject({
      level: 50,
      reason: expect.stringContaining('EADDRINUSE'),
    });
    await kpx.reload({});
    await expect(ask(other, '/status')).rejects.toThrow('ECONNREFUSED');
  });

  it('that others than this host can reach is warned of', async () => {
    const [port = 0] = await freePorts(1);
    const kpx = await startKpx({ broker: { http: { listen: `0.0.0.0:${port}` } } });
    expect(await kpx.brokerLog.line({ listen: `0.0.0.0:${port}` })).toMatchObject({
      level: 40,
      msg: 'metrics and status can be read from other hosts, by everybody who can connect',
    });
    await eventually('it answers', async () => (await ask(port, '/status')).status === 200);
    expect((await ask(port, '/', { headers: { host: 'kpx.example' } })).status).toBe(200);
  });
});
