import { CONFIRM_TIMEOUT_MS } from './deadline.js';

/** How often it is looked at, in milliseconds. */
const LOOK_EVERY_MS = 1_000;

/** Which message waits for its confirm longest, as a number of its own; undefined: none waits. */
type Oldest = () => number | undefined;

/**
 * Notices that RabbitMQ takes messages and confirms none: the connection lives, and every job waits for ever. During an alarm that is as it should be,
 * and time begins anew when the alarm is over.
 */
export class ConfirmWatch {
  readonly #oldest: Oldest;
  readonly #late: (why: string) => void;
  readonly #timeoutMs: number;
  readonly #timer: NodeJS.Timeout;
  #blocked = false;
  #seen: number | undefined;
  /** Since when {@link #seen} is the oldest, in milliseconds, monotonic. */
  #since = 0;

  /** `late` is called once, with the reason in words. */
  constructor(oldest: Oldest, late: (why: string) => void, timeoutMs = CONFIRM_TIMEOUT_MS) {
    this.#oldest = oldest;
    this.#late = late;
    this.#timeoutMs = timeoutMs;
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  /** RabbitMQ has raised an alarm, or it is over. */
  blocked(is: boolean): void {
    this.#blocked = is;
    this.#seen = undefined;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const [oldest, now] = [this.#oldest(), performance.now()];
    if (oldest !== this.#seen || this.#blocked) {
      this.#seen = oldest;
      this.#since = now;
    } else if (oldest !== undefined && now - this.#since >= this.#timeoutMs) {
      this.stop();
      this.#late(`RabbitMQ did not confirm a message within ${this.#timeoutMs / 1_000} s`);
    }
  }
}
