import { runCommand } from '@kpx/broker/host/command';

const UNIT = 'kpx-broker.service';
const ASK_TIMEOUT_MS = 5_000;
const PROPERTIES = ['LoadState', 'ActiveState', 'NRestarts', 'ExecMainStatus'] as const;

/**
 * The state of the broker's unit by systemd, for the message that no broker answers: `the broker does not run (systemd: activating, restart 3, last exit
 * 1)`. Undefined where systemd does not run, has no such unit, or says that it is active.
 */
export async function brokerUnitText(): Promise<string | undefined> {
  const shown = await runCommand('/usr/bin/systemctl', ['show', `--property=${PROPERTIES.join(',')}`, '--', UNIT], ASK_TIMEOUT_MS).catch(
    () => undefined,
  );
  return shown?.exitCode === 0 ? unitText(shown.stdout) : undefined;
}

/** `properties` is the output of `systemctl show`: NAME=VALUE on each line. */
export function unitText(properties: string): string | undefined {
  const { LoadState, ActiveState, NRestarts, ExecMainStatus } = Object.fromEntries(
    properties.split('\n').map((line) => line.split('=') as [string, string]),
  ) as Record<string, string | undefined>;
  if (LoadState !== 'loaded' || ActiveState === 'active') return undefined;
  const facts = [
    ActiveState,
    ...(NRestarts === '0' ? [] : [`restart ${NRestarts}`]),
    ...(ExecMainStatus === '0' ? [] : [`last exit ${ExecMainStatus}`]),
  ];
  return `the broker does not run (systemd: ${facts.join(', ')}): journalctl -u ${UNIT} has the reason`;
}
