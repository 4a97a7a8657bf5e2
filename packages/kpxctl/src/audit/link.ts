import { hash } from 'node:crypto';
import { z } from 'zod';

/** Where a line stands: the name of its part of the log, and which line of that, from 1. */
export type Place = Readonly<{ part: string; line: number }>;

/** A line of the audit log with its number, its own hash and that of the line before, as packages/privhelper/src/audit.ts writes them. */
export interface Link {
  readonly place: Place;
  readonly seq: number;
  readonly prev: string;
  readonly hash: string;
  readonly pid: number;
  readonly time: string;
  /** For people. */
  readonly about: string;
  /** The first line of a process; its last words. */
  readonly starts: boolean;
  readonly ends: boolean;
  /** There is a part of another line before it, in the same line of the file. */
  readonly glued: boolean;
}

/** `without number`: JSON of another version of kpx, or of somebody else. */
export type Unreadable = Readonly<{ place: Place; unreadable: 'no JSON' | 'without number' | 'cut short' | 'too long' }>;

const schema = z.object({
  time: z.string(),
  pid: z.int(),
  msg: z.string(),
  seq: z.int().min(1),
  prev: z.string().regex(/^([0-9a-f]{64})?$/),
  event: z.string().optional().catch(undefined),
  peer: z.object({ via: z.string() }).optional().catch(undefined),
  id: z.number().optional().catch(undefined),
  verb: z.string().optional().catch(undefined),
  knime_user: z.string().optional().catch(undefined),
});
type Fields = z.infer<typeof schema>;

/** The beginning of each line. Within a line it does not occur: JSON writes quotes in a text as \". */
const BEGIN = '{"level":';

/** `text` is without its end of line. */
export function linkOf(text: Buffer, place: Place): Link | Unreadable {
  const whole = jsonIn(text);
  if (whole !== undefined) return linked(whole, text, place, false) ?? { place, unreadable: 'without number' };
  const at = text.lastIndexOf(BEGIN);
  const rest = text.subarray(Math.max(at, 0));
  return (at > 0 && linked(jsonIn(rest), rest, place, true)) || { place, unreadable: 'no JSON' };
}

function jsonIn(text: Buffer): unknown {
  try {
    return JSON.parse(text.toString());
  } catch {
    return undefined;
  }
}

function linked(value: unknown, text: Buffer, place: Place, glued: boolean): Link | undefined {
  const { data } = schema.safeParse(value);
  if (data === undefined) return undefined;
  const { seq, prev, pid, time, msg, event, peer } = data;
  // systemd's socket gives a process one connection. That of the direct launcher goes on with others.
  const refused = event === 'refused connection' && peer?.via.startsWith('fd ') === true;
  const starts = ['serving one connection', 'listening'].includes(msg) || refused;
  const ends = msg.endsWith(': ending') || refused;
  return { place, seq, prev, hash: hash('sha256', text), pid, time, about: aboutOf(data), starts, ends, glued };
}

function aboutOf({ msg, event, id, verb, knime_user: user }: Fields): string {
  if (verb === undefined) return event ?? msg;
  const asked = `${verb}${user === undefined ? '' : ` of "${user}"`}`;
  return `request ${id}, ${asked}, ${event === 'received' ? 'as it came' : 'its outcome'}`;
}
