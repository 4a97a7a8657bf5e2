import { expect, it } from 'vitest';
import { refusal } from './sshd.js';

const GROUPS = ['alice', 'kpx-users'];

it.each<[what: string, settings: string, refused: string | undefined]>([
  ['nothing', '', undefined],
  ['DenyUsers with the name', 'denyusers bob\ndenyusers alice\n', 'DenyUsers'],
  ['DenyUsers with a pattern', 'denyusers a?ic*\n', 'DenyUsers'],
  ['DenyUsers with a dot, which is no pattern', 'denyusers a.ice\n', undefined],
  ['DenyUsers from a host, which may be another', 'denyusers alice@192.0.2.1\n', undefined],
  ['AllowUsers with the name', 'allowusers bob alice\n', undefined],
  ['AllowUsers from a host, which may be this one', 'allowusers alice@localhost\n', undefined],
  ['AllowUsers without the name', 'allowusers bob\n', 'AllowUsers'],
  ['DenyGroups with a group', 'denygroups kpx-*\n', 'DenyGroups'],
  ['AllowGroups with a group', 'allowgroups wheel kpx-users\n', undefined],
  ['AllowGroups without', 'allowgroups wheel\n', 'AllowGroups'],
])('sshd with %s', (_what, settings, refused) => {
  expect(refusal(`port 22\n${settings}`, 'alice', GROUPS)).toBe(refused);
});
