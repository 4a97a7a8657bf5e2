/** Bounds of the wire. Both programs are built against the same numbers; each side is held to them by the other. */

/** Raised by every change to privhelper.proto, and to the names that it carries. A mismatch is refused with one clear error on both sides. */
export const PROTOCOL_VERSION = 9;

/** Largest packet either side may send, in bytes. Larger ones close the connection. */
export const PACKET_BYTES_MAX = 64 * 1024;

/** Requests the helper works on at once on one connection; the broker never has more outstanding. */
export const REQUESTS_IN_FLIGHT_MAX = 32;

/** Packets handed to the kernel and not yet accepted by it. More means that the peer does not read: the connection is closed. */
export const UNSENT_PACKETS_MAX = 64;

/** The helper answers every request within this time, in milliseconds, or says DEADLINE_EXCEEDED. */
export const REQUEST_DEADLINE_MS = 10_000;

/**
 * How long after it came a request is finished though its connection has ended, in milliseconds: what takes longer than the deadline waits for a
 * file system that hangs.
 */
export const FINISH_MS_MAX = REQUEST_DEADLINE_MS + 2_000;

/** Longest KNIME or OS account name, in characters: those of an account are ASCII, those of KNIME take up to four bytes each. */
export const NAME_CHARS_MAX = 64;

/** Longest pattern for KNIME names, in characters. */
export const PATTERN_CHARS_MAX = 256;

/** Patterns in [accounts.map]: each may lead one more KNIME name to any account. */
export const MAP_PATTERNS_MAX = 16;

/** KNIME names that may resolve to one OS account: bounds the reservation text and a list entry. */
export const KNIME_USERS_PER_ACCOUNT_MAX = 32;

/** Entries on one page of ListExecutors: so many accounts may be judged for one request. */
export const EXECUTORS_PER_PAGE = 24;

/** The most that the entries of a page take of a packet, in bytes. */
export const PAGE_BYTES_MAX = PACKET_BYTES_MAX - 1_024;

/** Longest reservation that an executor is started with, in bytes: Linux takes 128 KiB for one variable. */
export const RESERVATION_BYTES_MAX = 120_000;

/** Profiles of executors beside "default": with names of 32 characters they fit the answer to Hello with room to spare. */
export const PROFILES_MAX = 1_000;

/** Longest error message or exit description on the wire, in characters. */
export const MESSAGE_CHARS_MAX = 512;
