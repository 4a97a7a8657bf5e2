import type { OsUser } from '@kpx/protocol';
import type { Config } from '../config/config.js';
import type { Provisioning } from '../rabbitmq/provisioning.js';
import { permitUser } from './topology.js';

interface Services {
  readonly config: Config;
  readonly api: Provisioning;
  readonly passwordHash: (account: OsUser) => Promise<string>;
}

/** The RabbitMQ user of one account. The broker knows the hash of its password and no more. */
export class Registration {
  /** Of the password that the helper has made last. */
  passwordHash = '';
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

  /** Lets nobody log in any more. */
  async remove(): Promise<void> {
    await this.#inTurn(() => this.#services.api.deleteUser(this.#name));
  }

  /**
   * Lets the account log in by the password that was made last. `alone`: connections of an earlier executor are ended first. `made`: its virtual host is there.
   */
  async register(alone: boolean, made: Promise<void>): Promise<void> {
    await this.#inTurn(async () => {
      const { api } = this.#services;
      if (alone) await api.deleteUser(this.#name);
      await api.putUser(this.#name, this.passwordHash);
      await made;
      await this.#permit();
    });
  }

  /** Makes it anew where it is not there any more, with the password of the executor that runs. */
  async repair(): Promise<void> {
    await this.#inTurn(async () => {
      const { api, passwordHash } = this.#services;
      if (!(await api.hasUser(this.#name))) await api.putUser(this.#name, await passwordHash(this.#account));
      await this.#permit();
    });
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#registering.catch(() => {}).then(work); // an earlier failure was told already
    this.#registering = done;
    await done;
  }

  async #permit(): Promise<void> {
    await permitUser(this.#services.api, this.#name, this.#services.config);
  }
}
