import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { BootedKpx } from '../fixtures/booted/kpx.js';
import { jobOf } from '../fixtures/jobs.js';
import { bootedMachine } from './shared-machine.js';

/* Runs what a page has an administrator type, in the booted machine. */

const BLOCK = '/root/block.sh';
/** One of them starts a RabbitMQ, for which kpxctl waits 200 s. */
const BLOCK_TIMEOUT_MS = 240_000;

/** What one block is given, and what it has to say. */
export interface Expected {
  /** Words of the block. */
  readonly at: string;
  readonly before?: () => Promise<unknown>;
  readonly says?: string | RegExp;
}

/** Runs the blocks of a page in their order; one that fails, and words that are in no block, fail the test. */
export async function runBlocks(blocks: readonly { text: string }[], expected: readonly Expected[]): Promise<void> {
  for (const { at } of expected) expect(blocks.map(({ text }) => text).join('')).toContain(at);
  for (const { text } of blocks) {
    const of = expected.filter(({ at }) => text.includes(at));
    for (const { before } of of) await before?.();
    const said = await runBlock(text);
    for (const { says } of of) if (says !== undefined) expect(said).toMatch(says);
  }
}

async function runBlock(text: string): Promise<string> {
  const machine = bootedMachine();
  await machine.writeFile(BLOCK, text);
  const shell = ['/bin/sh', '-e', '-u', BLOCK];
  // `systemctl edit` wants a terminal.
  const onTerminal = ['/usr/bin/script', '--quiet', '--return', '--command', shell.join(' '), '/dev/null'];
  const argv = ['/usr/bin/env', 'SYSTEMD_PAGER=cat', ...(text.includes('systemctl edit') ? onTerminal : shell)];
  const { stdout, stderr } = await machine.run(argv, { timeoutMs: BLOCK_TIMEOUT_MS });
  await machine.remove(BLOCK);
  return stdout + stderr;
}

/** Each of them has an executor that has done a job; started since {@link BootedKpx.mark}. */
export async function atWork(kpx: BootedKpx, ...users: string[]): Promise<void> {
  const jobs = users.map((user) => [user, randomUUID()] as const);
  await kpx.publish(...jobs.map(([user, job]) => jobOf(user, job)));
  for (const [user, job] of jobs) await kpx.jobDone(user, job);
  // An executor may take a job before the broker has seen that it is ready.
  for (const user of users) await kpx.brokerSays({ user, state: 'ready' });
}
