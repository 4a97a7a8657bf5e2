import { openSync, readdirSync, readFileSync } from 'node:fs';
import { socketsOpened } from '@kpx/protocol';

const O_CLOEXEC = 0o2000000;

/** Slots for spawn beyond which a descriptor cannot be masked: far above what the helper ever has open. */
const DESCRIPTOR_MAX = 1_023;

/**
 * Descriptors above 2 that a child would inherit. Node opens everything close-on-exec; node-unix-socket does not, and neither does whoever
 * started us. Read from /proc/self/fdinfo; synchronous, so that nothing is opened between this look and the spawn.
 */
function inheritableDescriptors(): number[] {
  return readdirSync('/proc/self/fdinfo')
    .map(Number)
    .filter((descriptor) => {
      if (descriptor <= 2) return false;
      try {
        const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, 'utf8'));
        return flags === null || (Number.parseInt(flags[1] ?? '', 8) & O_CLOEXEC) === 0;
      } catch {
        return false; // The descriptor of the directory listing itself: closed by now.
      }
    });
}

let devNull: number | undefined;
/** What was found last, when so many sockets had been opened. One that is closed since then is masked for nothing. */
let last = { sockets: -1, inheritable: [] as readonly number[] };

type Slot = 'ignore' | 'pipe' | number;

/**
 * A `stdio` for spawn that gives the child what is `given` and nothing else of ours: every other descriptor that it would inherit is replaced by
 * /dev/null. (libuv leaves a slot above 2 that is marked 'ignore' as it is, so 'ignore' masks nothing.)
 */
export function maskedStdio(given: readonly Slot[]): Slot[] {
  devNull ??= openSync('/dev/null', 'r+');
  if (last.sockets !== socketsOpened()) last = { sockets: socketsOpened(), inheritable: inheritableDescriptors() };
  const { inheritable } = last;
  const highest = Math.max(given.length - 1, ...inheritable);
  if (highest > DESCRIPTOR_MAX) throw new Error(`descriptor ${highest} cannot be masked`);
  const stdio: Slot[] = Array.from({ length: highest + 1 }, () => 'ignore');
  for (const descriptor of inheritable) stdio[descriptor] = devNull;
  return Object.assign(stdio, given);
}
