import { execFileSync } from 'node:child_process';
import { open } from 'node:fs/promises';
import type { ErrorCode } from '@kpx/protocol';
import { expect, onTestFinished } from 'vitest';
import { HelperConnection } from '../fixtures/helper-connection.js';
import { HelperInstallation, type HelperOptions, type HelperStart } from '../fixtures/helper-installation.js';
import { RawAccounts } from '../fixtures/raw-accounts.js';

/** The helper's configuration and directories for one test, nothing started yet; what it starts is ended with the test. */
export function installHelper(options: HelperOptions = {}): HelperInstallation {
  const installation = new HelperInstallation(options);
  onTestFinished(async () => {
    await installation.endHelper();
    installation.removeDirectories();
  });
  return installation;
}

export interface StartedHelper {
  installation: HelperInstallation;
  connection: HelperConnection;
}

/** A helper that listens, and a connection to it that is past the Hello. */
export async function startHelper(options: HelperOptions = {}, start: HelperStart = {}): Promise<StartedHelper> {
  const installation = installHelper(options);
  await installation.startHelper(start);
  return { installation, connection: await HelperConnection.greeted(installation.socket) };
}

/** An answer that is an error of this code, with this in its message. */
export function refusal(code: ErrorCode, message = '') {
  return { id: expect.any(Number), kind: 'error', body: { code, message: expect.stringContaining(message) } };
}

/** Accounts of one test's own, gone with it. */
export function rawAccounts(): RawAccounts {
  const accounts = new RawAccounts();
  onTestFinished(() => accounts.remove());
  return accounts;
}

/** Has the look-up of an account wait: `wrap` is for the helper's start, `begun` resolves when it is asked for, with what lets it go on. */
export function waitingLookUp(installation: HelperInstallation, account: string) {
  const pipe = `${installation.etc}/pipe`;
  execFileSync('/usr/bin/mkfifo', [pipe]);
  const wrap = installation.inPlaceOf('/usr/bin/getent', `if [ "$3" = ${account} ]; then read line <${pipe}; fi; exec $real "$@"`);
  const begun = async () => {
    const writer = await open(pipe, 'w'); // as soon as it is read from
    return async () => {
      await writer.write('go on\n');
      await writer.close();
    };
  };
  return { wrap, begun };
}
