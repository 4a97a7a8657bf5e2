import { runCommand } from './command.js';
import { nameServiceIsDown } from './name-service-down.js';

/** Groups that are looked up; further ones count as there. A configuration with so many is made by a program. */
const LOOK_UPS_MAX = 1_000;
const LOOK_UP_TIMEOUT_MS = 10_000;
/** getent(1): "one or more supplied key could not be found in the database". */
const GETENT_NOT_FOUND = 2;

/**
 * Those of these groups that the host does not know under this very name: `/usr/bin/getent group -- NAME`, which asks every source of
 * nsswitch.conf. getent takes a number for an id, and a directory may ignore case; rules compare names, so the name in the answer counts. Rejects
 * when the name service does not say. `byAnyName`: for a list that is compared by id, too.
 */
export async function missingGroups(names: readonly string[], byAnyName = false): Promise<ReadonlySet<string>> {
  const missing = new Set<string>();
  for (const name of names.slice(0, LOOK_UPS_MAX)) if (!(await isKnown(name, byAnyName))) missing.add(name);
  const down = missing.size === 0 ? undefined : await nameServiceIsDown(); // then its groups are not known either
  if (down !== undefined) throw new Error(down);
  return missing;
}

async function isKnown(name: string, byAnyName: boolean): Promise<boolean> {
  const { exitCode, stdout } = await runCommand('/usr/bin/getent', ['group', '--', name], LOOK_UP_TIMEOUT_MS);
  // Of a large group the answer is cut off: its name comes first.
  if (stdout.startsWith(`${name}:`)) return true;
  if (exitCode === 0 || exitCode === GETENT_NOT_FOUND) return byAnyName && exitCode === 0;
  throw new Error(
    `getent group does not answer (${exitCode === -1 ? `it was ended after ${LOOK_UP_TIMEOUT_MS / 1_000} s` : `exit ${exitCode}`})`,
  );
}
