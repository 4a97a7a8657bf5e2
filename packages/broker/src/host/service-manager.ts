import { printable } from '@kpx/protocol';
import { DgramSocket } from 'node-unix-socket';

/** Signs of life in each of the service manager's watchdog intervals: one may be late. */
const SIGNS_PER_INTERVAL = 3;
/** How often the status line is looked at, in milliseconds; it is sent when it has changed. */
const STATUS_INTERVAL_MS = 1_000;

/**
 * The notices that systemd wants of a service with `Type=notify`: that it is ready, lives, is about to end, and what it is doing. Datagrams to the
 * socket in NOTIFY_SOCKET, see sd_notify(3). Without that variable (no service manager) nothing is sent.
 */
export class ServiceManager {
  readonly #path: string | undefined;
  readonly #watchdogMs: number;
  readonly #socket: DgramSocket | undefined;
  readonly #onProblem: (why: string) => void;
  #timers: NodeJS.Timeout[] = [];

  constructor(environment: NodeJS.ProcessEnv, onProblem: (why: string) => void) {
    const { NOTIFY_SOCKET: path, WATCHDOG_USEC: watchdog, WATCHDOG_PID: pid } = environment;
    // A leading @ means the abstract namespace; systemd itself uses a path.
    this.#path = path?.startsWith('/') ? path : undefined;
    this.#watchdogMs = pid === undefined || pid === `${process.pid}` ? Number(watchdog ?? 0) / 1_000 : 0;
    this.#onProblem = onProblem;
    this.#socket = this.#path === undefined ? undefined : new DgramSocket();
    this.#socket?.on('error', (error: Error) => onProblem(error.message));
  }

  /**
   * From now on it lives, and says what it does; `status` is one line for `systemctl status`. It may quote RabbitMQ: a line end in it would begin
   * another message.
   */
  lives(status: () => string): void {
    if (this.#path === undefined) return;
    const line = () => {
      try {
        return printable(status());
      } catch (error) {
        return printable(`the state cannot be told: ${(error as Error).message}`);
      }
    };
    let last = line();
    this.#send(`STATUS=${last}`);
    const update = () => {
      const now = line();
      if (now === last) return;
      last = now;
      this.#send(`STATUS=${now}`);
    };
    this.#timers = [setInterval(update, STATUS_INTERVAL_MS)];
    if (this.#watchdogMs > 0) this.#timers.push(setInterval(() => this.#send('WATCHDOG=1'), this.#watchdogMs / SIGNS_PER_INTERVAL));
  }

  /** The service has started: `systemctl start` returns. */
  ready(): void {
    this.#send('READY=1');
  }

  stopping(): void {
    this.#send('STOPPING=1\nSTATUS=stopping');
  }

  /** Nothing is sent any more, and nothing keeps the process alive. */
  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#socket?.close();
  }

  #send(text: string): void {
    if (this.#path === undefined) return;
    const bytes = Buffer.from(text);
    this.#socket?.sendTo(bytes, 0, bytes.length, this.#path, (error) => {
      if (error) this.#onProblem(error.message);
    });
  }
}
