import { setTimeout as delay } from 'node:timers/promises';
import { readControlSocket } from '@kpx/broker/config/config';
import { askBroker, BrokerUnreachable } from '@kpx/broker/control/client';
import { differences } from '@kpx/broker/control/difference';
import { durationText } from '@kpx/broker/output/duration';
import type { Status } from '@kpx/broker/record/status';
import { type Check, fail, ok, Skipped, warn } from './check.js';
import type { Scene } from './scene.js';

/** The running broker's status. Throws {@link Skipped} when it does not answer: the check "broker" fails by that. */
export type Answered = () => Promise<Status>;

/** How long a broker that has just been started may take for its connections, in milliseconds, and how often it is asked. */
const SETTLING_MS = 5_000;
const ASK_EVERY_MS = 250;

export function brokerAnswer({ brokerFile }: Scene): Answered {
  return async () => {
    try {
      return (await askBroker((await readControlSocket(brokerFile)).socket, '/status')) as Status;
    } catch (error) {
      throw new Skipped((error as Error).message);
    }
  };
}

/** Asks until the broker has that connection, at most {@link SETTLING_MS}. Answers the last status. */
export async function answerOnceConnected(answered: Answered, to: 'rabbitmq' | 'helper'): Promise<Status> {
  const deadline = performance.now() + SETTLING_MS;
  for (;;) {
    const status = await answered();
    if (status[to].connected || performance.now() > deadline) return status;
    await delay(ASK_EVERY_MS);
  }
}

export const brokerChecks = (scene: Scene, answered: Answered): Check[] => [
  runs(scene, answered),
  inForce(scene, answered),
  line(answered),
];

/** Users in line are nothing to warn of while executors start; those who have waited for so long, in milliseconds, are. */
const WAIT_MS_MAX = 60_000;

const line = (answered: Answered): Check => ({
  name: 'waiting users',
  fix: 'See kpxctl list --state queued.',
  look: async () => {
    const { executors, max_executors, waiting, longest_wait } = (await answered()).capacity;
    const seen = `${executors} of ${max_executors} executors, users who wait for room: ${waiting}`;
    if (longest_wait < WAIT_MS_MAX) return ok(seen);
    const fix = 'kpxctl explain USER says for what a user waits: raise that limit, or see when_full and idle_stop in docs/tune.md.';
    return warn(`${seen}, the longest for ${durationText(longest_wait)}`, fix);
  },
});

const runs = (scene: Scene, answered: Answered): Check => ({
  name: 'broker',
  fix: 'See systemctl status kpx-broker and journalctl -t kpx-broker.',
  look: async () => {
    try {
      const { doing, draining } = await answered();
      if (draining) return warn(doing, 'kpxctl resume, when executors shall be started here again.');
      return ok(doing);
    } catch (error) {
      const why = (error as Error).message;
      if (!scene.isRoot && why.startsWith('no permission')) throw new Skipped('ask as root, or as a member of kpx-admin');
      return await whyNotRunning(scene, why);
    }
  },
});

async function whyNotRunning(scene: Scene, why: string) {
  const unit = await scene.brokerUnit().catch(() => undefined);
  if (unit === undefined) throw new Error(why);
  const { ActiveState, SubState, UnitFileState, Result, ExecMainStatus } = unit;
  if (ActiveState === 'inactive' && UnitFileState !== 'enabled')
    return warn('it does not run, and is not enabled', 'When the rest is well: systemctl enable --now kpx-broker.service');
  if (ActiveState === 'active' && why.startsWith('control.socket is ""'))
    return warn('it runs, and cannot be asked', 'Set control.socket in broker.toml, and systemctl restart kpx-broker: kpxctl asks there.');
  const ended = Result === 'success' ? '' : `, ${Result} ${ExecMainStatus}`;
  const fix = 'See systemctl status kpx-broker and journalctl -t kpx-broker, fix what they name, then: systemctl restart kpx-broker.';
  return fail(`${why} (systemd: ${ActiveState}, ${SubState}${ended})`, fix);
}

const inForce = ({ broker, brokerFile }: Scene, answered: Answered): Check => ({
  name: 'broker.toml in force',
  fix: 'kpxctl reload, and see what it says.',
  look: async () => {
    await answered();
    const config = await broker();
    const running = await askBroker(config.control.socket, '/configuration').catch((error: Error) => {
      throw error instanceof BrokerUnreachable ? new Skipped('control.socket of the file is another than the running broker has') : error;
    });
    const changed = differences(running, JSON.parse(JSON.stringify(config)));
    if (changed.length === 0) return ok(`the running broker has what ${brokerFile} says`);
    return warn(`a reload would change ${changed.join(', ')}`, 'kpxctl reload');
  },
});
