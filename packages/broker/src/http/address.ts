import { BlockList, isIPv4, isIPv6 } from 'node:net';

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
