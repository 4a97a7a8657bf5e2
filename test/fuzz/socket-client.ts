// Of test/fuzz/socket.ts, in a process of the broker's account: plays batches of scripts. SOCKET
import { setTimeout as delay } from 'node:timers/promises';
import { connectTo, decodeResponse, encodeRequest, knimeUserSchema, type PacketConnection, PROTOCOL_VERSION } from '@kpx/protocol';
import { oneLine } from './finding.js';
import { batchOf, corpusBatch, type Script } from './scripts.js';

export interface BatchResult {
  readonly packets: number;
  readonly connections: number;
  /** What the helper said that it must not say. */
  readonly wrong: string[];
}

/** How long the answers to one script are waited for, in milliseconds. Not all requests have one: a violation drops those in flight. */
const ANSWERS_WAIT_MS = 500;
/** How long it may take until somebody is served whom nobody disturbs, in milliseconds. */
const SERVED_TIMEOUT_MS = 60_000;
/** How long the helper is given to notice that the last connection has ended, in milliseconds. */
const UNGREETED_DELAY_MS = 20;

const [socket = ''] = process.argv.slice(2);
const HELLO = encodeRequest({ id: 1, verb: 'hello', body: { version: PROTOCOL_VERSION } });

/** One connection: counts what is answered, and looks at it. */
class Client {
  readonly over: Promise<void>;
  /** Their kinds. */
  readonly answers: string[] = [];
  #connection!: PacketConnection;
  #tellOver = () => {};
  #watch = () => {};

  private constructor() {
    this.over = new Promise((resolve) => {
      this.#tellOver = resolve;
    });
  }

  static async connect(wrong: string[]): Promise<Client> {
    const client = new Client();
    client.#connection = await connectTo(socket, {
      packet: (packet) => {
        client.answers.push(kindOf(packet, wrong));
        client.#watch();
      },
      closed: () => client.#tellOver(),
    });
    return client;
  }

  /** Past the Hello. The helper serves one at a time, and learns of the last one's end a little later than that one. */
  static async greeted(wrong: string[]): Promise<Client> {
    const deadline = performance.now() + SERVED_TIMEOUT_MS;
    for (;;) {
      const client = await Client.connect(wrong);
      client.send(HELLO);
      await Promise.race([client.answered(1), client.over]);
      if (client.answers.length > 0) return client;
      if (performance.now() > deadline) throw new Error(`no connection within ${SERVED_TIMEOUT_MS} ms`);
    }
  }

  send(packet: Buffer): void {
    this.#connection.send(packet);
  }

  answered(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#watch = () => void (this.answers.length >= count && resolve());
      this.#watch();
    });
  }

  async close(): Promise<void> {
    this.#connection.close('the script is done');
    await this.over;
  }
}

function kindOf(packet: Buffer, wrong: string[]): string {
  try {
    const { kind, body } = decodeResponse(packet);
    if (kind === 'error' && body.code === 'INTERNAL') wrong.push(`an answer: ${body.message}`);
    return kind;
  } catch (error) {
    wrong.push(`an answer that is none: ${oneLine(error)}`);
    return 'none';
  }
}

async function play({ greeted, intruded, packets, ending }: Script, wrong: string[]): Promise<void> {
  // Without a Hello there is no telling whether one is served yet: most of these are.
  const client = greeted ? await Client.greeted(wrong) : await delay(UNGREETED_DELAY_MS).then(() => Client.connect(wrong));
  const intruder = intruded ? await Client.connect(wrong) : undefined;
  const expected = client.answers.length + packets.length;
  for (const packet of packets) {
    client.send(packet);
    intruder?.send(packet);
  }
  if (ending === 'wait') {
    const patience = new AbortController();
    const late = delay(ANSWERS_WAIT_MS, undefined, { signal: patience.signal }).catch(() => {});
    await Promise.race([client.answered(expected), client.over, late]);
    patience.abort();
  }
  await Promise.all([client.close(), intruder?.close()]);
}

/** What a broker does, by someone who has nothing to do with what happened before. */
async function honest(wrong: string[]): Promise<void> {
  const client = await Client.greeted(wrong);
  client.send(encodeRequest({ id: 2, verb: 'listExecutors', body: { page: 1 } }));
  client.send(encodeRequest({ id: 3, verb: 'prepareUser', body: { knimeUser: knimeUserSchema.parse('u01') } }));
  await Promise.race([client.answered(3), client.over]);
  await client.close();
  const kinds = client.answers.sort().join();
  if (kinds !== 'executorPage,hello,userPrepared') wrong.push(`an honest client is answered with ${kinds}`);
}

async function playBatch(scripts: readonly Script[]): Promise<BatchResult> {
  const wrong: string[] = [];
  for (const script of scripts) await play(script, wrong);
  await honest(wrong);
  return { packets: scripts.reduce((sum, { packets }) => sum + packets.length, 0), connections: scripts.length, wrong };
}

process.on('message', (seed: number | 'corpus') => {
  void playBatch(seed === 'corpus' ? corpusBatch() : batchOf(seed)).then((result) => process.send?.(result));
});
process.send?.('ready');
