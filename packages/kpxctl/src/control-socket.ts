import { readControlSocket } from '@kpx/broker/config/config';
import { complain } from '@kpx/broker/output/terminal';

/** Where the running broker answers, by its configuration, which may have a wrong line since: that is said. Throws ConfigError. */
export async function controlSocket(file: string): Promise<string> {
  const { socket, problem } = await readControlSocket(file);
  if (problem !== undefined) complain(`${problem}\nThe running broker has an earlier file in force: asking it at ${socket}.\n`);
  return socket;
}
