import { type KnimeUser, knimeUserSchema, type OsUser, osUserSchema } from '@kpx/protocol';
import { KeptFile } from './kept-file.js';

const FILE = 'orders';

/** An executor that is to end once it is idle. A later one of this account that had the same number by chance would end so, too, which does no harm. */
export interface Leaving {
  readonly osUser: OsUser;
  readonly pid: number;
}

/** The orders of operators that are still to be carried out. */
interface Orders {
  /** The time at which the executor of this user is started, in milliseconds since the epoch. */
  readonly starts: ReadonlyMap<KnimeUser, number>;
  readonly leaving: readonly Leaving[];
}

/** Remembers them over restarts, of the machine too: a line each. */
export class KeptOrders {
  readonly #kept: KeptFile;
  /** As it is in the file. */
  #text: string | undefined;

  constructor(env: NodeJS.ProcessEnv, controlSocket: string) {
    this.#kept = new KeptFile(FILE, env, controlSocket);
  }

  /** Undefined: there is no directory for it. */
  get file(): string | undefined {
    return this.#kept.path;
  }

  /** As they were when the broker ended. `unread`: lines that say nothing. Throws an Error of the file system where that cannot be known. */
  last(): Orders & { readonly unread: number } {
    this.#text = this.#kept.read();
    const starts = new Map<KnimeUser, number>();
    const leaving: Leaving[] = [];
    let unread = 0;
    for (const line of this.#text?.split('\n').filter(Boolean) ?? []) {
      const [start, leaver] = [startIn(line), leavingIn(line)];
      if (start) starts.set(...start);
      else if (leaver) leaving.push(leaver);
      else unread += 1;
    }
    return { starts, leaving, unread };
  }

  /** Answers why the next restart will not know of them; undefined: it will. Writes only what has changed. */
  keep(orders: Orders): string | undefined {
    const text = textOf(orders);
    if (text === this.#text) return undefined;
    const why = this.#kept.write(text);
    if (why === undefined) this.#text = text;
    return why;
  }
}

const START = /^start (\S+) (.+)$/;
const LEAVING = /^stop-when-idle (\S+) (\d{1,10})$/;

function startIn(line: string): [KnimeUser, number] | undefined {
  const [, time = '', name] = START.exec(line) ?? [];
  const user = knimeUserSchema.safeParse(name);
  const atMs = Date.parse(time);
  return user.success && !Number.isNaN(atMs) ? [user.data, atMs] : undefined;
}

function leavingIn(line: string): Leaving | undefined {
  const [, name, pid] = LEAVING.exec(line) ?? [];
  const osUser = osUserSchema.safeParse(name);
  return osUser.success ? { osUser: osUser.data, pid: Number(pid) } : undefined;
}

/** Undefined: there are none. */
function textOf({ starts, leaving }: Orders): string | undefined {
  const lines = [
    ...[...starts].map(([user, atMs]) => `start ${new Date(atMs).toISOString()} ${user}`),
    ...leaving.map(({ osUser, pid }) => `stop-when-idle ${osUser} ${pid}`),
  ];
  return lines.length === 0 ? undefined : `${lines.join('\n')}\n`;
}
