import { askBroker } from '../../packages/broker/src/control/client.js';
import type { Explanation } from '../../packages/broker/src/executors/explanation.js';
import type { Kpx } from '../fixtures/kpx.js';

/** What the running broker says of a user. */
export async function explain(kpx: Kpx, user: string): Promise<Explanation> {
  return (await askBroker(kpx.controlSocket, `/explain?user=${encodeURIComponent(user)}`)) as Explanation;
}
