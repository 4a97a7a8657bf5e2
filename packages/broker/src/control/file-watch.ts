import { setTimeout as delay } from 'node:timers/promises';
import { ConfigError } from '@kpx/protocol';
import { type Config, readConfig } from '../config/config.js';
import type { StaleFile } from '../record/standing.js';
import { asJson, differences } from './difference.js';

/** How often the file is read, in milliseconds. */
const LOOK_EVERY_MS = 30_000;

/** Compares the configuration file with the configuration in force, until it is stopped. */
export class FileWatch {
  readonly #path: string;
  readonly #inForce: () => Config;
  readonly #everyMs: number;
  readonly #ended = new AbortController();
  /** As the look before has seen it: somebody may be in the middle of an edit. */
  #before: string | undefined;
  #stale: StaleFile | undefined;

  constructor(path: string, inForce: () => Config, everyMs = LOOK_EVERY_MS) {
    this.#path = path;
    this.#inForce = inForce;
    this.#everyMs = everyMs;
  }

  /** Undefined: the file is in force, or has changed a moment ago. */
  get stale(): StaleFile | undefined {
    return this.#stale;
  }

  /** Another configuration is in force: what was seen says nothing of it. */
  forget(): void {
    this.#before = undefined;
    this.#stale = undefined;
  }

  /** Resolves after {@link stop}. */
  async run(): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      await this.#look();
      await delay(this.#everyMs, undefined, { signal, ref: false }).catch(() => {}); // stopped
    }
  }

  stop(): void {
    this.#ended.abort();
  }

  async #look(): Promise<void> {
    const why = await this.#difference();
    this.#stale = why !== undefined && why === this.#before ? { path: this.#path, why } : undefined;
    this.#before = why;
  }

  async #difference(): Promise<string | undefined> {
    try {
      const changes = differences(asJson(this.#inForce()), asJson(await readConfig(this.#path)));
      return changes.length === 0 ? undefined : changes.length === 1 ? '1 key differs' : `${changes.length} keys differ`;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return 'the broker would refuse it';
    }
  }
}
