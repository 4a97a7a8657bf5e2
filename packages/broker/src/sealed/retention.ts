/** A virtual host, and what it says of itself. */
export interface DescribedVhost {
  readonly name: string;
  readonly description: string;
}

/** Before the time, in the description of a virtual host. */
const USED = 'kpx: last used ';

/** The description of a virtual host whose executor is there at `now`, in milliseconds since the epoch. */
export const usedAt = (now: number) => USED + new Date(now).toISOString();

/** In milliseconds since the epoch; undefined: it does not say. */
export function usedOf({ description }: DescribedVhost): number | undefined {
  const at = description.startsWith(USED) ? Date.parse(description.slice(USED.length)) : Number.NaN;
  return Number.isNaN(at) ? undefined : at;
}

interface Retention {
  /** How long one is kept after its use, in milliseconds, and how many are. */
  readonly keepMs: number;
  readonly max: number;
}

/** Which of the virtual hosts `unused` go, the oldest first; there are `inUse` others. One that does not say when it was used stays. */
export function outdated(unused: readonly DescribedVhost[], inUse: number, { keepMs, max }: Retention, now: number): string[] {
  const known = unused.flatMap((vhost) => {
    const at = usedOf(vhost);
    return at === undefined ? [] : [{ name: vhost.name, at }];
  });
  const oldest = known.sort((a, b) => a.at - b.at);
  const tooMany = Math.max(0, inUse + unused.length - max);
  return oldest.filter(({ at }, index) => index < tooMany || now - at > keepMs).map(({ name }) => name);
}
