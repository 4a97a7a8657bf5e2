import { DEATH_HEADER, deathOf } from './death.js';
import { OWN_PREFIX } from './mac.js';
import { type Changes, newProperties, type OwnHeaders, type WireProperties } from './wire/properties.js';
import { CannotTravel, entry } from './wire/table.js';

/*
 * Every header that kpx adds, and every header that it takes off. It reads its own from `properties.own`, which x-kpx-mac has proven (see mac.ts). By hops,
 * seen-at, handed-back, failed-on and replayed-at the broker decides what becomes of a job; expiration and user-id stand in for properties. user-id, user and
 * account record who sent it (see submitter.ts), and id which job it is. Headers that are not proven stay in no copy. reason, detail, parked-at, host and properties are there for people who look at dead letters.
 */

/** The id that kpx has given this job, the same for as long as it is one: see job-facts.ts. One that an operator cancels while it waits elsewhere is known by it. */
export const ID_HEADER = 'x-kpx-id';
/** How often kpx has sent this job on already. */
export const HOPS_HEADER = 'x-kpx-hops';
/** When kpx first saw this job, in milliseconds since the epoch. */
export const SEEN_AT_HEADER = 'x-kpx-seen-at';
/** A delay queue would take the time to live for its own, and RabbitMQ removes it when it moves a message. */
const EXPIRATION_HEADER = 'x-kpx-expiration';
/** Stands in for the sender's property user_id: RabbitMQ closes the channel of whoever publishes under another user's id. */
export const USER_ID_HEADER = 'x-kpx-user-id';
/** The user of a job that has lost the header with it: see `jobs.user_from`. */
export const USER_HEADER = 'x-kpx-user';
export const REASON_HEADER = 'x-kpx-reason';
export const DETAIL_HEADER = 'x-kpx-detail';
export const PARKED_AT_HEADER = 'x-kpx-parked-at';
export const HOST_HEADER = 'x-kpx-host';
/** When an operator has replayed this dead letter: the same for all of one command. */
export const REPLAYED_AT_HEADER = 'x-kpx-replayed-at';
/** How often hosts have handed this job back because they could not do it, all of them together. */
export const HANDED_BACK_HEADER = 'x-kpx-handed-back';
/** Hosts on which a start for it has failed, with a blank in between. */
export const FAILED_ON_HEADER = 'x-kpx-failed-on';
/** The account in whose virtual host a message was published: on all that comes up from there. A job that has it runs as that account or not at all. */
export const ACCOUNT_HEADER = 'x-kpx-account';
/** They stay with a job that begins anew. */
const LASTING = [ID_HEADER, USER_ID_HEADER, USER_HEADER, ACCOUNT_HEADER];
/** The properties that a parked message came with and could not keep: the first {@link KEPT_BYTES_MAX} bytes of them, in base64. */
const PROPERTIES_HEADER = 'x-kpx-properties';

/** How often RabbitMQ has had this message back; from quorum queues only. */
export const DELIVERIES_HEADER = 'x-delivery-count';
/** RabbitMQ's about an earlier way of the message, or orders to it: repeated, they would route copies or look like a loop. */
const SERVER_HEADERS = new RegExp(`^(${DEATH_HEADER}|x-(first|last)-death-.*|${DELIVERIES_HEADER}|x-acquired-count|CC|BCC)$`);
export const addedByServer = (name: string) => SERVER_HEADERS.test(name);
const isOwn = (name: string) => name.startsWith(OWN_PREFIX);

/** Most bytes of unusable properties that a parked message keeps. */
const KEPT_BYTES_MAX = 32 * 1024;
const DETAIL_CHARS_MAX = 1_024;

/** Headers that are added, in this order. */
export type Own = OwnHeaders;
/** Adds the header that proves the others. */
export type Seal = (own: Own) => Own;

/** kpx's own on a job that goes on, to executors or to wait: it may be taken, how often it was sent on, and when it was seen first. */
export function onTheWay(properties: WireProperties, canHandleHeader: string, hops: number): Own {
  const seen = properties.own[SEEN_AT_HEADER];
  return { [canHandleHeader]: true, [HOPS_HEADER]: hops + 1, [SEEN_AT_HEADER]: Number.isSafeInteger(seen) ? Number(seen) : Date.now() };
}

const encoded = (own: Own) => Object.entries(own).map(([name, value]) => entry(name, value));

/**
 * The properties of a job as they go on, all else byte for byte. With `expires`, with the job's own time to live; otherwise that is in a header.
 * `replyTo`, where it is given: the queue that is answered to instead. Throws {@link CannotTravel} where they cannot be read, or have more than `bytesMax` bytes with what is added.
 */
