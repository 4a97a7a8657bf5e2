import { spawnSync } from 'node:child_process';
import { EXIT_UNAVAILABLE, PrepareError } from '../../scripts/prepare.mjs';
import { CHECKOUT } from './checkout.mjs';

const COMMAND_TIMEOUT_MS = 120_000;

/**
 * @param {string} command
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env additions to the environment
 * @returns {string} what it wrote to stdout
 */
export function run(command, args, env = {}) {
  const result = spawnSync(command, args, {
    cwd: CHECKOUT,
    env: { ...process.env, LC_ALL: 'C', ...env },
    timeout: COMMAND_TIMEOUT_MS,
    encoding: 'utf8',
  });
  if (result.error === undefined && result.status === 0) return result.stdout;
  const why = result.error?.message ?? `exit code ${result.status ?? result.signal}`;
  throw new PrepareError(`${[command, ...args].join(' ')}: ${why}\n${result.stderr ?? ''}`, EXIT_UNAVAILABLE);
}
