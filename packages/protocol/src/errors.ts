import { MESSAGE_CHARS_MAX } from './limits.js';

interface ErrorKind {
  /** `later`: the same request may succeed by itself after a while. `never`: an administrator has to change something first. */
  readonly retry: 'later' | 'never';
  /** `host`: another user would meet the same error on this host, and this user perhaps none on another. `user`: the reverse. */
  readonly fault: 'host' | 'user';
  /** The operator's next step. */
  readonly advice: string;
}

/**
 * Every error that the helper answers with. Codes are those of `ErrorCode` in privhelper.proto; the message that travels with a code says
 * what is wrong in the case at hand, `advice` says what to do about that kind of error.
 */
export const ERRORS = {
  VERSION_MISMATCH: {
    retry: 'never',
    fault: 'host',
    advice: 'An upgrade of kpx is under way, and its package restarts both. If it does not: `systemctl restart kpx-broker`.',
  },
  // Later: a name service that is being restarted looks the same.
  ACCOUNT_UNKNOWN: {
    retry: 'later',
    fault: 'user',
    advice: 'Check the spelling, `getent passwd NAME`, and [accounts.map] in privhelper.toml.',
  },
  ACCOUNT_DENIED: { retry: 'never', fault: 'user', advice: 'See [accounts] in privhelper.toml: this account may not have an executor.' },
  ACCOUNT_LOOKUP_FAILED: {
    retry: 'later',
    fault: 'host',
    advice: 'Check that the name service answers: `getent passwd NAME`, `systemctl status sssd`.',
  },
  HOME_UNUSABLE: {
    retry: 'never',
    fault: 'user',
    advice: 'Check the home directory in the account and home_parents, create_home in privhelper.toml.',
  },
  DIRECTORY_UNSAFE: { retry: 'never', fault: 'user', advice: 'Inspect the named directory: kpx repairs nothing that it did not create.' },
  DIRECTORY_FAILED: { retry: 'later', fault: 'host', advice: 'Check free space, mount options and ACL support of the named file system.' },
  PROFILE_UNKNOWN: {
    retry: 'never',
    fault: 'user',
    advice: 'Add the profile to [executor.profiles] in privhelper.toml or fix the rule that names it.',
  },
  LAUNCH_FAILED: { retry: 'later', fault: 'user', advice: 'See the executor log of this user and the audit log of kpx-privhelper.' },
  LIMIT_REACHED: { retry: 'later', fault: 'host', advice: 'Wait, stop idle executors, or raise max_executors in privhelper.toml.' },
  NOT_RUNNING: { retry: 'never', fault: 'user', advice: 'Nothing to do: kpx has no executor running for this user.' },
  DEADLINE_EXCEEDED: {
    retry: 'later',
    fault: 'host',
    advice: 'Look for a slow name service or file system: the audit log tells what took the time.',
  },
  INTERNAL: { retry: 'later', fault: 'host', advice: 'A defect of kpx: please report it with the line from the audit log.' },
  HOST_FAILED: { retry: 'later', fault: 'host', advice: 'This host can start no executor: run `kpxctl doctor` on it.' },
  NOT_PREPARED: {
    retry: 'later',
    fault: 'user',
    advice: 'Nothing to do: kpx-broker prepares the account again. Where it names an executor that runs: `kpxctl stop NAME`.',
  },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERRORS;

/** An error with a code from the catalogue. Its message is one sentence for an operator and may cross the wire. */
export class KpxError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    // Half a surrogate pair has no UTF-8: the peer would refuse the whole packet.
    super(message.slice(0, MESSAGE_CHARS_MAX).replace(/[\uD800-\uDBFF]$/, ''), options);
    this.name = 'KpxError';
    this.code = code;
  }
}
