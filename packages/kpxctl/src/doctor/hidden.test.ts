import { describe, expect, it } from 'vitest';
import { mountPointOf, mountPointsIn } from './hidden.js';

const MOUNTINFO = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 8:2 / /srv rw,relatime shared:2 - ext4 /dev/sda2 rw
31 30 8:3 / /srv/kpx\\040data rw,relatime shared:3 - xfs /dev/sda3 rw
32 22 0:5 / /srvother rw - tmpfs tmpfs rw
`;

describe('the mount point that hides', () => {
  const mountPoints = mountPointsIn(MOUNTINFO);

  it.each([
    ['/srv/kpx data/workspaces', '/srv/kpx data'],
    ['/srv/kpx data', '/srv/kpx data'],
    ['/srv/kpx', '/srv'],
    ['/srv', '/srv'],
    ['/home', undefined],
    ['/srvotherwise', undefined],
  ])('what is below %s is %s', (directory, mountPoint) => {
    expect(mountPointOf(directory, mountPoints)).toBe(mountPoint);
  });
});
