import { ok, strictEqual } from 'node:assert/strict';
import {
  decodeRequest,
  decodeResponse,
  type ExecutorInfo,
  ExecutorState,
  encodeRequest,
  KpxError,
  osUserSchema,
  type PacketConnection,
  type PacketHandlers,
  PROTOCOL_VERSION,
  privhelperConfigSchema,
  REQUEST_DEADLINE_MS,
  REQUESTS_IN_FLIGHT_MAX,
  type Response,
  withMap,
} from '@kpx/protocol';
import * as fc from 'fast-check';
import type { Audit, AuditLine } from '../../packages/privhelper/src/audit.js';
import type { Config } from '../../packages/privhelper/src/config.js';
import { serveBroker } from '../../packages/privhelper/src/dispatch.js';
import type { Launcher } from '../../packages/privhelper/src/launcher.js';
import { damaged, name, requestBodies, requestOf } from '../../packages/protocol/test-fixtures/messages.js';

/*
 * One connection's session in this process: the helper's own table, codec and account look-up, with a launcher that only remembers. No account
 * is eligible (min_uid is the highest there is), so that nothing is made or started.
 */

const { accounts, ...others } = privhelperConfigSchema.parse({
  accounts: { min_uid: 0xffff_fffe },
  executor: { launcher: 'direct', command: ['/none'] },
});
const config: Config = { ...others, accounts: withMap(accounts) };

/** More than a page of them. */
const RUNNING: ExecutorInfo[] = Array.from({ length: 30 }, (_, index) => ({
  osUser: osUserSchema.parse(`user${index}`),
  uid: 1_000 + index,
  knimeUsers: [],
  state: ExecutorState.running,
  sinceMs: 1,
  mainPid: 1,
  lastExit: '',
  cpuMs: 0,
}));

const launcher: Launcher = {
  fill: () => Promise.reject(new Error('an account was eligible')),
  start: () => Promise.reject(new Error('an account was eligible')),
  stop: async (osUser) => {
    if (osUser.length % 2 === 0) throw new KpxError('NOT_RUNNING', 'none');
    return 1_000;
  },
  list: async () => RUNNING,
  stopAll: async () => {},
  msgqOf: async () => undefined,
  passwords: new Map(),
};

export interface Step {
  readonly packet: Buffer;
  /** Wait until everything so far is answered before the next packet. */
  readonly settle: boolean;
}

/** What was not caught anywhere: in the helper it would be the end of the process. */
const uncaught: unknown[] = [];
process.on('unhandledRejection', (error) => uncaught.push(error));

/** The session's surroundings, remembering what it does to them. */
class Recorder implements Audit {
  readonly lines: AuditLine[] = [];
  readonly answers: Response[] = [];
  open = true;
  session!: PacketHandlers;
  #watch = () => {};

  line(line: AuditLine): void {
    this.lines.push(line);
    this.#watch();
  }
  ended(): void {}
  info(): void {}

  /** As transport.ts promises: nothing is sent or received after the close, and closed() comes later. */
  readonly connection = {
    send: (packet: Buffer) => void (this.open && this.answers.push(decodeResponse(packet))),
    close: (why: string) => {
      if (!this.open) return;
      this.open = false;
      setImmediate(() => this.session.closed(why));
    },
  } as unknown as PacketConnection;

  count(event: AuditLine['event']): number {
    return this.lines.filter((line) => line.event === event).length;
  }

  async until(event: AuditLine['event'], count: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve, reject) => {
      const late = () => reject(new Error(`${this.count(event)} of ${count} audit lines "${event}" in time`));
      timer = setTimeout(late, REQUEST_DEADLINE_MS + 5_000);
      this.#watch = () => void (this.count(event) >= count && resolve());
      this.#watch();
    }).finally(() => clearTimeout(timer));
  }
}

