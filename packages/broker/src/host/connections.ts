import { readFile } from 'node:fs/promises';

/** The kernel's tables of TCP sockets. The uid column tells the owner; reading it takes no privilege. Source: proc(5), /proc/net/tcp. */
const TABLES = ['/proc/net/tcp', '/proc/net/tcp6'];

/** A line of theirs in state ESTABLISHED (01): number, local and remote address, state, queues, timer, retransmissions, uid. */
const ESTABLISHED = /^ *\d+: \S+ [\dA-F]+:([\dA-F]{4}) 01 \S+ \S+ \S+ +(\d+) /gm;

/** The uids that own an established connection to one of the remote `ports`. */
export async function connectedUids(ports: ReadonlySet<number>): Promise<Set<number>> {
  const uids = new Set<number>();
  for (const table of TABLES) {
    const text = await readFile(table, 'latin1').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return ''; // IPv6 switched off
      throw error;
    });
    for (const [, port = '', uid] of text.matchAll(ESTABLISHED)) if (ports.has(Number.parseInt(port, 16))) uids.add(Number(uid));
  }
  return uids;
}

/** Ports on which executors may reach RabbitMQ: those of the broker's own URLs, and the two standard ones, plain and TLS. */
export function rabbitmqPorts(urls: readonly string[]): Set<number> {
  return new Set([5672, 5671, ...urls.map((url) => Number(new URL(url).port)).filter((port) => port > 0)]);
}
