import { expect, it } from 'vitest';
import { CLOSED_SHARE } from '../../fixtures/booted/domain-controller.js';
import { unitOf } from '../../fixtures/booted/kpx.js';
import { type DomainScene, PEOPLE } from './scene.js';

/** What jobs can do on a share with the ticket of their user. */
export function shares(scene: DomainScene): void {
  it.each([
    ['ad-alice', 'ad-bob'],
    ['ad-bob', 'ad-alice'],
  ])('the executor of %s reads and writes what is theirs on the share, and the server refuses what is of %s', async (user, other) => {
    expect(await scene.onShare(user, `get ${user}/${user}.txt -`)).toMatchObject({
      exitCode: 0,
      output: expect.stringContaining(`of ${user}\n`),
    });
    expect(await scene.onShare(user, `put /proc/self/status ${user}/status.txt`)).toMatchObject({ exitCode: 0 });
    expect(scene.controller.readShared(`${user}/status.txt`)).toMatch(new RegExp(`^Uid:\t${PEOPLE[user as 'ad-alice']}\t`, 'm'));
    expect(await scene.onShare(user, `get ${other}/${other}.txt -`)).toEqual({
      exitCode: 1,
      output: expect.stringContaining('NT_STATUS_ACCESS_DENIED'),
    });
    expect(await scene.onShare(user, `put /proc/self/status ${other}/status.txt`)).toEqual({
      exitCode: 1,
      output: expect.stringContaining('NT_STATUS_ACCESS_DENIED'),
    });
  });

  it('a share that refuses a user is an answer to the job: the executor stays, and the ticket is good', async () => {
    const user = 'ad-alice';
    expect(await scene.onShare(user, 'ls', CLOSED_SHARE)).toEqual({
      exitCode: 1,
      output: expect.stringContaining('NT_STATUS_ACCESS_DENIED'),
    });
    expect(await scene.machine.show(unitOf(user), 'ActiveState')).toEqual({ ActiveState: 'active' });
    expect(await scene.doctor(user, 'user ticket')).toMatchObject({ result: 'ok' });
  });
}
