import { entryOf } from '../policy/reasons.js';
import type { Verdict } from '../record/verdict.js';

/** Of one text that a program is told, in characters: reasons may quote what others have sent. */
const TEXT_CHARS_MAX = 1_000;

/** The program is told one JSON object. `at` in ISO 8601. */
export type HookEvent =
  | {
      readonly event: 'parked';
      readonly at: string;
      readonly reason: string;
      readonly detail: string;
      /** The operator's next step; there for each reason of kpx. */
      readonly next?: string;
      /** The KNIME user, where the job names one, and its message id, where it has one. */
      readonly user?: string;
      readonly job?: string;
    }
  | {
      readonly event: 'verdict';
      readonly at: string;
      readonly level: Verdict['level'];
      /** That of the call before about a verdict. */
      readonly before: Verdict['level'];
      readonly headline: string;
      readonly problems: readonly { readonly problem: string; readonly level: string; readonly what: string; readonly next: string }[];
    };
export type VerdictEvent = Extract<HookEvent, { event: 'verdict' }>;

const cut = (text: string) => (text.length <= TEXT_CHARS_MAX ? text : `${text.slice(0, TEXT_CHARS_MAX - 1)}…`);

/** A job is with the dead letters. `facts` are those of the log. */
export function parkedEvent(facts: Readonly<Record<string, unknown>>, now: Date): HookEvent {
  const text = (name: string) => (typeof facts[name] === 'string' ? cut(facts[name]) : undefined);
  const [reason = '', detail = '', user, job] = ['reason', 'detail', 'user', 'job'].map(text);
  const next = entryOf(reason)?.advice;
  const known = { ...(next !== undefined && { next }), ...(user !== undefined && { user }), ...(job !== undefined && { job }) };
  return { event: 'parked', at: now.toISOString(), reason, detail, ...known };
}

/** Two verdicts are the same that name the same problems: counts and times in their words change all the time. */
export const keyOf = ({ problems }: Verdict): string => problems.map(({ code, level }) => `${code}:${level}`).join(' ');

export const verdictEvent = ({ level, headline, problems }: Verdict, before: Verdict['level'], now: Date): VerdictEvent => ({
  event: 'verdict',
  at: now.toISOString(),
  level,
  before,
  headline: cut(headline),
  problems: problems.map(({ code, level, what, next }) => ({ problem: code, level, what: cut(what), next: cut(next) })),
});
