import { checkout, idsOf, node } from '../fixtures/kpx.js';

const SETPRIV = '/usr/bin/setpriv';
const DROP = ['--init-groups', '--no-new-privs', '--bounding-set=-all', '--inh-caps=-all', '--'];

export interface BareExecutor {
  readonly command: string;
  readonly args: string[];
  readonly env: Record<string, string>;
}

/** How a stand-in is started without kpx: under its account, with the workspace as its temp directory too. `tuning` as KPX_STANDIN_ has it. */
export function bareExecutor(user: string, msgq: string, workspace: string, tuning: Record<string, string> = {}): BareExecutor {
  const { uid, gid } = idsOf(user);
  const env = {
    HOME: '/tmp',
    KNIME_EXECUTOR_RESERVATION: `(user = '${user}')`,
    KNIME_EXECUTOR_MSGQ: msgq,
    KNIME_EXECUTOR_TEMP_DIR: workspace,
    ...Object.fromEntries(Object.entries(tuning).map(([key, value]) => [`KPX_STANDIN_${key}`, value])),
  };
  const program = [node(), `${checkout()}/test/fixtures/knime/executor.mjs`, '-data', workspace];
  return { command: SETPRIV, args: ['--reuid', `${uid}`, '--regid', `${gid}`, ...DROP, ...program], env };
}
