import { type Services, serveBroker } from '../../dispatch.js';
import type { PasswdEntry } from '../../system/name-service.js';
import { openListeningSocket } from './system/socket.js';

/** Connections served at once. (Under systemd each has a process of its own: there the socket unit says MaxConnections=1.) */
const CONNECTIONS_MAX = 16;

/** The stand-alone form: listens at `path` itself, for the group of the broker's account. Answers how to stop it. */
export async function listen(services: Services, path: string, broker: PasswdEntry): Promise<() => void> {
  let accepted = 0;
  const open = new Set<number>();
  const server = await openListeningSocket(path, broker.gid, (connection) => {
    const peer = { via: path, connection: ++accepted };
    if (open.size >= CONNECTIONS_MAX) {
      services.audit.line({ peer, event: 'refused connection', decision: 'refused', reason: `${open.size} connections are open` });
      setImmediate(() => connection().close('too many connections'));
      return { packet: () => {}, closed: () => {} };
    }
    open.add(peer.connection);
    return serveBroker(services, peer, connection, () => open.delete(peer.connection));
  });
  services.audit.info('listening', { socket: path, broker: broker.name });
  return () => server.close();
}
