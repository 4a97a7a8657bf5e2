import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';

export interface Address {
  readonly host: string;
  readonly port: number;
}

const PORT_MAX = 65_535;

/** "127.0.0.1:9464" or "[::1]:9464"; undefined if it is neither. No names: what is listened on is not to depend on a name service. */
export function addressOf(text: string): Address | undefined {
  const [, six, four, digits] = /^(?:\[([\da-f:.]+)\]|([\d.]+)):(\d{1,5})$/i.exec(text) ?? [];
  const host = six ?? four ?? '';
  const port = Number(digits);
  const known = six === undefined ? isIPv4(host) : isIPv6(host);
  return known && port >= 1 && port <= PORT_MAX ? { host, port } : undefined;
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** Can it be reached from this host only? */
export const isLoopback = ({ host }: Address) => LOOPBACK.check(host, isIPv4(host) ? 'ipv4' : 'ipv6');

/**
 * Does `host`, as the header of that name has it, name this host for itself: an address, or "localhost"? Any other name is what a page of somebody
 * else's may have given to 127.0.0.1 (DNS rebinding), so that a browser lets it read what is answered. Without the header it is no browser.
 */
export function isOwnHost(host: string | undefined): boolean {
  if (host === undefined) return true;
  const url = `http://${host}`;
  if (!URL.canParse(url)) return false;
  const { hostname } = new URL(url);
  return hostname === 'localhost' || isIP(hostname.replace(/^\[(.*)\]$/, '$1')) !== 0;
}
