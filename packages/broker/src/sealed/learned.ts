import type { Config } from '../config/config.js';
import { matchesPattern } from '../policy/rules.js';
import type { SeenExchange, SeenQueue, Some } from '../rabbitmq/provisioning.js';

/*
 * Queues and exchanges that an executor has declared in the virtual host of its account, and the blocks of broker.toml for them. These are pure functions. All names are whatever the account's code has chosen.
 */

type Sealed = Config['sealed'];
type Amqp = Config['amqp'];
type LearnRule = Sealed['learn'][number];

/** How many mirrors a block that is proposed allows. */
const MAX_PROPOSED = 50;
/** Names that are shown as examples of one block. */
const EXAMPLES_MAX = 3;
/** Parts of a name that differ from one queue to the next: a UUID, a long number, a digest. */
const CHANGING = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{16,}|\d{3,}/gi;

/** The rule by which a queue with this name is mirrored at the server; undefined: there is none. */
export const ruleFor = (rules: readonly LearnRule[], queue: string): LearnRule | undefined =>
  rules.find((rule) => matchesPattern(rule.queue, queue));

/** Queues to mirror, by the rules: those that are mirrored already come first, then by name. `left`: those beyond a rule's maximum. */
export function wanted(
  rules: readonly LearnRule[],
  queues: readonly string[],
  mirrored: ReadonlySet<string>,
): { readonly mirrors: string[]; readonly left: string[] } {
  const [mirrors, left]: [string[], string[]] = [[], []];
  const counts = new Map<LearnRule, number>();
  for (const queue of queues.toSorted((a, b) => Number(mirrored.has(b)) - Number(mirrored.has(a)) || (a < b ? -1 : 1))) {
    const rule = ruleFor(rules, queue);
    if (!rule) continue;
    const count = (counts.get(rule) ?? 0) + 1;
    counts.set(rule, count);
    (count <= rule.max ? mirrors : left).push(queue);
  }
  return { mirrors, left };
}

/** Nothing at the server leads to it, and it is none of those that a client makes for itself alone and that go with it. */
export const isUnknownQueue = ({ name, exclusive, auto_delete }: SeenQueue, { amqp, sealed }: { amqp: Amqp; sealed: Sealed }): boolean =>
  !exclusive && !auto_delete && !name.startsWith('amq.') && name !== amqp.queue && ruleFor(sealed.learn, name) === undefined;

const isUnknownExchange = ({ name }: SeenExchange, { amqp, sealed }: { amqp: Amqp; sealed: Sealed }): boolean =>
  name !== amqp.exchange && name !== amqp.queue && ![...sealed.up, ...sealed.down].some(({ exchange }) => exchange === name);

/** Everything that was seen, for operators and programs. */
export interface Learned {
  readonly account: string;
  readonly vhost: string;
  readonly queues: Some<SeenQueue & { readonly mirrored: boolean }>;
  readonly exchanges: Some<SeenExchange>;
  /** Why queues that a rule names have no mirror. */
  readonly problems: readonly { readonly queue: string; readonly why: string }[];
  /** Blocks for broker.toml, with what they are for. */
  readonly toml: string;
}

const commented = (text: string) => text.replaceAll(/^(?!#)/gm, '# ');
/** As TOML and people read it, in one line. */
const quoted = (value: string | boolean | number) => JSON.stringify(value).replaceAll('\u007f', '\\u007f');
const block = (kind: 'learn' | 'up' | 'down', table: Readonly<Record<string, string | boolean | number>>) =>
  [`[[sealed.${kind}]]`, ...Object.entries(table).map(([key, value]) => `${key} = ${quoted(value)}`)].join('\n');

/** The blocks for what the configuration does not name. `published`: exchanges by which the account has published something that was refused. */
export function proposed(
  queues: readonly SeenQueue[],
  exchanges: readonly SeenExchange[],
  published: ReadonlySet<string>,
  config: { amqp: Amqp; sealed: Sealed },
): string {
  const unknown = new Map<string, SeenQueue[]>();
  for (const queue of queues.filter((each) => isUnknownQueue(each, config))) {
    const pattern = queue.name.replace(CHANGING, '*').replaceAll(/\*+/g, '*');
    unknown.set(pattern, [...(unknown.get(pattern) ?? []), queue]);
  }
  const learn = [...unknown].map(([pattern, like]) => learnBlock(pattern, like));
  const others = exchanges.filter((exchange) => isUnknownExchange(exchange, config)).map((each) => exchangeBlock(each, published));
  return [...learn, ...others].join('\n\n');
}

function learnBlock(pattern: string, like: readonly SeenQueue[]): string {
  const names = like.slice(0, EXAMPLES_MAX).map(({ name }) => quoted(name));
  const more = like.length > names.length ? ` and ${like.length - names.length} more` : '';
  const what = `# The executor has declared ${names.join(', ')}${more}: no call of the server reaches it.`;
  if (pattern.startsWith('*')) return `${what}\n# The names have no beginning in common, so there is no rule for them.`;
  return `${what} With this one it does:\n${block('learn', { queue: pattern, max: MAX_PROPOSED })}`;
}

function exchangeBlock({ name, type, durable, auto_delete }: SeenExchange, published: ReadonlySet<string>): string {
  const table = { exchange: name, type, durable, auto_delete };
  if (published.has(name))
    return `# The executor publishes to ${quoted(name)}, and that was refused. If the server is to have it:\n${block('up', table)}`;
  const keys = type === 'direct' ? '\nkeys = []  # those to listen to' : '';
  const both = `${block('up', table)}\n# If the server speaks to executors by it:\n${block('down', table)}${keys}`;
  return `# The executor has declared the exchange ${quoted(name)}. If it publishes there:\n${commented(both)}`;
}
