import { runCommand } from '@kpx/privhelper/system/command';

/** Properties of a unit, by the names of org.freedesktop.systemd1(5). */
const PROPERTIES = [
  'LoadState',
  'LoadError',
  'NeedDaemonReload',
  'ActiveState',
  'SubState',
  'UnitFileState',
  'Result',
  'StatusText',
  'Requires',
  'BindsTo',
  'Environment',
  'ExecMainStatus',
  'ExecStart',
  'WorkingDirectory',
  'EnvironmentFiles',
  'User',
  'DropInPaths',
  'ReadWritePaths',
  'InaccessiblePaths',
  'TemporaryFileSystem',
  'IPAddressAllow',
  'IPAddressDeny',
  'LimitNOFILE',
  'TasksMax',
] as const;

export type Unit = Readonly<Record<(typeof PROPERTIES)[number], string>>;

/** `/usr/bin/systemctl show --property=… -- UNIT`; properties that it does not have are empty. Throws when PID 1 does not answer. */
export async function showUnit(unit: string, signal: AbortSignal): Promise<Unit> {
  const args = ['--no-ask-password', 'show', `--property=${PROPERTIES.join(',')}`, '--', unit];
  const { exitCode, stdout, stderr } = await runCommand('/usr/bin/systemctl', args, signal);
  if (exitCode !== 0) throw new Error(`systemd does not answer: ${stderr.trim()}`);
  const values = new Map(stdout.split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
  return Object.fromEntries(PROPERTIES.map((name) => [name, values.get(name) ?? ''])) as Unit;
}

/**
 * `/usr/bin/systemctl show --all --property=NeedDaemonReload -- PATTERN`: whether a loaded unit, active or not, is otherwise on disk than PID 1 has read
 * it. Throws when PID 1 does not answer.
 */
export async function needReload(pattern: string, signal: AbortSignal): Promise<boolean> {
  const args = ['--no-ask-password', 'show', '--all', '--property=NeedDaemonReload', '--', pattern];
  const { exitCode, stdout, stderr } = await runCommand('/usr/bin/systemctl', args, signal);
  if (exitCode !== 0) throw new Error(`systemd does not answer: ${stderr.trim()}`);
  return stdout.split('\n').includes('NeedDaemonReload=yes');
}

/** The program of the first command of `ExecStart`; undefined: none. */
export const programOf = ({ ExecStart }: Unit) => / path=(\/.*?) ; argv\[\]=/.exec(ExecStart)?.[1];

/** `/usr/bin/systemctl show --property=MainPID -- PATTERN`: of loaded units, without those that have no process. Throws when PID 1 does not answer. */
export async function mainPidsOf(pattern: string, signal: AbortSignal): Promise<number[]> {
  const args = ['--no-ask-password', 'show', '--property=MainPID', '--', pattern];
  const { exitCode, stdout, stderr } = await runCommand('/usr/bin/systemctl', args, signal);
  if (exitCode !== 0) throw new Error(`systemd does not answer: ${stderr}`);
  return [...stdout.matchAll(/^MainPID=([1-9]\d*)$/gm)].map(([, pid]) => Number(pid));
}
