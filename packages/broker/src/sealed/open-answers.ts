import { createHash } from 'node:crypto';

/** Jobs of one account that may be answered at once; beyond, the oldest can be answered no more. */
export const OPEN_MAX = 10_000;
/** Of a digest, in bytes: nobody finds two texts with the same 128 bits of SHA-256. */
const DIGEST_BYTES = 16;

interface Open {
  readonly client: string;
  /** When its last answer came, in milliseconds of the machine's clock; undefined: none has come. */
  answeredAt: number | undefined;
}

/**
 * Which answers an account may give: to a reply_to and correlation id that it was given a job with. A job may be answered more than once, for example with
 * its progress: so an id stays open until `graceMs` after its last answer. Times in milliseconds of the machine's clock, which nobody sets back.
 */
export class OpenAnswers {
  readonly #open = new Map<string, Open>();
  readonly #graceMs: () => number;
  /** How many ids are open to each client, and since when that has been none. */
  readonly #clients = new Map<string, { open: number; idleSince: number }>();
  /** Until when any id of these clients is taken, as nobody knows which are open. */
  readonly #unknown = new Map<string, number>();
  #forgotten = 0;

  constructor(graceMs: () => number) {
    this.#graceMs = graceMs;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Jobs of which nobody has heard: neither answered, nor taken back. */
  get unheardOf(): number {
    let count = 0;
    for (const { answeredAt } of this.#open.values()) if (answeredAt === undefined) count += 1;
    return count;
  }

  /** Ids that were closed because there were too many. */
  get forgotten(): number {
    return this.#forgotten;
  }

  /** A job is given, perhaps once more, to be answered to this client. Answers a function to be called, with the time, where it is not given after all. */
  open(client: string, correlationId: string | undefined, now: number): (now: number) => void {
    const key = keyOf(client, correlationId);
    const before = this.#open.get(key);
    if (before) {
      const { answeredAt } = before;
      before.answeredAt = undefined;
      return () => {
        before.answeredAt ??= answeredAt;
      };
    }
    this.#open.set(key, { client, answeredAt: undefined });
    const known = this.#clients.get(client);
    if (known) known.open += 1;
    else this.#clients.set(client, { open: 1, idleSince: now });
    const [oldest] = this.#open.keys();
    if (this.#open.size > OPEN_MAX && oldest !== undefined) {
      this.#forgotten += 1;
      this.#close(oldest, now);
    }
    return (later) => this.#close(key, later);
  }

  /** Jobs from before this broker may be answered to this client. To be said before the first answer is read. */
  unknownBefore(client: string, now: number): void {
    this.#unknown.set(client, now + this.#graceMs());
    this.knows(client, now);
  }

  /** There is a queue for this client, to which nothing is open yet. */
  knows(client: string, now: number): void {
    if (!this.#clients.has(client)) this.#clients.set(client, { open: 0, idleSince: now });
  }

  /** Clients who may still be answered. */
  get awaiting(): readonly string[] {
    return [...this.#clients].filter(([, { open }]) => open > 0).map(([client]) => client);
  }

  isKnown(client: string): boolean {
    return this.#clients.has(client);
  }

  /** May it be answered? */
  isOpen(client: string, correlationId: string | undefined, now: number): boolean {
    return this.#open.has(keyOf(client, correlationId)) || now < (this.#unknown.get(client) ?? Number.NEGATIVE_INFINITY);
  }

  /** Answered, or taken back: the id stays open for a while, as another copy of the job may be answered. */
  answered(client: string, correlationId: string | undefined, now: number): void {
    const open = this.#open.get(keyOf(client, correlationId));
    const known = this.#clients.get(client);
    if (open) open.answeredAt = now;
    else if (known) known.idleSince = now;
  }

  /** Its executor has ended: jobs of which nobody has heard can be answered for as long as all others. */
  ended(now: number): void {
    for (const open of this.#open.values()) open.answeredAt ??= now;
  }

  /**
   * Closes what was answered long ago. Answers the clients who have waited for nothing for that long. Each is judged and forgotten when the caller comes to
   * it: the others stay known where the caller stops before.
   */
  sweep(now: number): Iterable<string> {
    const graceMs = this.#graceMs();
    for (const [key, { answeredAt }] of this.#open) if (answeredAt !== undefined && now - answeredAt >= graceMs) this.#close(key, now);
    for (const [client, until] of this.#unknown) if (now >= until) this.#unknown.delete(client);
    return this.#forgetIdle(now, graceMs);
  }

  *#forgetIdle(now: number, graceMs: number): Iterable<string> {
    for (const [client, { open, idleSince }] of this.#clients) {
      if (open > 0 || now - idleSince < graceMs || this.#unknown.has(client)) continue;
      this.#clients.delete(client);
      yield client;
    }
  }

  #close(key: string, now: number): void {
    const client = this.#clients.get(this.#open.get(key)?.client ?? '');
    if (!this.#open.delete(key) || !client) return;
    client.open -= 1;
    client.idleSince = now;
  }
}

/** Both texts are the sender's, each with a length: no two pairs have the same bytes. */
function keyOf(client: string, correlationId = ''): string {
  const length = Buffer.byteLength(client);
  return createHash('sha256').update(`${length}:${client}${correlationId}`).digest().toString('latin1', 0, DIGEST_BYTES);
}
