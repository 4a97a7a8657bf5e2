import { describe, expect, it } from 'vitest';
import { type Judged, may } from './access.js';

const ROOTS = { uid: 0, gid: 0, type: 'regular file' };
const mayExecute = (acl: readonly string[], status: Judged['status'], who: typeof ALICE) => may('x', { status, acl }, who);
const ALICE = { uid: 1001, gids: [1001, 27] };

describe('by the mode alone', () => {
  it.each<[mode: number, uid: number, gid: number, may: boolean]>([
    [0o755, 0, 0, true],
    [0o754, 0, 0, false],
    [0o750, 0, 27, true],
    [0o700, 0, 27, false],
    [0o705, 0, 27, false], // the group's bits count, and not those of others
    [0o700, 1001, 27, true],
    [0o077, 1001, 1001, false], // the owner's bits count alone
  ])('0%o of %i:%i: %s', (mode, uid, gid, may) => {
    const bits = (shift: number) => ((mode >> shift) & 1 ? 'r-x' : 'r--');
    const acl = [`user::${bits(6)}`, `group::${bits(3)}`, `other::${bits(0)}`];
    expect(mayExecute(acl, { ...ROOTS, mode, uid, gid }, ALICE)).toBe(may);
    expect(mayExecute([], { ...ROOTS, mode, uid, gid }, ALICE)).toBe(may);
  });
});

describe('by an ACL', () => {
  it.each<[what: string, entries: string[], may: boolean]>([
    ['names the user', ['user:1001:r-x', 'group::---', 'mask::r-x', 'other::---'], true],
    ['names the user, and its mask takes it away', ['user:1001:rwx\t#effective:rw-', 'group::---', 'mask::rw-', 'other::r-x'], false],
    ['names the user without the right, whatever others may', ['user:1001:r--', 'group::r-x', 'mask::r-x', 'other::r-x'], false],
    ['names a group of the user', ['group::---', 'group:27:r-x', 'mask::r-x', 'other::---'], true],
    ['names a group of the user without the right', ['group::r-x', 'group:27:r--', 'mask::r-x', 'other::r-x'], false],
    ['names two groups of the user, one with the right', ['group:1001:---', 'group:27:r-x', 'mask::r-x', 'other::---'], true],
    ['names others', ['user:1002:r-x', 'group:1002:r-x', 'mask::r-x', 'other::---'], false],
  ])('that %s: %s', (_what, entries, may) => {
    expect(mayExecute(['user::rwx', ...entries], { ...ROOTS, mode: 0o770 }, ALICE)).toBe(may);
  });
});
