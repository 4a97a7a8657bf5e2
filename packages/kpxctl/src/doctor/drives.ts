import { runCommand } from '@kpx/privhelper/system/command';
import { judged, orUnseen } from './accounts.js';
import { ASK_AS_ROOT, type Check, fail, ok, Skipped } from './check.js';
import type { Scene } from './scene.js';
import { showUnit } from './systemd.js';

/** The drive of the user in --user, where executors are bound to one. */
export const driveChecks = (scene: Scene): Check[] => (scene.user === undefined ? [] : [drive(scene)]);

const NO_DRIVES = ok('executors get no drives from kpx');
const FIX = 'See journalctl -u kpx-drive@ACCOUNT, and kpxctl drives setup (kerberos.md).';

/** Starts kpx-drive@.service where no executor has. Nobody requires it, so PID 1 ends it again. */
const drive = (scene: Scene): Check => ({
  name: 'user drive',
  fix: FIX,
  look: async (signal) => {
    const { executor } = await scene.helper();
    if (executor.launcher === 'direct') return NO_DRIVES;
    const { osUser } = await judged(scene).catch(orUnseen);
    const { BindsTo } = await showUnit(`${executor.unit}${osUser}.service`, signal);
    const [unit] = /\bkpx-drive@\S+/.exec(BindsTo) ?? [];
    if (unit === undefined) return NO_DRIVES;
    if (!scene.isRoot) throw new Skipped(ASK_AS_ROOT);
    const { ActiveState, StatusText } = await showUnit(unit, signal);
    if (ActiveState === 'active') return ok(`of the executor that runs: ${StatusText}`);
    const { exitCode } = await runCommand('/usr/bin/systemctl', ['--no-ask-password', 'start', '--', unit], signal);
    if (exitCode === 0) return ok(`"${osUser}" gets a drive, and it answers`);
    const asked = await showUnit(unit, signal);
    return fail(asked.StatusText || `${unit} did not start: result ${asked.Result}, exit ${asked.ExecMainStatus}`, FIX);
  },
});
