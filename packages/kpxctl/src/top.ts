import { setTimeout as delay } from 'node:timers/promises';
import { askStatus, BrokerRefused, BrokerUnreachable } from '@kpx/broker/control/client';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { cut } from '@kpx/broker/output/format';
import { bold, warning } from '@kpx/broker/output/terminal';
import type { Status } from '@kpx/broker/record/status';
import { printable } from '@kpx/protocol';
import { type Command, InvalidArgumentError } from 'commander';
import { asksAt, type BrokerOptions } from './broker-options.js';
import { controlSocket } from './control-socket.js';
import { sortOption } from './list.js';
import { ORDERS, type Order, rowsOf, sorted, tableOf } from './rows.js';
import { isScreen, Screen } from './screen.js';

const INTERVAL_S = 1;
const INTERVAL_S_MIN = 0.1;
const INTERVAL_S_MAX = 3_600;

interface Options extends BrokerOptions {
  /** In seconds. */
  readonly interval: number;
  readonly sort: Order;
}

export function addTop(program: Command): void {
  const command = program
    .command('top')
    .summary('the same as list, live on the whole terminal')
    .description('Shows users and executors, live on the whole terminal. Keys: q or Ctrl-C to end, s for the next order.')
    .option('--interval <SECONDS>', `how often to ask the broker, ${INTERVAL_S_MIN} to ${INTERVAL_S_MAX}`, seconds, INTERVAL_S)
    .addOption(sortOption());
  asksAt(command).action(top);
}

function seconds(text: string): number {
  const value = Number(text);
  if (value >= INTERVAL_S_MIN && value <= INTERVAL_S_MAX) return value;
  throw new InvalidArgumentError(`Expected ${INTERVAL_S_MIN} to ${INTERVAL_S_MAX} seconds.`);
}

/** An answer of the broker, and when it came, in milliseconds since the epoch. */
interface Answered {
  readonly status: Status;
  readonly at: number;
}

async function top({ config, interval, sort }: Options): Promise<void> {
  if (!isScreen()) throw new CommandError(EXIT.usage, 'top draws on a terminal, and here is none that it could use. See: kpxctl list');
  const socket = await controlSocket(config);
  // An error of the first question is printed on the terminal as it is.
  const view = new View({ status: await askStatus(socket), at: Date.now() }, sort);
  const ending = new AbortController();
  const draw = () => screen.draw(view.lines(screen.columns, screen.rows));
  const screen = new Screen({
    pressed: (keys) => {
      if (keys.toLowerCase().includes('q')) ending.abort();
      else if (keys.includes('s')) view.nextOrder();
      draw();
    },
    resized: draw,
    ended: () => ending.abort(),
  });
  screen.enter();
  try {
    while (!ending.signal.aborted) {
      draw();
      await delay(interval * 1_000, undefined, { signal: ending.signal }).catch(() => {}); // the end is asked for
      if (!ending.signal.aborted) await view.ask(socket, ending.signal);
    }
  } finally {
    screen.leave();
  }
}

/** The screen's content: the broker's last answer, its changes since the one before, and why there is no newer one. */
class View {
  #last: Answered;
  #before: Answered | undefined;
  #problem: string | undefined;
  #order: Order;

  constructor(first: Answered, order: Order) {
    this.#last = first;
    this.#order = order;
  }

  async ask(socket: string, signal: AbortSignal): Promise<void> {
    try {
      const status = await askStatus(socket, { signal });
      this.#before = this.#problem === undefined ? this.#last : undefined; // it may have counted from zero meanwhile
      this.#last = { status, at: Date.now() };
      this.#problem = undefined;
    } catch (error) {
      if (!(error instanceof BrokerUnreachable || error instanceof BrokerRefused)) throw error;
      this.#problem = error.message;
    }
  }

  nextOrder(): void {
    this.#order = ORDERS[(ORDERS.indexOf(this.#order) + 1) % ORDERS.length] ?? 'trouble';
  }

  /** As many as there are `rows`, of `columns` characters at most. */
  lines(columns: number, rows: number): string[] {
    const { status, at } = this.#last;
    const fit = (text: string) => cut(printable(text), columns);
    const head = [bold(fit(`${clock(at)}  ${status.doing}`)), fit(capacityOf(status)), fit(this.#jobs())];
    if (this.#problem !== undefined) head.push(warning(fit(`no newer answer since ${clock(at)}: ${this.#problem}`)));
    const foot = `q: end   s: sort (now by ${this.#order})`;
    const table = tableOf(sorted(rowsOf(status), this.#order), columns, at);
    const room = Math.max(1, rows - head.length - 2);
    const hidden = table.length - room;
    const shown = [...head, '', ...table.slice(0, room)];
    while (shown.length < rows - 1) shown.push('');
    return [...shown, fit(hidden > 0 ? `${foot}   ${hidden} more do not fit: kpxctl list has them` : foot)];
  }

  #jobs(): string {
    const { status, at } = this.#last;
    const before = this.#before;
    const rate = (what: 'forwarded' | 'deferred' | 'parked') => {
      const all = `${status.jobs[what]} ${what}`;
      if (before === undefined) return all;
      const perSecond = Math.max(0, status.jobs[what] - before.status.jobs[what]) / Math.max(0.001, (at - before.at) / 1_000);
      return `${all} (${perSecond.toFixed(1)}/s)`;
    };
    return `jobs ${rate('forwarded')}, ${rate('deferred')}, ${rate('parked')}`;
  }
}

const clock = (at: number) => new Date(at).toLocaleTimeString('en-GB');

function capacityOf({ capacity, drain }: Status): string {
  const { executors, max_executors, starting, max_starting, held, held_max, waiting } = capacity;
  const drained = drain ? `, none is started: ${printable(drain)}` : '';
  return `executors ${executors} of ${max_executors}, starting ${starting} of ${max_starting}, users in line ${waiting}, jobs held ${held} of ${held_max}${drained}`;
}
