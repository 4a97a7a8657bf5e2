/** The error of a call of the file system in words, without the path: the code, and what to do about it where an operator would not guess. */
export const fileProblem = ({ code, message }: NodeJS.ErrnoException): string =>
  code === 'EROFS'
    ? 'EROFS, read-only to the helper: name it in ReadWritePaths= (systemctl edit kpx-privhelper@.service)'
    : (code ?? message);
