import type { OsUser } from '@kpx/protocol';
import type { Config } from '../config/config.js';
import type { Provisioning } from '../rabbitmq/provisioning.js';
import { permitUser } from './topology.js';

interface Services {
  readonly config: Config;
  readonly api: Provisioning;
  readonly passwordHash: (account: OsUser) => Promise<string>;
}

/** RabbitMQ lets nobody log in with the name of a user who has none. */
const NO_PASSWORD = '';

/** The RabbitMQ user of one account. The broker knows the hash of its password and no more. */
export class Registration {
  /** Of the password that the helper has made last. */
  passwordHash = '';
  /** A start is about to come for which it is not known yet. */
  isExpected = false;
  readonly #services: Services;
  readonly #account: OsUser;
  readonly #name: string;
  /** One after the other: the last hash stays. */
  #registering: Promise<void> = Promise.resolve();

  constructor(services: Services, account: OsUser, name: string) {
    this.#services = services;
    this.#account = account;
    this.#name = name;
  }

  /** The user has all rights but no password, and no connection of an earlier executor is left. */
  #isReady = false;

  /**
   * A password is about to come: makes a user with all rights who cannot log in. To be called once, before {@link register}. Answers a function to be called when
   * it has come, or will not. Never throws.
   */
  expect(made: Promise<unknown>): () => void {
    this.isExpected = true;
    this.#inTurn(async () => {
      await this.#putAlone(NO_PASSWORD);
      // As a rule its virtual host is there. RabbitMQ refuses rights in one that has gone.
      await this.#permit().catch(() => made.then(() => this.#permit()));
      this.#isReady = true;
    }).catch(() => {}); // register() does all of it again
    return () => {
      this.isExpected = false;
    };
  }

  /** Resolves when nothing is under way. Never rejects. */
  async rest(): Promise<void> {
    await this.#registering.catch(() => {});
  }

  /** Lets nobody log in any more. */
  async remove(): Promise<void> {
    await this.#inTurn(async () => {
      this.#isReady = false;
      await this.#services.api.deleteUser(this.#name);
    });
  }

  /**
   * Lets the account log in by the password that was made last. `alone`: connections of an earlier executor are ended first. `made`: its virtual host is there.
   */
  async register(alone: boolean, made: Promise<unknown>): Promise<void> {
    await this.#inTurn(async () => {
      const isReady = this.#isReady;
      this.#isReady = false;
      if (alone && !isReady) await this.#putAlone(this.passwordHash);
      else await this.#services.api.putUser(this.#name, this.passwordHash);
      if (isReady) return;
      await made;
      await this.#permit();
    });
  }

  /** Makes it anew where it is not there any more, with the password of the executor that runs. */
  async repair(): Promise<void> {
    await this.#inTurn(async () => {
      const { api, passwordHash } = this.#services;
      this.#isReady = false; // it may have gone with all else
      if (!(await api.hasUser(this.#name))) await api.putUser(this.#name, await passwordHash(this.#account));
      await this.#permit();
    });
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#registering.catch(() => {}).then(work); // an earlier failure was told already
    this.#registering = done;
    await done;
  }

  /** Without a connection of an earlier executor: RabbitMQ ends those of a user who goes. */
  async #putAlone(passwordHash: string): Promise<void> {
    const { api } = this.#services;
    if (await api.putUser(this.#name, passwordHash)) return;
    await api.deleteUser(this.#name);
    await api.putUser(this.#name, passwordHash);
  }

  async #permit(): Promise<void> {
    await permitUser(this.#services.api, this.#name, this.#services.config);
  }
}
