import type { Serving } from '@kpx/protocol';
import { type Services, serveBroker } from '../../dispatch.js';
import type { PasswdEntry } from '../../system/name-service.js';
import { openListeningSocket } from './system/socket.js';

/** Connections served at once. (Under systemd each has a process of its own: there the socket unit says MaxConnections=1.) */
const CONNECTIONS_MAX = 16;

/** The stand-alone form: listens at `path` itself, for the group of the broker's account, until it is told to end. */
export async function listen(services: Services, path: string, broker: PasswdEntry): Promise<Serving> {
  let accepted = 0;
  const open = new Map<number, Serving>();
  let ending = false;
  let tellEnded = (_reason: string) => {};
  const ended = new Promise<string>((resolve) => {
    tellEnded = resolve;
  });
  const left = () => void (ending && open.size === 0 && tellEnded('nobody is connected'));
  const server = await openListeningSocket(path, broker.gid, (connection) => {
    const peer = { via: path, connection: ++accepted };
    if (open.size >= CONNECTIONS_MAX) {
      services.audit.line({ peer, event: 'refused connection', decision: 'refused', reason: `${open.size} connections are open` });
      setImmediate(() => connection().close('too many connections'));
      return { packet: () => {}, closed: () => {} };
    }
    const session = serveBroker(services, peer, connection);
    open.set(peer.connection, session);
    void session.ended.then(() => {
      open.delete(peer.connection);
      left();
    });
    return session;
  });
  services.audit.info('listening', { socket: path, broker: broker.name });
  const end = () => {
    ending = true;
    server.close();
    for (const session of open.values()) session.end();
    left();
  };
  return { ended, end };
}
