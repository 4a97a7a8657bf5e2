// `npm run test:virtual`: kpx on drives that a kernel mounts, NFS and SMB, which the kernel of a container's host need not have.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseTestArguments, vitestCommand } from '../test/arguments.mjs';
import { runInPrivateMachine } from '../test/fixtures/private-machine.mjs';
import { prepareDebianTrees } from './debian-trees.mjs';
import { EXIT_UNAVAILABLE, endingWithItsExitCode, PrepareError, prepare } from './prepare.mjs';
import { preparePackage } from './test-system.mjs';
import { argumentsOr } from './usage.mjs';

/** An emulator, what makes the trees and a disk of one, and a way in. */
const VIRTUAL_TEST_PACKAGES = ['qemu-system-x86', 'openssh-client', 'mmdebstrap', 'e2fsprogs'];

const USAGE = `npm run test:virtual [-- [--repeat N] [PATH…] [VITEST-OPTION…]]

Builds kpx's Debian package, emulates a machine of Debian 13 with a kernel of its own, and runs the tests of test/virtual beside it: homes on NFS,
the mounts of docs/kerberos.md with an Active Directory, and limits of memory. Runs as root on x86-64, in a private machine that is gone afterwards.
The processor is emulated too: it needs no virtualization, and some six minutes on a machine without other work. \`npm test -- --help\` explains the
arguments.
`;

/** @param {string[]} args */
function read(args) {
  const { repetitions, on, vitest } = parseTestArguments(args);
  if (on !== undefined) throw new RangeError('--on: the emulated machine is Debian 13 always.');
  return { repetitions, vitest };
}

const { repetitions, vitest } = argumentsOr(USAGE, read);
process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(() => {
  if (process.arch !== 'x64') throw new PrepareError(`The emulated machine is an x86-64; this one is ${process.arch}.`, EXIT_UNAVAILABLE);
  prepare(VIRTUAL_TEST_PACKAGES);
  preparePackage();
  prepareDebianTrees(['virtual-machine']);
});
process.exitCode = await runInPrivateMachine(vitestCommand(repetitions, ['--project=virtual', ...vitest]));
