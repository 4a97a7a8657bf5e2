import type { KnimeUser, OsUser } from '@kpx/protocol';
import type { HelperClient } from '../host/helper-client.js';

/** Sealed executors cannot be started at the moment: this says nothing about the account that was asked for. */
export class SealedUnavailable extends Error {
  override name = 'SealedUnavailable';
}

export interface Prepared {
  readonly osUser: OsUser;
  /**
   * Of the password that the account's executor has, or will have: all that the broker ever knows of it. Undefined: the account is not sealed, and its
   * executor has the user that all others share.
   */
  readonly passwordHash: string | undefined;
}

/** Has the helper prepare an account. Throws as the helper's client does. */
export async function prepareUser(helper: HelperClient, knimeUser: KnimeUser): Promise<Prepared> {
  const { osUser, passwordHash } = await helper.request('prepareUser', { knimeUser });
  return { osUser, passwordHash: passwordHash || undefined };
}
