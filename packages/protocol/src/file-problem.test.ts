import { expect, it } from 'vitest';
import { fileProblem } from './file-problem.js';

it.each([
  [{ code: 'EROFS', message: 'x' }, 'EROFS, read-only to the helper: name it in ReadWritePaths= (systemctl edit kpx-privhelper@.service)'],
  [{ code: 'EIO', message: 'x' }, 'EIO'],
  [{ message: 'a failure without a code' }, 'a failure without a code'],
])('%j is called "%s"', (error, text) => {
  expect(fileProblem(Object.assign(new Error(error.message), error))).toBe(text);
});
