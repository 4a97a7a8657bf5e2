import type { KnimeUser, OsUser } from '@kpx/protocol';
import type { HelperClient } from '../host/helper-client.js';

/** Sealed executors cannot be started at the moment: this says nothing about the account that was asked for. */
export class SealedUnavailable extends Error {
  override name = 'SealedUnavailable';
}

export interface Prepared {
  readonly osUser: OsUser;
  /** Of the password that the account's executor has, or will have: all that the broker ever knows of it. */
  readonly passwordHash: string;
}

/** Has the helper prepare an account. Throws as the helper's client does, and {@link SealedUnavailable}. */
export async function prepareUser(helper: HelperClient, knimeUser: KnimeUser): Promise<Prepared> {
  const prepared: Omit<Prepared, 'passwordHash'> & { passwordHash?: string | undefined } = await helper.request('prepareUser', {
    knimeUser,
  });
  const { osUser, passwordHash } = prepared;
  if (!passwordHash) throw new SealedUnavailable('the helper makes no passwords: executor.sealed = true is missing in privhelper.toml');
  return { osUser, passwordHash };
}
