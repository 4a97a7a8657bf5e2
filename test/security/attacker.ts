import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { PacketHandlers } from '@kpx/protocol';
import type { Connect } from '../fixtures/helper-connection.js';
import { checkout, end, idsOf, node } from '../fixtures/helper-installation.js';

/** What came of it: a value, or the code of the error. */
export type Outcome = { value?: unknown; code?: string };

const GONE = 'the attacker is gone';

type Told = { question: number; value?: unknown; code?: string } | { connection: number; packet?: Uint8Array; closed?: boolean };

/** A process that has an account's rights, and does with them what it is told to: attacker-process.mjs. */
export class Attacker {
  readonly #process: ChildProcess;
  readonly #questions = new Map<number, (outcome: Outcome) => void>();
  readonly #connections = new Map<number, PacketHandlers>();
  /** What came on a connection before its number was known. */
  readonly #early = new Map<number, Told[]>();
  #asked = 0;

  private constructor(account: string) {
    const { uid, gid } = idsOf(account);
    const become = ['--reuid', `${uid}`, '--regid', `${gid}`, '--init-groups', '--'];
    this.#process = spawn('/usr/bin/setpriv', [...become, node(), join(checkout(), 'test/security/attacker-process.mjs')], {
      cwd: checkout(),
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'advanced',
      detached: true, // SIGCONT reaches every process of one's session, whoever's it is
    });
    this.#process.on('message', (told: Told) => this.#told(told));
    this.#process.once('exit', () => {
      for (const answer of this.#questions.values()) answer({ code: GONE });
      for (const { closed } of this.#connections.values()) closed(GONE);
    });
  }

  /** Resolves when it is ready. */
  static async as(account: string): Promise<Attacker> {
    const attacker = new Attacker(account);
    const { code } = await attacker.tries('link', '/proc/self');
    if (code !== undefined) throw new Error(`no attacker as ${account}: ${code}`);
    return attacker;
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** One of the operations of attacker-process.mjs. */
  async tries(operation: string, ...args: unknown[]): Promise<Outcome> {
    if (!this.#process.connected) return { code: GONE };
    const question = ++this.#asked;
    const outcome = new Promise<Outcome>((resolve) => this.#questions.set(question, resolve));
    this.#process.send({ question, operation, args });
    return await outcome;
  }

  /** For {@link HelperConnection}: a connection of the attacker's. */
  readonly connect: Connect = async (socket, handlers) => {
    const { value, code } = await this.tries('connect', socket);
    if (code !== undefined) throw new Error(code);
    const connection = Number(value);
    this.#connections.set(connection, handlers);
    for (const told of this.#early.get(connection) ?? []) this.#told(told);
    return {
      send: (packet) => void this.tries('send', connection, packet),
      close: () => void this.tries('close', connection),
    };
  };

  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await end(this.#process, signal);
  }

  #told(told: Told): void {
    if ('question' in told) {
      this.#questions.get(told.question)?.(told);
      this.#questions.delete(told.question);
      return;
    }
    const handlers = this.#connections.get(told.connection);
    if (!handlers) this.#early.set(told.connection, [...(this.#early.get(told.connection) ?? []), told]);
    else if (told.packet) handlers.packet(Buffer.from(told.packet));
    else handlers.closed('the helper closed the connection');
  }
}
