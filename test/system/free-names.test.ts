import { randomUUID } from 'node:crypto';
import { beforeAll, expect, it } from 'vitest';
import { unitOf } from '../fixtures/booted/kpx.js';
import { jobOf } from '../fixtures/jobs.js';
import { startKpx } from './installed-kpx.js';
import { bootedLdap, bootedMachine } from './shared-machine.js';

/* KNIME names that no account can have, where PID 1 starts the executor: the reservation gets there through an environment file. */

const machine = bootedMachine();
const ldap = bootedLdap();
/** Nobody else's. */
const ACCOUNT = 'fmueller';
const USERS = ['Fränzi Müller (extern)', 'f.m+knime'];

beforeAll(async () => {
  await ldap.addUser(ACCOUNT, { uid: 23_201 });
  return () => ldap.deleteUser(ACCOUNT);
});

it('jobs of all names of an account are done by its executor, and the log is found by each', async () => {
  const kpx = await startKpx({ helper: { accounts: { map: Object.fromEntries(USERS.map((user) => [user, ACCOUNT])) } } });
  const pids = new Set<number>();
  for (const user of [...USERS, ACCOUNT]) {
    const job = randomUUID();
    await kpx.publish(jobOf(user, job));
    pids.add((await kpx.jobDone(ACCOUNT, job)).pid);
  }
  expect(pids.size).toBe(1);
  expect(await machine.show(unitOf(ACCOUNT), 'ActiveState')).toEqual({ ActiveState: 'active' });
  for (const user of USERS) {
    const { stdout } = await machine.run(['/usr/bin/kpxctl', 'logs', '--kpx', user]);
    expect(stdout).toContain(`user":${JSON.stringify(user)}`); // as "user" by the broker, as "knime_user" by the helper
  }
});
