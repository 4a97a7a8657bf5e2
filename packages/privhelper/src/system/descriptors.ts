import { openSync, readdirSync, readFileSync } from 'node:fs';
import { socketsOpened } from '@kpx/protocol';

const O_CLOEXEC = 0o2000000;

/** Slots for spawn beyond which a descriptor cannot be masked: far above what the helper ever has open. */
const DESCRIPTOR_MAX = 1_023;

/**
 * Whether a child would inherit it. Node opens everything close-on-exec; node-unix-socket does not, and neither does whoever started us. A
 * descriptor that was closed since it was listed (the listing's own, or by one of Node's threads) is not inherited.
 */
function isInheritable(descriptor: number): boolean {
  try {
    const [, flags = '0'] = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, 'utf8')) ?? [];
    return descriptor > 2 && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0;
  } catch {
    return false;
  }
}

let devNull: number | undefined;
/** The last finding, when so many sockets had been opened. One that is closed since then is masked for nothing. */
let last = { sockets: -1, inheritable: [] as readonly number[] };

type Slot = 'ignore' | 'pipe' | number;

/**
 * A `stdio` for spawn that gives the child what is `given` and nothing else of ours: every other descriptor that it would inherit is replaced by
 * /dev/null. (libuv leaves a slot above 2 that is marked 'ignore' as it is, so 'ignore' masks nothing.)
 */
export function maskedStdio(given: readonly Slot[]): Slot[] {
  devNull ??= openSync('/dev/null', 'r+');
  // Synchronous: nothing is opened between this look and the spawn.
  if (last.sockets !== socketsOpened())
    last = { sockets: socketsOpened(), inheritable: readdirSync('/proc/self/fdinfo').map(Number).filter(isInheritable) };
  const highest = Math.max(given.length - 1, ...last.inheritable);
  if (highest > DESCRIPTOR_MAX) throw new Error(`descriptor ${highest} cannot be masked`);
  const stdio: Slot[] = Array.from({ length: highest + 1 }, () => 'ignore');
  for (const descriptor of last.inheritable) stdio[descriptor] = devNull;
  return Object.assign(stdio, given);
}
