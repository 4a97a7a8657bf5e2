/** The error of a call of the file system in words, without the path: the code, and what is behind it where an operator would not guess. */
export const fileProblem = ({ code, message }: NodeJS.ErrnoException): string => {
  if (code === 'EROFS') return 'EROFS, read-only to the helper: name it in ReadWritePaths= (systemctl edit kpx-privhelper@.service)';
  if (code === 'EACCES')
    return 'EACCES, refused to root: by NFS with root_squash or sec=krb5, by FUSE, or by a mode without w (kerberos.md)';
  return code ?? message;
};
