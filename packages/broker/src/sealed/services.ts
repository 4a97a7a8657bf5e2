import { nodeOf, type OsUser } from '@kpx/protocol';
import type { Logger } from 'pino';
import type { InForce } from '../amqp/in-force.js';
import type { JobMac } from '../amqp/mac.js';
import { HeldBytes } from '../amqp/wire/bodies.js';
import { type Config, readPassword } from '../config/config.js';
import { readTlsFiles } from '../config/tls-files.js';
import { logFailure } from '../output/logged-failure.js';
import { Provisioning } from '../rabbitmq/provisioning.js';
import { KeptAnswers } from './kept-answers.js';
import { Mirrors } from './mirrors.js';
import type { RefusedRecord } from './refused.js';
import { Uplink } from './uplink.js';

/** Bodies that come up from all accounts, in memory, in bytes. */
const HELD_BYTES_MAX = 64 * 1024 * 1024;

/** Listeners to what accounts publish. */
interface Told {
  /** Keeps their refused messages. */
  readonly refused: RefusedRecord;
  /** An answer of this account is with the client. */
  readonly answered: (account: string, correlationId: string) => void;
}

/** Things that all accounts share. They go by the configuration in force: ask for each when it is needed. */
export class SealedServices {
  readonly log: Logger;
  readonly mac: () => JobMac;
  readonly host: string;
  readonly node: string;
  readonly held = new HeldBytes(HELD_BYTES_MAX);
  /** Asks the helper for the hash of the password that the account's executor has. */
  readonly passwordHash: (account: OsUser) => Promise<string>;
  readonly refused: RefusedRecord;
  readonly answered: Told['answered'];
  readonly mirrors: Mirrors;
  /** Accounts in whose virtual hosts all bounds are, by the configuration in force. */
  readonly bounded = new Set<OsUser>();
  readonly kept = new KeptAnswers(() => this.config.sealed.reply_grace);
  readonly #inForce: InForce;
  #api: Provisioning;
  #uplink: Uplink;
  #administrator: string | undefined;

  constructor(
    log: Logger,
    inForce: InForce,
    host: string,
    passwordHash: (account: OsUser) => Promise<string>,
    { refused, answered }: Told,
  ) {
    this.refused = refused;
    this.answered = answered;
    this.log = log;
    this.mac = inForce.mac;
    this.host = host;
    this.node = nodeOf(inForce.config().sealed);
    this.passwordHash = passwordHash;
    this.#inForce = inForce;
    this.#api = apiOf(this.config);
    this.#uplink = new Uplink(log, this.config, host);
    this.mirrors = new Mirrors(this);
  }

  get config(): Config {
    return this.#inForce.config();
  }

  get api(): Provisioning {
    return this.#api;
  }

  /** The one way from all accounts to the server. */
  get uplink(): Uplink {
    return this.#uplink;
  }

  /** The broker's own name at the accounts' RabbitMQ. */
  administrator = async (): Promise<string> => {
    this.#administrator ??= await this.#api.administrator();
    return this.#administrator;
  };

  /** Its virtual host is about to be removed. */
  forget = (account: OsUser): void => {
    this.bounded.delete(account);
    this.kept.forget(account);
  };

  /** Begins: what accounts publish can be carried from now on. */
  start(): void {
    this.#uplink.run().catch(logFailure(this.log, 'what accounts publish cannot be carried any more'));
  }

  /** Another configuration is in force. With `uplink`, what is published from now on goes by another connection. */
  renew(uplink: boolean): void {
    this.#api = apiOf(this.config);
    this.#administrator = undefined;
    this.bounded.clear();
    if (!uplink) return;
    this.mirrors.reconnect();
    const before = this.#uplink;
    this.#uplink = new Uplink(this.log, this.config, this.host);
    this.start();
    before.stop().catch(logFailure(this.log, 'the connection by which accounts published could not be closed'));
  }
}

function apiOf({ amqp, sealed }: Config): Provisioning {
  const login = { ...amqp, password_file: sealed.management_password_file };
  return new Provisioning({
    name: `the accounts' management API at ${sealed.management_url} (sealed.management_url)`,
    url: sealed.management_url,
    user: decodeURIComponent(new URL(sealed.urls[0] ?? '').username),
    password: () => readPassword(login),
    files: () => readTlsFiles(amqp.tls),
    timeoutMs: sealed.api_timeout,
  });
}
