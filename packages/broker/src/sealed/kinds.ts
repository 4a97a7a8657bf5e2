import type { KnimeUser, OsUser } from '@kpx/protocol';
import type { Logger } from 'pino';

/** An executor of which the broker knows. */
export interface Running {
  readonly osUser: OsUser;
  readonly uid: number;
  readonly pid: number;
  /** A KNIME name that leads to the account. */
  readonly user: KnimeUser;
}

/** Asks the helper for the hash of the password of an account's executor; undefined: it shares its user with others. */
type PasswordHash = (user: KnimeUser) => Promise<string | undefined>;

/**
 * Which executors are sealed, and which share a RabbitMQ user and the job queue, while an installation moves from one to the other. The helper decides that
 * for each start: a broker that could choose could give an account the password that others have. So the broker asks, also of what runs already.
 */
export class Kinds {
  readonly #log: Logger;
  readonly #passwordHash: PasswordHash;
  readonly #kinds = new Map<OsUser, 'sealed' | 'shared'>();
  /** Starts that are under way. */
  readonly #starts = new Map<OsUser, number>();
  #asking: Promise<void> | undefined;

  constructor(log: Logger, passwordHash: PasswordHash) {
    this.#log = log;
    this.#passwordHash = passwordHash;
  }

  /** Undefined: nobody knows yet. */
  of(osUser: OsUser): 'sealed' | 'shared' | undefined {
    return this.#kinds.get(osUser);
  }

  /** A start has begun. Each needs {@link settled}. */
  starts(osUser: OsUser, kind: 'sealed' | 'shared'): void {
    this.#kinds.set(osUser, kind);
    this.#starts.set(osUser, (this.#starts.get(osUser) ?? 0) + 1);
  }

  /** A start has come to an end, well or not. */
  settled(osUser: OsUser): void {
    const left = (this.#starts.get(osUser) ?? 0) - 1;
    if (left > 0) this.#starts.set(osUser, left);
    else this.#starts.delete(osUser);
  }

  /** Forgets what does not run any more. Answers whether all of what runs is known. */
  keep(running: ReadonlyMap<OsUser, Running>): boolean {
    for (const osUser of this.#kinds.keys()) if (!running.has(osUser) && !this.#starts.has(osUser)) this.#kinds.delete(osUser);
    return [...running.keys()].every((osUser) => this.#kinds.has(osUser));
  }

  /** Asks for those of whom nobody knows. Never rejects: where the helper does not say, it is asked again with its next list. */
  async ask(running: ReadonlyMap<OsUser, Running>): Promise<void> {
    this.#asking ??= this.#ask([...running.values()].filter(({ osUser }) => !this.#kinds.has(osUser))).finally(() => {
      this.#asking = undefined;
    });
    await this.#asking;
  }

  async #ask(unknown: readonly Running[]): Promise<void> {
    const look = async ({ osUser, user }: Running) => {
      try {
        const kind = (await this.#passwordHash(user)) === undefined ? 'shared' : 'sealed';
        if (!this.#kinds.has(osUser)) this.#kinds.set(osUser, kind);
      } catch (error) {
        this.#log.warn(
          { account: osUser, reason: (error as Error).message },
          'the helper does not say whether an executor is sealed: it gets no jobs until the helper is asked again, in some seconds',
        );
      }
    };
    await Promise.all(unknown.map(look));
  }
}
