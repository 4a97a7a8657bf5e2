import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { secretsOf } from '@kpx/broker/amqp/connect';
import { JobMac } from '@kpx/broker/amqp/mac';
import { MAC_KEY_FILE, macKeyFile, readMacKey } from '@kpx/broker/amqp/mac-key';
import { type Config, readConfig } from '@kpx/broker/config/config';
import type { TlsFiles } from '@kpx/broker/config/tls-files';
import { type Note, openQueue, refusal } from '@kpx/broker/dead-letters/access';
import type { DeadLetterQueue } from '@kpx/broker/dead-letters/queue';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { ConfigError } from '@kpx/protocol';
import { PASSWORD_FILE } from '../broker-options.js';

interface AccessOptions {
  readonly configFile: string;
  /** undefined: where the configuration says, or {@link PASSWORD_FILE}. */
  readonly passwordFile: string | undefined;
}

/** All that is needed to reach the dead letters. Perhaps only root can read it. */
export interface Access {
  readonly config: Config;
  readonly password: string;
  /** Of x-kpx-mac, in base64. */
  readonly macKey: string;
  /** undefined: no URL is one of TLS. */
  readonly files?: TlsFiles | undefined;
}

/** Throws {@link CommandError} or ConfigError. */
export async function readAccess({ configFile, passwordFile }: AccessOptions): Promise<Access> {
  const file = await readConfig(configFile).catch((error: unknown) => {
    if (!(error instanceof ConfigError && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'EACCES')) throw error;
    throw new CommandError(
      EXIT.noPermission,
      `${configFile} cannot be read: EACCES. Run this as root, or, while the broker runs, as a member of kpx-admin.`,
    );
  });
  const password_file = passwordFile ?? (file.amqp.password_file || (process.env.CREDENTIALS_DIRECTORY ? '' : PASSWORD_FILE));
  if (password_file !== '')
    await checkReadable(password_file, "RabbitMQ's password", 'Run this as root, or name another file with --password-file.');
  const config = { ...file, amqp: { ...file.amqp, password_file } };
  const { password, files } = secretsOf(config.amqp);
  const byTls = config.amqp.urls.some((url) => url.startsWith('amqps:'));
  const unreadable = (error: Error) => {
    throw refusal([error.message], config.amqp);
  };
  const keyFile = macKeyFile(config.jobs) ?? MAC_KEY_FILE;
  await checkReadable(keyFile, "The key of kpx's own headers", 'Run this as root.');
  const macKey = (await readMacKey(keyFile)).toString('base64');
  return { config, password: await password().catch(unreadable), macKey, files: byTls ? await files().catch(unreadable) : undefined };
}

/** With what {@link readAccess} has read. Throws {@link CommandError}. */
export async function openDeadLetters({ config, password, macKey, files }: Access, note: Note): Promise<DeadLetterQueue> {
  const own = secretsOf(config.amqp);
  return await openQueue(config, new JobMac(Buffer.from(macKey, 'base64')), note, {
    password: async () => password,
    files: async () => files ?? (await own.files()),
  });
}

async function checkReadable(file: string, what: string, advice: string): Promise<void> {
  await access(file, constants.R_OK).catch(({ code }: NodeJS.ErrnoException) => {
    throw new CommandError(code === 'EACCES' ? EXIT.noPermission : EXIT.config, `${what} cannot be read from ${file}: ${code}. ${advice}`);
  });
}
