// Starts by the helper and PID 1 alone, one after the other, of a program that sleeps: the first ones on a host without executors, the last ones on one
// with all the others. No broker, no RabbitMQ.
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { decodeResponse, encodeRequest, PROTOCOL_VERSION, type Request } from '@kpx/protocol';
import { SLICE, SOCKET } from '../fixtures/booted/kpx.js';
import { median } from './figures.js';
import { EDGE, kpxWithUsers, letExecutorsSleep, managerCpu } from './many-users.js';

const { values } = parseArgs({ options: { users: { type: 'string', default: '300' } } });
const count = Number(values.users);
const { machine, users, kpx } = await kpxWithUsers(count);
await kpx.configure({ helper: { executor: { max_executors: count } } });
await letExecutorsSleep(machine);
await machine.systemctl('start', SOCKET);

const client = await machine.start(['/usr/bin/node', `${machine.facts.checkout}/test/fixtures/booted/attacker.mjs`], {
  user: 'kpx-broker',
});
if (!client.stdin || !client.stdout) throw new Error('a program without pipes');
const { stdin, stdout } = client;
const answers = createInterface({ input: stdout })[Symbol.asyncIterator]();
let id = 0;
/** Resolves with what kind of answer it gets. */
async function ask(request: object): Promise<string> {
  stdin.write(`${encodeRequest({ id: ++id, ...request } as Request).toString('hex')}\n`);
  return decodeResponse(Buffer.from((await answers.next()).value, 'hex')).kind;
}

async function start(some: readonly string[]): Promise<{ ms: number; managerMs: number }> {
  const before = await managerCpu(machine);
  const times: number[] = [];
  for (const knimeUser of some) {
    const began = performance.now();
    const kind = await ask({ verb: 'spawnExecutor', body: { knimeUser, profile: 'default' } });
    if (kind !== 'executorSpawned') throw new Error(`${knimeUser}: ${kind}`);
    times.push(performance.now() - began);
  }
  return { ms: median(times), managerMs: (((await managerCpu(machine)) - before) * 1_000) / some.length };
}

await ask({ verb: 'hello', body: { version: PROTOCOL_VERSION } });
// Once round before: directories are there, and their making is in neither figure.
for (const knimeUser of users) await ask({ verb: 'prepareUser', body: { knimeUser } });
const first = await start(users.slice(0, EDGE));
await start(users.slice(EDGE, count - EDGE));
const last = await start(users.slice(count - EDGE));
stdin.end();
await machine.systemctl('stop', SLICE);

const line = ({ ms, managerMs }: typeof first) => `${ms.toFixed(0)} ms, of PID 1's processor ${managerMs.toFixed(0)} ms`;
process.stdout.write(`\n${count} starts by the helper alone, one after the other (medians; mean of PID 1):\n`);
process.stdout.write(`  the first ${EDGE}: ${line(first)}\n  the last ${EDGE}: ${line(last)}\n`);
