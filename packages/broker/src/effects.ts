import { HelperUnavailable, type KnimeUser, KpxError, type ProfileName, SpawnOutcome, StopMode } from '@kpx/protocol';
import type { Logger } from 'pino';
import { END_RETRY_MS } from './executors/ending.js';
import type { Effect, Event, Ticket } from './executors/events.js';
import { STATES, type StartingState } from './executors/states.js';
import type { HelperClient } from './host/helper-client.js';
import { reasonOf } from './host/name-service-down.js';
import { logFailure } from './output/logged-failure.js';
import { SEALED_UNAVAILABLE } from './policy/reasons.js';
import { SealedUnavailable } from './sealed/preparing.js';
import type { SealedExecutors } from './sealed-executors.js';

/** The machine's decisions about executors; what it has decided about jobs is carried out by the intake. */
type ExecutorEffect = Exclude<Effect, { ticket: Ticket }>;

/** Carries out what the machine has decided about executors: asks the helper, and tells the machine what came of it. */
export class ExecutorEffects {
  readonly #log: Logger;
  readonly #helper: HelperClient;
  readonly #emit: (event: Event) => void;
  /** Undefined: executors are not sealed. */
  readonly #sealed: SealedExecutors | undefined;

  constructor(log: Logger, helper: HelperClient, emit: (event: Event) => void, sealed: SealedExecutors | undefined) {
    this.#log = log;
    this.#helper = helper;
    this.#emit = emit;
    this.#sealed = sealed;
  }

  apply(effect: ExecutorEffect): void {
    const { user } = effect;
    switch (effect.kind) {
      case 'start':
        this.#log.info({ user, profile: effect.profile, reason: effect.why }, 'starting an executor');
        this.#start(user, effect.profile).catch(logFailure(this.#log, 'an executor cannot be started'));
        return;
      case 'stop':
        this.#log[effect.cause === 'without_rabbitmq' ? 'warn' : 'info']({ user, reason: effect.why }, 'ending an executor');
        this.#end(user, StopMode.graceful).catch(logFailure(this.#log, 'an executor cannot be ended'));
        return;
      case 'kill':
        this.#log.warn({ user, reason: effect.why }, 'ending an executor by force');
        this.#end(user, StopMode.kill).catch(logFailure(this.#log, 'an executor cannot be ended'));
        return;
      case 'state': {
        const { state, detail } = effect;
        this.#log[STATES[state].log]({ user, state, ...(detail === '' ? {} : { reason: detail }) }, 'executor');
      }
    }
  }

  async #start(user: KnimeUser, profile: ProfileName): Promise<void> {
    let settled: (() => void) | undefined;
    let request: number | undefined;
    const sent = (id: number) => {
      request = id;
    };
    const goesOn = (to: StartingState) => this.#emit({ kind: 'start goes on', user, to });
    try {
      if (this.#sealed) {
        ({ settled } = await this.#sealed.prepare(user, () => goesOn('provisioning')));
        goesOn('starting');
      }
      const { executor, outcome } = await this.#helper.request('spawnExecutor', { knimeUser: user, profile }, sent);
      this.#emit({ kind: 'started', user, executor, wasThere: outcome === SpawnOutcome.alreadyRunning, request });
    } catch (error) {
      if (error instanceof SealedUnavailable)
        this.#emit({ kind: 'not started', user, code: 'HOST_FAILED', detail: `${SEALED_UNAVAILABLE}: ${error.message}` });
      else if (error instanceof KpxError) this.#emit({ kind: 'not started', user, ...(await reasonOf(error)), request });
      else this.#emit({ kind: 'no helper', user, detail: (error as Error).message });
      if (!(error instanceof KpxError || error instanceof HelperUnavailable || error instanceof SealedUnavailable)) throw error;
    } finally {
      settled?.();
    }
  }

  async #end(user: KnimeUser, mode: StopMode): Promise<void> {
    try {
      await this.#helper.request('stopExecutor', { knimeUser: user, mode });
    } catch (error) {
      this.#emit({ kind: 'not ended', user });
      this.#log.warn(
        { user, reason: (error as Error).message, again_ms: END_RETRY_MS },
        'an executor could not be ended; tried again in 3 s, by force where that does not help',
      );
    }
  }
}
