import { draw, steer } from '@kpx/broker/output/terminal';

/** Of a terminal that does not say, in characters. */
const COLUMNS = 80;
const ROWS = 24;

/*
 * Control sequences of xterm, which every terminal of today has: the alternate screen, without a cursor, and with long lines cut instead of wrapped.
 * Source: invisible-island.net, "XTerm Control Sequences".
 */
const ENTER = '\u001b[?1049h\u001b[?25l\u001b[?7l';
const LEAVE = '\u001b[?7h\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const ERASE_LINE = '\u001b[2K';

const CTRL_C = '\u0003';
const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Events of a screen. */
interface ScreenObserver {
  /** A key, as the terminal sends it; Ctrl-C is {@link ended}. */
  pressed(key: string): void;
  /** It has another size now. */
  resized(): void;
  /** The person, or a signal, or the end of the terminal asks for the end. */
  ended(): void;
}

export const isScreen = () => process.stdout.isTTY && process.env.TERM !== 'dumb';

/** The whole terminal, which is as it was before when this is left, also by the end of the process. */
export class Screen {
  readonly #observer: ScreenObserver;
  readonly #ended = () => this.#observer.ended();
  readonly #resized = () => this.#observer.resized();
  readonly #leave = () => this.leave();
  readonly #pressed = (keys: string) => (keys.includes(CTRL_C) ? this.#observer.ended() : this.#observer.pressed(keys));
  #entered = false;

  constructor(observer: ScreenObserver) {
    this.#observer = observer;
  }

  get columns(): number {
    return process.stdout.columns || COLUMNS;
  }

  get rows(): number {
    return process.stdout.rows || ROWS;
  }

  enter(): void {
    this.#entered = true;
    process.once('exit', this.#leave);
    for (const signal of ENDING_SIGNALS) process.on(signal, this.#ended);
    process.stdout.on('resize', this.#resized);
    steer(ENTER);
    if (!process.stdin.isTTY) return; // no keys then
    process.stdin.setRawMode(true).setEncoding('utf8').on('data', this.#pressed);
    process.stdin.once('end', this.#ended).once('error', this.#ended);
  }

  /** Lines without control characters but for colours; what does not fit is not drawn. */
  draw(lines: readonly string[]): void {
    draw(
      HOME,
      ERASE_LINE,
      Array.from({ length: this.rows }, (_, row) => lines[row] ?? ''),
    );
  }

  leave(): void {
    if (!this.#entered) return;
    this.#entered = false;
    process.off('exit', this.#leave);
    for (const signal of ENDING_SIGNALS) process.off(signal, this.#ended);
    process.stdout.off('resize', this.#resized);
    if (process.stdin.isTTY) process.stdin.off('data', this.#pressed).setRawMode(false).pause();
    steer(LEAVE);
  }
}
