import { expect, it } from 'vitest';
import { fileProblem } from './file-problem.js';

it.each([
  [{ code: 'EROFS', message: 'x' }, 'EROFS, read-only to the helper: name it in ReadWritePaths= (systemctl edit kpx-privhelper@.service)'],
  [
    { code: 'EACCES', message: 'x' },
    'EACCES, refused to root: by NFS with root_squash or sec=krb5, by FUSE, or by a mode without w (kerberos.md)',
  ],
  [{ code: 'EIO', message: 'x' }, 'EIO'],
  [{ message: 'a failure without a code' }, 'a failure without a code'],
])('%j is called "%s"', (error, text) => {
  expect(fileProblem(Object.assign(new Error(error.message), error))).toBe(text);
});
