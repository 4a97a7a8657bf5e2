import type { Cause, Explanation } from '../executors/explanation.js';
import { shellWord } from '../output/format.js';
import { entryOf } from '../policy/reasons.js';

/** The operator's next step by the cause for which a job waits, for people. */
const WAITING: Readonly<Partial<Record<Cause, string>>> = {
  rabbitmq: 'kpxctl doctor looks at the connection; journalctl -t kpx-broker has the reason.',
  helper: 'systemctl status kpx-privhelper.socket',
  executor: 'Wait for it; its log: kpxctl logs USER.',
  ends_soon:
    'kpxctl logs USER has why the executor ends by itself: see docs/troubleshooting.md, "An executor ends soon after it is ready".',
  draining: 'kpxctl resume ends the drain.',
  max_executors: 'Wait until an executor ends, or raise policy.max_executors; policy.idle_stop ends idle ones.',
  max_starting: 'Wait until those that start are ready, or raise policy.max_starting.',
  rule: "Wait until an executor of the rule ends, or raise the rule's max_executors.",
  core_tokens: 'Wait until an executor ends, or raise policy.core_tokens where the licence has more.',
  memory: 'Wait until memory is free, or lower policy.executor_memory; policy.idle_stop ends idle executors.',
  host_sick: 'Run kpxctl doctor on this host: executors of several users have failed here.',
  LAUNCH_FAILED: 'kpxctl logs USER has what the executor has written; docs/troubleshooting.md has the exit codes.',
};

/** The operator's next step for a job that meets this, in one line. */
export const nextStepOf = ({ user, cause }: Explanation): string =>
  cause === undefined
    ? 'Nothing to do.'
    : (WAITING[cause] ?? entryOf(cause)?.advice ?? 'kpxctl doctor').replaceAll('USER', () => shellWord(user));
