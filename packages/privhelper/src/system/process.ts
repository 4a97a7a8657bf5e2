import { constants, statSync } from 'node:fs';
import { access } from 'node:fs/promises';

/** Whether one of our own descriptors is open and a socket. */
export const isSocket = (descriptor: number) => statSync(`/proc/self/fd/${descriptor}`, { throwIfNoEntry: false })?.isSocket() === true;

/** Resolves when there is a program at `path`, which is from the configuration or one of ours; rejects with what access(2) says. */
export const checkProgram = (path: string) => access(path, constants.X_OK);
