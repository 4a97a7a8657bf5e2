/** Whether something outside that the broker needs can be used; all times in ISO 8601. */
export interface LinkStatus {
  readonly connected: boolean;
  /** Since when. */
  readonly since: string;
  /** Why it is not connected, as the last attempt has shown; null: it is, or there was no attempt yet. */
  readonly reason: string | null;
  /** When the next attempt begins; null: it is connected, or an attempt is under way. */
  readonly next_try: string | null;
  /** It is reached, and not used, for the reason. */
  readonly refused?: true;
}

const SECONDS = /\.\d+Z$/;
const iso = (ms: number) => new Date(ms).toISOString().replace(SECONDS, 'Z');

/** Facts about one such connection. It begins as one that is not there. */
export class Link {
  readonly #now: () => number;
  #status: LinkStatus;

  /** `now`: milliseconds since the epoch. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
    this.#status = { connected: false, since: iso(now()), reason: null, next_try: null };
  }

  get status(): LinkStatus {
    return this.#status;
  }

  up(): void {
    this.#status = { connected: true, since: iso(this.#now()), reason: null, next_try: null };
  }

  /** It was lost, or an attempt has failed. The time since when it is so stays the same with each attempt. */
  down(reason: string): void {
    const since = this.#status.connected ? iso(this.#now()) : this.#status.since;
    this.#status = { connected: false, since, reason, next_try: null };
  }

  /** It is reached, and must not be used; looked at again in `ms` milliseconds. */
  refuses(reason: string, ms: number): void {
    this.down(reason);
    this.#status = { ...this.#status, refused: true, next_try: iso(this.#now() + ms) };
  }

  /** The next attempt begins in `ms` milliseconds. */
  waits(ms: number): void {
    this.#status = { ...this.#status, next_try: iso(this.#now() + ms) };
  }

  /** The next attempt begins now. */
  tries(): void {
    this.#status = { ...this.#status, next_try: null };
  }
}

/** In words: "no connection to RabbitMQ since 2026-11-28T03:12:47Z (connect ECONNREFUSED …), next try at 2026-11-28T03:12:51Z". */
export function absence(of: string, { since, reason, next_try, refused }: LinkStatus): string {
  if (refused) return `connected to ${of}, and takes nothing from it since ${since}: ${reason}`;
  const why = reason === null ? '' : ` (${reason})`;
  return `no connection to ${of} since ${since}${why}, ${next_try === null ? 'trying now' : `next try at ${next_try}`}`;
}
