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

  /** Lets the account log in by the password that was made last. `alone`: connections of an earlier executor are ended first. */
  async register(alone: boolean): Promise<void> {
    const { api } = this.#services;
    const registering = this.#registering
      .catch(() => {}) // it was told already
      .then(async () => {
        if (alone) await api.deleteUser(this.#name);
        await api.putUser(this.#name, this.passwordHash);
        await this.#permit();
      });
    this.#registering = registering;
    await registering;
  }

  /** Makes it anew where it is not there any more, with the password of the executor that runs. */
  async repair(): Promise<void> {
    const { api, passwordHash } = this.#services;
    if (!(await api.hasUser(this.#name))) await api.putUser(this.#name, await passwordHash(this.#account));
    await this.#permit();
  }

  async #permit(): Promise<void> {
    await permitUser(this.#services.api, this.#name, this.#services.config);
  }
}
