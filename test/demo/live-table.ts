import type { Kpx } from '../fixtures/kpx.js';

interface Row {
  readonly knimeUser: string;
  readonly osUser: string | undefined;
}

const HEAD = ['KNIME user', 'account', 'uid', 'pid', 'executor', 'jobs done', 'parked'];
const WIDTHS = [12, 10, 6, 7, 10, 9, 6];

/** What goes on, from the broker's log and the executors' workspaces: a table drawn anew on a terminal, lines of events elsewhere. */
export class LiveTable {
  readonly #kpx: Kpx;
  readonly #users: readonly Row[];
  readonly #time: () => string;
  #drawnLines = 0;
  #seen = 0;

  constructor(kpx: Kpx, users: readonly Row[], time: () => string) {
    this.#kpx = kpx;
    this.#users = users;
    this.#time = time;
  }

  parked(user?: string): number {
    const lines = this.#kpx.brokerLog.lines.filter(({ msg }) => msg === 'job parked');
    return lines.filter((line) => user === undefined || line.user === user).length;
  }

  show(): void {
    if (process.stdout.isTTY) this.#draw();
    else this.showEvents();
  }

  /** The whole table once, where it was not drawn all along. */
  finish(): void {
    this.show();
    if (!process.stdout.isTTY) process.stdout.write(`\n${this.#lines().join('\n')}\n`);
  }

  /** Changes of state and parked jobs since the last time, a line each. */
  showEvents(): void {
    const news = this.#kpx.brokerLog.lines.slice(this.#seen);
    this.#seen += news.length;
    for (const { msg, user, state, reason, detail } of news) {
      if (msg === 'executor') process.stdout.write(`${this.#time()}  ${user}: ${state}${reason ? ` (${reason})` : ''}\n`);
      if (msg === 'job parked') process.stdout.write(`${this.#time()}  ${user ?? 'a job'}: parked, ${reason} (${detail})\n`);
    }
  }

  #draw(): void {
    this.#seen = this.#kpx.brokerLog.lines.length;
    const lines = this.#lines();
    if (this.#drawnLines > 0) process.stdout.write(`\u001b[${this.#drawnLines}A`);
    process.stdout.write(lines.map((line) => `\u001b[2K${line}\n`).join(''));
    this.#drawnLines = lines.length;
  }

  #lines(): string[] {
    const rows = this.#users.map(({ knimeUser, osUser }) => {
      const last = this.#kpx.brokerLog.lines.filter(({ msg, user }) => msg === 'executor' && user === knimeUser).at(-1);
      const [, uid = '-', pid = '-'] = /uid (\d+), pid (\d+)/.exec(String(last?.reason)) ?? [];
      const done = osUser === undefined ? 0 : this.#kpx.done(osUser).length;
      return [knimeUser, osUser ?? '-', uid, pid, String(last?.state ?? '-'), String(done), String(this.parked(knimeUser))];
    });
    const line = (cells: string[]) => `  ${cells.map((cell, column) => cell.padEnd(WIDTHS[column] ?? 0)).join('  ')}`;
    return [line(HEAD), line(WIDTHS.map((width) => '-'.repeat(width))), ...rows.map(line)];
  }
}
