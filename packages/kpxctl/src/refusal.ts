import { BrokerRefused } from '@kpx/broker/control/client';
import { CommandError, exitCodeOf } from '@kpx/broker/output/exit';

/** Throws the broker's refusal as if this process had refused. The caller handles a broker that does not answer. */
export async function orRefusal(answer: Promise<unknown>): Promise<unknown> {
  return await answer.catch((error: unknown) => {
    if (!(error instanceof BrokerRefused)) throw error;
    const exitCode = exitCodeOf(error.status);
    if (exitCode === undefined) throw error;
    throw new CommandError(exitCode, error.message);
  });
}
