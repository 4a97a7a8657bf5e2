import { access, constants } from 'node:fs/promises';
import { hostname } from 'node:os';
import { performance } from 'node:perf_hooks';
import type { Logger } from 'pino';
import { logFailure } from '../output/logged-failure.js';
import { SaidOnce } from '../output/said-once.js';
import type { HookResult } from '../record/outcomes.js';
import type { Verdict } from '../record/verdict.js';
import { type Call, call } from './call.js';
import { type HookEvent, keyOf, parkedEvent, verdictEvent } from './events.js';
import { WaitingEvents } from './waiting-events.js';

/** How often the verdict is looked at, in milliseconds. It is told when two looks in a row agree: what passes by itself is not. */
export const LOOK_EVERY_MS = 5_000;

const FAILED = "the hook's program has failed: what it was told is lost; see hook.command";
const UNUSABLE = "the hook's program cannot be executed by the broker: correct hook.command, or its mode; it is tried all the same";

interface HookObserver {
  called(result: HookResult): void;
  suppressed(): void;
}

/** Calls the program of `hook.command`, one call at a time, when a job is parked and when the verdict changes. Nothing waits for it. */
export class Hook {
  readonly #log: Logger;
  readonly #command: () => readonly string[];
  readonly #verdict: () => Verdict;
  readonly #observer: HookObserver;
  readonly #waiting = new WaitingEvents();
  #running: Call | undefined;
  #timer: NodeJS.Timeout | undefined;
  #looks: NodeJS.Timeout | undefined;
  /** The verdict of the last look, and the one that was told last: nobody has to be told that all is well when the broker starts. */
  #seen = '';
  /** Of the verdict that waits for its call. */
  #pending: string | undefined;
  #told: { readonly key: string; readonly level: Verdict['level'] } = { key: '', level: 'well' };
  #stopped = false;

  constructor(log: Logger, command: () => readonly string[], verdict: () => Verdict, observer: HookObserver) {
    this.#log = log;
    this.#command = command;
    this.#verdict = verdict;
    this.#observer = observer;
  }

  /** From now on verdicts are looked at. */
  start(): void {
    const looks = new SaidOnce(this.#log, 'it cannot be told whether all is well; the hook is not called for it');
    const look = async () => this.#look();
    this.#looks = setInterval(() => looks.run(look), LOOK_EVERY_MS);
    this.renewed();
  }

  /** There may be another command. */
  renewed(): void {
    const [program] = this.#command();
    if (program === undefined) {
      this.#waiting.clear();
      this.#pending = undefined;
      this.#told = { key: '', level: 'well' };
      return;
    }
    access(program, constants.X_OK).catch(({ message: reason }: Error) => this.#log.warn({ reason }, UNUSABLE));
  }

  /** For good. A program that runs is killed. */
  stop(): void {
    this.#stopped = true;
    clearInterval(this.#looks);
    clearTimeout(this.#timer);
    this.#running?.kill();
  }

  /** A job is with the dead letters, for certain. */
  parked(facts: Readonly<Record<string, unknown>>): void {
    if (this.#isOff) return;
    if (!this.#waiting.parked(parkedEvent(facts, new Date()))) this.#observer.suppressed();
    this.#goOn();
  }

  get #isOff(): boolean {
    return this.#stopped || this.#command().length === 0;
  }

  #look(): void {
    if (this.#isOff) return;
    const verdict = this.#verdict();
    const key = keyOf(verdict);
    const settled = key === this.#seen;
    this.#seen = key;
    if (!settled || key === this.#pending) return;
    const isNews = key !== this.#told.key;
    const event = isNews ? verdictEvent(verdict, this.#told.level, new Date()) : undefined;
    this.#pending = isNews ? key : undefined;
    if (this.#waiting.verdict(event)) this.#observer.suppressed();
    this.#goOn();
  }

  /** Calls the program if something is due, now or when it is. */
  #goOn(): void {
    if (this.#running || this.#isOff) return;
    const now = performance.now();
    const due = this.#waiting.take(now);
    if (due) {
      this.#run(due.event, due.suppressed).catch(logFailure(this.#log, 'the hook cannot be called'));
      return;
    }
    const waitMs = this.#waiting.dueInMs(now);
    clearTimeout(this.#timer);
    if (waitMs !== undefined) this.#timer = setTimeout(() => this.#goOn(), waitMs);
  }

  async #run(event: HookEvent, suppressed: number): Promise<void> {
    if (event.event === 'verdict') {
      this.#told = { key: this.#pending ?? '', level: event.level };
      this.#pending = undefined;
    }
    this.#running = call(this.#command(), `${JSON.stringify({ ...event, host: hostname(), suppressed })}\n`);
    const { result, why, output } = await this.#running.outcome;
    this.#running = undefined;
    if (this.#stopped) return;
    this.#observer.called(result);
    if (result !== 'ok') this.#log.warn({ event: event.event, result, reason: why, output }, FAILED);
    this.#goOn();
  }
}