/** What ServingSession says of a packet, told again: undefined for one that has to end the connection. */
function admitted(
  packet: Buffer,
  greeted: 'no' | 'asked' | 'yes',
  inFlight: ReadonlySet<number>,
): { id: number; verb: string } | undefined {
  const request = (() => {
    try {
      return decodeRequest(packet);
    } catch {
      return undefined;
    }
  })();
  if (!request) return undefined;
  const inOrder = request.verb === 'hello' ? greeted === 'no' : greeted === 'yes';
  return inOrder && !inFlight.has(request.id) && inFlight.size < REQUESTS_IN_FLIGHT_MAX ? request : undefined;
}

/** Throws unless each packet is either answered or ends the connection, as the protocol has it, with an audit line for each. */
export async function judgeSession(steps: readonly Step[]): Promise<void> {
  const recorder = new Recorder();
  const session = serveBroker({ config, launcher, audit: recorder }, { via: 'fuzz', connection: 1 }, () => recorder.connection);
  recorder.session = session;
  let greeted: 'no' | 'asked' | 'yes' = 'no';
  const inFlight = new Set<number>();
  const ids: number[] = [];
  for (const { packet, settle } of steps) {
    if (!recorder.open) break;
    const request = admitted(packet, greeted, inFlight);
    session.packet(packet);
    if (!request) {
      ok(!recorder.open, 'a violation leaves the connection open');
      break;
    }
    ok(recorder.open, `${request.verb} is taken for a violation`);
    ids.push(request.id);
    inFlight.add(request.id);
    if (request.verb === 'hello') greeted = 'asked';
    if (!settle) continue;
    await recorder.until('request', ids.length);
    inFlight.clear();
    if (greeted === 'asked') greeted = 'yes';
  }
  await recorder.until('request', ids.length);
  if (recorder.open) {
    strictEqual(
      recorder.answers
        .map(({ id }) => id)
        .sort()
        .join(),
      [...ids].sort().join(),
      'each request is answered once',
    );
    recorder.connection.close('the peer closed the connection');
  }
  await recorder.until('disconnected', 1);
  const violations = recorder.count('violation');
  ok(violations <= 1 && recorder.count('request') === ids.length && recorder.count('connected') === 1, 'one audit line for each request');
  for (const { code, reason } of recorder.lines) ok(code !== 'INTERNAL', reason);
  strictEqual(uncaught.splice(0).map(String).join(), '', 'nothing uncaught');
}

/** Few ids, so that some meet; names of every kind of account, most of them refused without a look-up. */
const ids = fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 2, max: 40 }) }, fc.integer({ min: 2, max: 0xffff_ffff }));
const people = fc.oneof(fc.constantFrom('root', 'alice', 'ALICE', 'nobody', 'no-such-account'), name);
const bodies = requestBodies(
  people,
  fc.oneof({ weight: 1, arbitrary: fc.constant('default') }, { weight: 9, arbitrary: fc.constant('large') }),
);
const { hello: _, prepareUser, ...cheap } = bodies;
const valid = fc
  .oneof({ weight: 20, arbitrary: requestOf(cheap, ids) }, requestOf({ prepareUser }, ids), requestOf(bodies, ids))
  .map(encodeRequest);
const step = fc.record({
  packet: fc.oneof({ weight: 15, arbitrary: valid }, damaged(valid)),
  settle: fc.boolean(),
});
export const GREETING: Step = { packet: encodeRequest({ id: 1, verb: 'hello', body: { version: PROTOCOL_VERSION } }), settle: true };

const SESSION_PACKETS_MAX = 50;
const sessions = fc.oneof(
  { weight: 9, arbitrary: fc.array(step, { maxLength: SESSION_PACKETS_MAX }).map((steps) => [GREETING, ...steps]) },
  fc.array(step, { maxLength: 3 }),
);

export const sessionProperty = {
  name: 'a session answers what the protocol allows, and ends with the first packet that it does not',
  property: fc.asyncProperty(sessions, judgeSession),
  packets: ([steps]: unknown[]) => (steps as Step[]).map(({ packet }) => packet),
};
