import { randomUUID } from 'node:crypto';
import { BootedKpx, type DoneJob } from '../fixtures/booted/kpx.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { VirtualMachine } from '../fixtures/virtual/machine.js';

/** The machine is emulated: a start may take longer than the helper waits for it, and the next one finds it done. */
const POLICY = { backoff_initial: '500ms', backoff_max: '5s', start_attempts: 20 };
const DONE_TIMEOUT_MS = 400_000;
const LOOK_EVERY_MS = 3_000;
const JOURNAL_LINES = 60;

/** kpx in a machine whose kernel mounts. */
export class VirtualScene {
  private constructor(
    readonly machine: VirtualMachine,
    readonly kpx: BootedKpx,
  ) {}

  /** Installed and at work. A home that is missing is made. */
  static async begin(): Promise<VirtualScene> {
    const machine = await VirtualMachine.boot();
    const kpx = new BootedKpx(machine, await machine.rabbitmq.createKnimeVhost());
    await BootedKpx.install(machine, await BootedKpx.packageFile(machine));
    await kpx.configure({ helper: { directories: { create_home: true } }, broker: { policy: POLICY } });
    await kpx.start();
    return new VirtualScene(machine, kpx);
  }

  async end(): Promise<void> {
    await this.machine.end();
  }

  /** Accounts of this machine, without a home. */
  async addAccounts(...names: string[]): Promise<void> {
    for (const name of names) await this.machine.run(['/usr/sbin/useradd', '--no-create-home', '--shell', '/usr/sbin/nologin', name]);
  }

  /** A job that runs a program; resolves with its id. */
  async publish(user: string, command: string): Promise<string> {
    const job = randomUUID();
    await this.kpx.publish(jobOf(user, job, { run: ['/bin/sh', '-c', command] }));
    return job;
  }

  /** What the program of a job says. */
  async answer(user: string, job: string): Promise<DoneJob['ran']> {
    const look = async () => (await this.kpx.done(user)).find((done) => done.job === job);
    return (await eventually(`a job of ${user} is done`, look, DONE_TIMEOUT_MS, LOOK_EVERY_MS)).ran;
  }

  async job(user: string, command: string): Promise<DoneJob['ran']> {
    return await this.answer(user, await this.publish(user, command));
  }

  async printJournal(): Promise<void> {
    console.log((await this.machine.run(['/usr/bin/journalctl', '--no-pager', `--lines=${JOURNAL_LINES}`])).stdout);
  }
}
