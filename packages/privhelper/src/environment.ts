import { addressVariables, type Environment, executorFor, KpxError, msgqOf, problemOfMsgq, reservation } from '@kpx/protocol';
import type { Account } from './accounts.js';
import type { Config } from './config.js';
import { userPaths } from './directories.js';
import { readTrustedFile } from './system/trusted-file.js';

/** Largest MSGQ file, in bytes: a list of URLs on one line. */
export const MSGQ_BYTES_MAX = 4_096;

/**
 * The executor's whole environment, from scratch: nothing of the helper's own gets in. [executor.environment] cannot
 * override the variables that kpx sets. The names KNIME_… are KNIME's; docs/workers.md has what others go by. Holds a secret: never logged, never on the wire. Throws when
 * msgq_file is not usable.
 */
export async function executorEnvironment(account: Account, { directories, executor: ofAll }: Config): Promise<Environment> {
  const executor = executorFor(ofAll, account.osUser);
  const paths = userPaths(account, directories);
  return {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    LANG: 'C.UTF-8',
    ...executor.environment,
    HOME: account.home,
    USER: account.osUser,
    LOGNAME: account.osUser,
    SHELL: account.shell,
    TMPDIR: paths.temp,
    KPX_USER: account.osUser,
    KPX_WORKSPACE: paths.workspace,
    KNIME_EXECUTOR_TEMP_DIR: paths.temp,
    KNIME_EXECUTOR_RESERVATION: reservation(account, executor.reservation_clause),
    ...addressVariables(msgqOf(await readMsgq(executor), executor, account.osUser)),
  };
}

/**
 * The address of RabbitMQ with the credentials that executors share; sealed, a template for it, of which {password} is left until the start. Read at each start,
 * so that a change needs no restart.
 */
export async function readMsgq({ msgq_file: file, sealed }: Pick<Config['executor'], 'msgq_file' | 'sealed'>): Promise<string> {
  const text = (await readTrustedFile(file, 'secret', MSGQ_BYTES_MAX)).trim();
  const problem = problemOfMsgq(text, sealed !== false);
  if (problem !== undefined) throw new KpxError('HOST_FAILED', `msgq_file ${file} ${problem}`);
  return text;
}
