import { BrokerRefused, BrokerUnreachable } from '@kpx/broker/control/client';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { complain, say } from '@kpx/broker/output/terminal';
import { ConfigError } from '@kpx/protocol';
import { CommanderError } from 'commander';
import { brokerUnitText } from './broker-unit.js';
import { kpxctl } from './program.js';

kpxctl()
  .parseAsync()
  .catch(async (error: Error) => {
    process.exitCode = exitCodeOf(error);
    // commander has said its own already.
    if (!(error instanceof CommanderError)) complain(`${error.message}\n`);
    const unit = error instanceof BrokerUnreachable ? await brokerUnitText() : undefined;
    if (unit !== undefined) complain(`${unit}\n`);
  })
  .then(end, (defect: Error) => {
    process.exitCode = 1;
    complain(`${defect.stack}\n`);
    end();
  });

/** A Node that comes to its end by itself waits for its compiler's threads, which once in a while wait for it: github.com/nodejs/node/issues/54918. */
function end(): void {
  say('', () => process.exit());
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT.usage;
  if (error instanceof CommandError) return error.exitCode;
  if (error instanceof ConfigError) return EXIT.config;
  if (error instanceof BrokerUnreachable || error instanceof BrokerRefused) return EXIT.unavailable;
  throw error;
}
