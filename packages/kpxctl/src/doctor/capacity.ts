import { totalmem } from 'node:os';
import { HOLD_MAX_MS } from '@kpx/broker/executors/machine';
import { runCommand } from '@kpx/privhelper/system/command';
import { type Check, ok, type Verdict, warn } from './check.js';
import type { BrokerConfig, Scene } from './scene.js';

/** com.knime.server.job.default_load_timeout: what KNIME Server has by default, and what docs/install.md asks for, in milliseconds. */
const LOAD_TIMEOUT_DEFAULT_MS = 60_000;
const LOAD_TIMEOUT_ADVISED_MS = 120_000;

/** Do the limits go with each other, with the machine, and with KNIME Server's patience? */
export const capacityChecks = ({ broker, helper }: Scene): Check[] => [
  {
    name: 'memory',
    fix: 'Fix broker.toml.',
    look: async () => memory((await broker()).policy, totalmem()),
  },
  { name: 'licence', fix: 'Fix broker.toml.', look: async () => licence((await broker()).policy) },
  {
    name: 'executor limits',
    fix: 'Fix broker.toml and privhelper.toml.',
    look: async () => limits((await broker()).policy.max_executors, (await helper()).executor.max_executors),
  },
  { name: 'waiting times', fix: 'Fix broker.toml.', look: async () => waitingTimes(await broker()) },
  clock(),
];

const GIB = 1024 ** 3;
const gib = (bytes: number) => `${(bytes / GIB).toFixed(1)} GiB`;

/** `total`: of the machine, in bytes. */
function memory({ max_executors, executor_memory, min_available_memory }: BrokerConfig['policy'], total: number): Verdict {
  if (executor_memory === 0) return ok(`${gib(total)}; executor_memory is not set, so memory does not limit how many executors start`);
  const fitting = Math.floor((total - min_available_memory) / executor_memory);
  const seen = `${max_executors} executors of ${gib(executor_memory)} and ${gib(min_available_memory)} to be left are ${gib(max_executors * executor_memory + min_available_memory)}; the machine has ${gib(total)}`;
  if (fitting < 1)
    return warn(seen, 'Not one executor will start: set policy.executor_memory and policy.min_available_memory to what the machine has.');
  if (fitting < max_executors) return warn(seen, `Set policy.max_executors = ${fitting}: beyond that users wait for memory.`);
  return ok(seen);
}

export function licence({ max_executors, core_tokens, tokens_per_executor }: BrokerConfig['policy']): Verdict {
  if (core_tokens === 0) return ok('core_tokens is not set, so the licence does not limit how many executors start');
  const fitting = Math.floor(core_tokens / tokens_per_executor);
  const seen = `${core_tokens} core tokens are enough for ${fitting} executors of ${tokens_per_executor}; max_executors is ${max_executors}`;
  return fitting < max_executors ? warn(seen, `Set policy.max_executors = ${fitting}: beyond that users wait for tokens.`) : ok(seen);
}

function limits(ofBroker: number, ofHelper: number): Verdict {
  const seen = `${ofBroker} in broker.toml, ${ofHelper} in privhelper.toml`;
  const fix = `The helper refuses what is beyond its own limit, as a failed start: set executor.max_executors of privhelper.toml to ${ofBroker} or more, or lower policy.max_executors.`;
  return ofHelper < ofBroker ? warn(seen, fix) : ok(seen);
}

function waitingTimes({ executors: { start_timeout }, policy: { job_max_age } }: BrokerConfig): Verdict {
  const s = (ms: number) => `${ms / 1_000} s`;
  if (job_max_age !== undefined && job_max_age < LOAD_TIMEOUT_DEFAULT_MS)
    return warn(
      `jobs are parked after ${s(job_max_age)}, sooner than KNIME Server gives up (${s(LOAD_TIMEOUT_DEFAULT_MS)} by default)`,
      "Set policy.job_max_age to more than KNIME Server's com.knime.server.job.default_load_timeout.",
    );
  if (start_timeout > LOAD_TIMEOUT_ADVISED_MS)
    return warn(
      `an executor may take ${s(start_timeout)} to be ready (start_timeout); KNIME Server gives a job up after ${s(LOAD_TIMEOUT_DEFAULT_MS)} by default`,
      `Set com.knime.server.job.default_load_timeout on KNIME Server to more than ${s(start_timeout)}, or lower executors.start_timeout.`,
    );
  return ok(
    `an executor has ${s(start_timeout)} to be ready, and a job is held for ${s(HOLD_MAX_MS)} at most; KNIME Server's load timeout should be ${s(LOAD_TIMEOUT_ADVISED_MS)} or more`,
  );
}

const clock = (): Check => ({
  name: 'clock',
  fix: 'Try timedatectl by hand.',
  look: async (signal) => {
    const { exitCode, stdout, stderr } = await runCommand(
      '/usr/bin/timedatectl',
      ['show', '--property=NTPSynchronized', '--value'],
      signal,
    );
    if (exitCode !== 0)
      return warn(
        `timedatectl does not tell: ${stderr}`,
        'Make sure that something keeps the clock, and that KNIME Server has the same time.',
      );
    if (stdout.trim() === 'yes') return ok('synchronised by NTP');
    return warn(
      'the clock is not synchronised (no NTP)',
      'Install chrony or systemd-timesyncd, unless the machine below keeps the clock: job_max_age, Kerberos and logs of several machines go by it.',
    );
  },
});
