import { access, constants, readFile } from 'node:fs/promises';
import { CONFIG_BYTES_MAX, ConfigError, knimeUserSchema, parseConfig } from '@kpx/protocol';
import * as z from 'zod';
import type { Policy } from '../policy/policy.js';
import { parseSchedule } from '../policy/schedule.js';
import { type Config, configSchema, controlSchema } from './config-schema.js';

export { type Config, configSchema } from './config-schema.js';

/** Reads and judges the configuration. Throws {@link ConfigError}: file, key or line, what is expected. */
export async function readConfig(file: string): Promise<Config> {
  return parseConfig(file, await readSource(file), configSchema);
}

/**
 * Only where the running broker answers: what else the file says may be wrong meanwhile. Where an operator may not read it, the default.
 * `problem`: the file is no TOML, and the section [control] was read alone. Throws {@link ConfigError}.
 */
export async function readControlSocket(file: string): Promise<{ readonly socket: string; readonly problem?: string }> {
  const unreadable = await access(file, constants.R_OK).then(
    () => false,
    ({ code }: NodeJS.ErrnoException) => code === 'EACCES',
  );
  if (unreadable) return controlSchema.parse({});
  const source = await readSource(file);
  const socketIn = (text: string) => parseConfig(file, text, z.looseObject({ control: controlSchema })).control.socket;
  try {
    return { socket: socketIn(source) };
  } catch (error) {
    const alone = sectionOf(source, 'control');
    if (!(error instanceof ConfigError) || alone === source) throw error;
    return { socket: socketIn(alone), problem: error.message };
  }
}

/** The lines from a heading of TOML to the next one, at the numbers that they have in the file; none where it is not there. */
function sectionOf(source: string, name: string): string {
  const lines = source.split('\n');
  const isHeading = (line: string) => /^\s*\[/.test(line);
  const start = lines.findIndex((line) => new RegExp(`^\\s*\\[\\s*${name}\\s*\\]`).test(line));
  if (start < 0) return '';
  const length = lines.slice(start + 1).findIndex(isHeading);
  return '\n'.repeat(start) + lines.slice(start, length < 0 ? undefined : start + 1 + length).join('\n');
}

async function readSource(file: string): Promise<string> {
  const source = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError(file, [error.code === 'ENOENT' ? 'there is no such file' : `cannot be read: ${error.code}`], { cause: error });
  });
  if (source.length > CONFIG_BYTES_MAX) throw new ConfigError(file, [`has ${source.length} bytes, at most ${CONFIG_BYTES_MAX} are read`]);
  return source.toString('utf8');
}

/** systemd's name for the credential with RabbitMQ's password (`LoadCredential=amqp-password:…`). */
const PASSWORD_CREDENTIAL = 'amqp-password';

/**
 * The password for RabbitMQ: from `amqp.password_file`, or from the credential that systemd passes. Read for each connection, so that a new one
 * in `password_file` needs no restart; systemd reads a credential when the service starts. Throws an Error that names the file; never the content.
 */
export async function readPassword(config: Config['amqp']): Promise<string> {
  const directory = process.env.CREDENTIALS_DIRECTORY;
  const file = config.password_file || (directory ? `${directory}/${PASSWORD_CREDENTIAL}` : '');
  if (file === '') throw new Error('no password: set amqp.password_file, or pass the systemd credential amqp-password');
  const password = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Error(`the password file ${file} cannot be read: ${error.code}`);
  });
  return password.replace(/\r?\n$/, '');
}

/** Turns what the configuration says into the numbers that the machine decides by. */
export function policyOf({ policy, jobs, amqp, executors, sealed }: Config): Policy {
  return {
    sealed: sealed.enabled,
    window: sealed.window,
    maxExecutors: policy.max_executors,
    maxStarting: policy.max_starting,
    startAttempts: policy.start_attempts,
    startWindowMs: policy.start_window,
    backoffInitialMs: policy.backoff_initial,
    backoffMaxMs: policy.backoff_max,
    deny: new Set(policy.deny.map((name) => name.toLowerCase())),
    rules: policy.rule.map((rule, index) => ({
      label: `rule ${index + 1}${rule.name === '' ? '' : ` "${rule.name}"`}`,
      users: rule.users.map((pattern) => pattern.toLowerCase()),
      groups: rule.groups,
      action: rule.action,
      profile: rule.profile,
      maxExecutors: rule.max_executors,
      priority: rule.priority,
      share: rule.share,
      idleStopMs: rule.idle_stop,
      keepWarmMs: rule.keep_warm,
      maxAgeMs: rule.max_age,
      jobsMax: rule.jobs_max,
      runTimeMaxMs: rule.run_time_max,
      prestart:
        rule.prestart === ''
          ? undefined
          : { schedule: parseSchedule(rule.prestart), users: rule.users.map((name) => knimeUserSchema.parse(name)) },
    })),
    whenFull: policy.when_full,
    evictIdleAfterMs: policy.evict_idle_after,
    accountLost: policy.account_lost,
    idleStopMs: policy.idle_stop,
    idleCpuShare: policy.idle_cpu_percent / 100,
    executorMemory: policy.executor_memory,
    minAvailableMemory: policy.min_available_memory,
    coreTokens: policy.core_tokens,
    tokensPerExecutor: policy.tokens_per_executor,
    jobMaxAgeMs: policy.job_max_age,
    heldPerUser: jobs.held_per_user,
    // Half of the prefetch stays free, so that held jobs never keep RabbitMQ from delivering those of other users.
    heldInAll: Math.floor(amqp.prefetch / 2),
    startTimeoutMs: executors.start_timeout,
    readyDelayMs: executors.ready === 'delay' ? executors.ready_delay : undefined,
    readyForMs: executors.ready_for,
    lostAfterMs: executors.watch ? executors.lost_after : undefined,
  };
}
