import type { Config } from '../config/config.js';

/* The effect of a reload on each key of [sealed]. Pure: a table that the documents for operators follow. */

type Sealed = Config['sealed'];

/** `at once`: nothing has to be made anew. `lanes`: the broker connects anew to the virtual host of each account, and makes there what is missing. */
type Takes = 'at once' | 'lanes';

const UP_AND_DOWN = 'executors use the exchange as it is in the virtual hosts that are there';

/** Of every key: how another value takes effect; or why it cannot while the broker runs. `undefined` from such a function: it can. */
const TAKES: Readonly<Record<keyof Sealed, Takes | ((before: Sealed, after: Sealed) => string | undefined)>> = {
  enabled: () => 'executors that run are sealed, or are not, until they end',
  node: () => 'virtual hosts and users have the old name, and executors log in by it',
  urls: 'lanes',
  management_url: 'lanes',
  management_password_file: 'lanes',
  window: 'lanes',
  keep: 'at once',
  vhosts_max: 'at once',
  reply_grace: 'at once',
  replies_max: 'lanes',
  refused_per_minute: 'at once',
  answers: 'at once',
  api_timeout: 'at once',
  job_queue: () => 'executors use the queue as it is in the virtual hosts that are there',
  job_exchange: () => 'executors use the exchange as it is in the virtual hosts that are there',
  up: declaredAnew('up'),
  down: declaredAnew('down'),
  learn: 'at once',
};

/** RabbitMQ refuses to declare an exchange that is there in another way. */
function declaredAnew(key: 'up' | 'down') {
  return (before: Sealed, after: Sealed): string | undefined => {
    const was = new Map([...before.up, ...before.down].map((rule) => [rule.exchange, declaration(rule)]));
    const other = after[key].find((rule) => (was.get(rule.exchange) ?? declaration(rule)) !== declaration(rule));
    return other && `"${other.exchange}" is declared in another way, and ${UP_AND_DOWN}`;
  };
}

const declaration = ({ type, durable, auto_delete: autoDelete }: Sealed['up'][number]) => JSON.stringify([type, durable, autoDelete]);

const differs = (before: unknown, after: unknown) => JSON.stringify(before) !== JSON.stringify(after);

const changed = (before: Sealed, after: Sealed) =>
  (Object.keys(TAKES) as (keyof Sealed)[]).filter((key) => differs(before[key], after[key]));

/** Why the table `after` cannot take effect while the broker runs, for each such key; empty: it can. It is taken whole or not at all. */
export function whyNotNow(before: Sealed, after: Sealed): string[] {
  if (!before.enabled && !after.enabled) return []; // nothing goes by it
  return changed(before, after).flatMap((key) => {
    const takes = TAKES[key];
    const why = typeof takes === 'function' ? takes(before, after) : undefined;
    return why === undefined ? [] : [`sealed.${key}: ${why}`];
  });
}

/** Parts that are made anew for a configuration that {@link whyNotNow} lets pass. */
interface Renewal {
  /** The connection to the server by which accounts publish. */
  readonly uplink: boolean;
  /** The connection to the server by which accounts hear broadcasts. */
  readonly downlink: boolean;
  /** The connections to the virtual hosts of accounts. */
  readonly lanes: boolean;
  /** Virtual hosts that are not used any more may have to go. */
  readonly retention: boolean;
}

export function renewalFor(before: Config, after: Config): Renewal {
  const server = differs(before.amqp, after.amqp);
  const keys = new Set(changed(before.sealed, after.sealed));
  return {
    uplink: server || keys.has('up'),
    downlink: server || keys.has('down'),
    lanes: server || [...keys].some((key) => TAKES[key] !== 'at once'),
    retention: keys.has('keep') || keys.has('vhosts_max'),
  };
}
