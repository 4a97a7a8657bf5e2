/** Something that must not happen, and what makes it happen: the packets of one connection after the other. */
export interface Finding {
  readonly what: string;
  readonly connections: readonly (readonly Buffer[])[];
}

/** How many of what has been tried, and what was found. */
export interface Tally {
  readonly part: string;
  readonly unit: string;
  count: number;
  seconds: number;
  readonly findings: Finding[];
}

/** What an error says, in one line. */
export function oneLine(error: unknown): string {
  return (error instanceof Error ? (error.stack ?? error.message) : String(error)).split('\n').slice(0, 3).join(' ').trim();
}
