import { identityOf } from './access.js';
import { ASK_AS_ROOT, type Check, ok, Skipped, warn } from './check.js';
import { chain, trustIn } from './file-system.js';
import { whyNotExecutable } from './may-execute.js';
import { BROKER_ACCOUNT, type Scene } from './scene.js';

/** The program of `hook.command` runs as the broker: it has to be there, and whoever may change it has the broker's rights. */
export const hookChecks = ({ broker, brokerAccount, isRoot }: Scene): Check[] => [
  {
    name: 'hook',
    fix: 'Correct hook.command in broker.toml, or install the program, then kpxctl reload (monitor.md, "A program of your own").',
    look: async (signal) => {
      const [program] = (await broker()).hook.command;
      if (program === undefined) return ok('none is configured');
      if (!isRoot) throw new Skipped(ASK_AS_ROOT);
      const steps = await chain(program, signal);
      if (steps.at(-1)?.found === undefined) throw new Error(`there is no ${program}`);
      const { uid } = await brokerAccount();
      const why = await whyNotExecutable(program, await identityOf(BROKER_ACCOUNT, uid, signal), signal);
      if (why !== undefined && why !== 'elsewhere') throw new Error(`${BROKER_ACCOUNT} may not execute ${program}: ${why}`);
      const distrust = trustIn(steps);
      const own = 'chown root it and the directories above, chmod go-w: whoever may change it has the rights of the broker.';
      if (distrust !== undefined) return warn(`others than root can change ${program}: ${distrust}`, own);
      return ok(`${BROKER_ACCOUNT} may execute ${program}, and only root may change it`);
    },
  },
];