export function travelling(properties: WireProperties, own: Own, seal: Seal, expires: boolean, bytesMax: number, replyTo?: string): Buffer {
  const kept = properties.own[EXPIRATION_HEADER];
  const expiration = properties.text('expiration') ?? (kept === undefined ? undefined : String(kept));
  const userId = properties.text('userId');
  // Plain assignments, as this is done for every job.
  const added: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(properties.own)) if (name !== EXPIRATION_HEADER) added[name] = value;
  // An executor that gives a job back may have set its own.
  if (userId !== undefined) added[USER_ID_HEADER] ??= userId;
  if (expiration !== undefined && !expires) added[EXPIRATION_HEADER] = expiration;
  const all = seal(Object.assign(added, own));
  const drops = (name: string) => isOwn(name) || Object.hasOwn(all, name) || SERVER_HEADERS.test(name);
  const answered = replyTo === undefined ? {} : { replyTo };
  return changed(properties, { drops, adds: encoded(all), expiration: expires ? expiration : undefined, ...answered }, bytesMax);
}

/**
 * The properties of a dead letter as it goes back to where jobs come from: as it came to kpx the first time. Not restored is its time to live,
 * which counted from then: it would have the job expire before anybody has tried it. Throws as {@link travelling} does.
 */
export function replayed(properties: WireProperties, canHandleHeader: string, own: Own, seal: Seal, bytesMax: number): Buffer {
  const handled = properties.header(canHandleHeader) === true;
  const all = seal({ ...userIdHeader(properties), ...lasting(properties), ...own });
  const drops = (name: string) =>
    isOwn(name) || Object.hasOwn(all, name) || SERVER_HEADERS.test(name) || (handled && name === canHandleHeader);
  return changed(properties, { drops, adds: encoded(all) }, bytesMax);
}

/**
 * The properties of a dead letter that is put behind the others, all else being equal: also whether it is proven that kpx has parked it. Throws as
 * {@link travelling} does.
 */
export function same(properties: WireProperties, own: Own, bytesMax: number): Buffer {
  const all = { ...userIdHeader(properties), ...own };
  const drops = (name: string) => Object.hasOwn(all, name) || SERVER_HEADERS.test(name);
  return changed(properties, { drops, adds: encoded(all), expiration: properties.text('expiration') }, bytesMax);
}

/**
 * The properties of what an account has published, as they go to the server: without any header that only kpx and RabbitMQ write, and with the account's
 * name. A dead letter has the expiration that it had before. `replyTo`: the queue that is answered to; empty: none. Throws as {@link travelling} does.
 */
export function carriedUp(properties: WireProperties, account: string, replyTo: string, own: Own, seal: Seal, bytesMax: number): Buffer {
  const drops = (name: string) => isOwn(name) || SERVER_HEADERS.test(name);
  const adds = encoded(seal({ ...lasting(properties), ...own, [ACCOUNT_HEADER]: account }));
  const expiration = properties.text('expiration') ?? deathOf(properties)?.expiration;
  return changed(properties, { drops, adds, expiration, replyTo }, bytesMax);
}

/** The headers by which brokers have recorded which job it is, and who has sent it. */
function lasting({ own }: WireProperties): Own {
  return Object.fromEntries(LASTING.flatMap((name) => (own[name] === undefined ? [] : [[name, own[name]]])));
}

/** The id of a job whose other headers stay behind. */
export const idHeader = ({ own: { [ID_HEADER]: id } }: WireProperties): Own => (id === undefined ? {} : { [ID_HEADER]: id });

function userIdHeader(properties: WireProperties): Own {
  const userId = properties.text('userId');
  return userId === undefined ? {} : { [USER_ID_HEADER]: userId };
}

function changed(properties: WireProperties, changes: Changes, bytesMax: number): Buffer {
  const bytes = properties.with(changes);
  if (bytes.length <= bytesMax) return bytes;
  throw new CannotTravel(`with kpx's own headers the properties have ${bytes.length} bytes, and RabbitMQ takes ${bytesMax} (frame_max)`);
}

/** The properties of a parked message that could not keep its own: kpx's headers alone, with as much of the old ones as `bytesMax` has room for. */
export function replaced(properties: WireProperties, own: Own, seal: Seal, bytesMax: number): Buffer {
  const bounded = Object.fromEntries(
    Object.entries(own).map(([name, value]) => [name, typeof value === 'string' ? value.slice(0, DETAIL_CHARS_MAX) : value]),
  );
  const added = (kept: string) => newProperties(encoded(seal({ ...bounded, [PROPERTIES_HEADER]: kept })));
  const room = Math.max(0, bytesMax - added('').length);
  const kept = properties.bytes.subarray(0, Math.max(0, Math.min(KEPT_BYTES_MAX, Math.floor(room / 4) * 3)));
  return added(kept.toString('base64'));
}
