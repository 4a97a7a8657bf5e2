import type { kpx } from './generated/privhelper.js';
import { MESSAGE_CHARS_MAX } from './limits.js';

interface ErrorKind {
  /** `later`: the same request may succeed by itself after a while. `never`: an administrator has to change something first. */
  readonly retry: 'later' | 'never';
  /** `host`: another user would meet the same error on this host, and this user perhaps none on another. `user`: the reverse. */
  readonly fault: 'host' | 'user';
  /** The code as a sentence. */
  readonly meaning: string;
  /** The operator's next step. */
  readonly advice: string;
}

/**
 * Every error that the helper answers with. Codes are those of `ErrorCode` in privhelper.proto, and one without a row here does not compile. The message
 * that travels with a code says what is wrong in the case at hand, `meaning` and `advice` what is so of all of that kind.
 */
export const ERRORS = {
  VERSION_MISMATCH: {
    meaning: 'kpx-broker and kpx-privhelper are not of one release.',
    retry: 'never',
    fault: 'host',
    advice: 'An upgrade of kpx is under way, and its package restarts both. If it does not: `systemctl restart kpx-broker`.',
  },
  // Later: a name service that is being restarted looks the same.
  ACCOUNT_UNKNOWN: {
    meaning: 'There is no account of this name.',
    retry: 'later',
    fault: 'user',
    advice: 'Check the spelling, `getent passwd NAME`, and [accounts.map] in privhelper.toml.',
  },
  ACCOUNT_DENIED: {
    meaning: 'This account may not have an executor.',
    retry: 'never',
    fault: 'user',
    advice: 'See [accounts] in privhelper.toml.',
  },
  ACCOUNT_LOOKUP_FAILED: {
    meaning: 'The name service failed or gave no usable answer.',
    retry: 'later',
    fault: 'host',
    advice: 'Check that the name service answers: `getent passwd NAME`, `systemctl status sssd`.',
  },
  HOME_UNUSABLE: {
    meaning: "The home directory is missing, in the wrong place or not the account's own.",
    retry: 'never',
    fault: 'user',
    advice: 'Check the home directory in the account and home_parents, create_home in privhelper.toml.',
  },
  DIRECTORY_UNSAFE: {
    meaning: "Something that kpx has not made, or that others may write to, is where a user's directory should be.",
    retry: 'never',
    fault: 'user',
    advice: 'Inspect the named directory: kpx repairs nothing that it did not create.',
  },
  DIRECTORY_FAILED: {
    meaning: 'A directory could not be made or prepared.',
    retry: 'later',
    fault: 'host',
    advice: 'Check free space, mount options and ACL support of the named file system.',
  },
  PROFILE_UNKNOWN: {
    meaning: 'The helper knows no profile of this name.',
    retry: 'never',
    fault: 'user',
    advice: 'Add the profile to [executor.profiles] in privhelper.toml or fix the rule that names it.',
  },
  LAUNCH_FAILED: {
    meaning: 'The executor could not be launched.',
    retry: 'later',
    fault: 'user',
    advice: 'See the executor log of this user and the audit log of kpx-privhelper.',
  },
  LIMIT_REACHED: {
    meaning: 'The helper runs as many executors as it may.',
    retry: 'later',
    fault: 'host',
    advice: 'Wait, stop idle executors, or raise max_executors in privhelper.toml.',
  },
  NOT_RUNNING: { meaning: 'kpx has no executor running for this user.', retry: 'never', fault: 'user', advice: 'Nothing to do.' },
  DEADLINE_EXCEEDED: {
    meaning: 'A step of the start took too long.',
    retry: 'later',
    fault: 'host',
    advice: 'Look for a slow name service or file system: the audit log tells what took the time.',
  },
  INTERNAL: { meaning: 'A defect of kpx.', retry: 'later', fault: 'host', advice: 'Please report it with the line from the audit log.' },
  HOST_FAILED: {
    meaning: "The host can start no executor: systemd, the executor's program, msgq_file or a server of tickets is not as it must be.",
    retry: 'later',
    fault: 'host',
    advice: 'Run `kpxctl doctor` on that host.',
  },
  NOT_PREPARED: {
    meaning: 'The start had no password for RabbitMQ: it is made before each one.',
    retry: 'later',
    fault: 'user',
    advice: 'Nothing to do: kpx-broker prepares the account again. Where it names an executor that runs: `kpxctl stop NAME`.',
  },
  CREDENTIALS_REFUSED: {
    meaning: 'The executor needs a ticket first, and the account was refused it.',
    retry: 'never',
    fault: 'user',
    advice: 'Do as the detail says: a new keytab in /etc/kpx/keytabs, or the account enabled again and `touch` of its keytab.',
  },
} as const satisfies Record<Exclude<keyof typeof kpx.ErrorCode, 'ERROR_CODE_UNSPECIFIED'>, ErrorKind>;

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
