import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { readConfig } from '../config/config.js';
import type { StaleFile } from '../record/standing.js';
import { FileWatch } from './file-watch.js';

const AMQP = '[amqp]\nurls = ["amqp://kpx-broker@127.0.0.1"]\n';

/** A file as it is in force, looked at until the test is finished. `looks`: what was said before each look; `before`: what is done then. */
async function watched(before: (look: number, write: (text: string) => void) => void = () => {}) {
  const directory = mkdtempSync(join(tmpdir(), 'kpx-file-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'broker.toml');
  const write = (text: string) => writeFileSync(path, `${AMQP}${text}`);
  write('');
  let config = await readConfig(path);
  const looks: (StaleFile | undefined)[] = [];
  const watch = new FileWatch(path, inForce, 5);
  const ended = watch.run();
  onTestFinished(() => ended);
  onTestFinished(() => watch.stop());
  const reload = async () => {
    config = await readConfig(path);
    watch.forget();
  };
  return { path, write, watch, looks, reload };

  function inForce() {
    before(looks.push(watch.stale), write);
    return config;
  }
}

it('says that the file was changed once two looks have seen it so: somebody may be in the middle of an edit', async () => {
  const { path, looks } = await watched((look, write) => {
    if (look === 2) write('[policy]\nmax_executors = 7\n');
    if (look === 5) write('');
  });
  const changed = { path, why: '1 key differs' };
  await expect.poll(() => looks.slice(0, 7)).toEqual([undefined, undefined, undefined, changed, changed, undefined, undefined]);
});

it('says how it differs, that it would be refused, and nothing once it is as before', async () => {
  const { path, write, watch } = await watched();
  write('[policy]\nmax_executors = 7\nmax_starting = 2\n');
  await expect.poll(() => watch.stale).toEqual({ path, why: '2 keys differ' });
  write('[policy]\nmax_executors = "many"\n');
  await expect.poll(() => watch.stale).toEqual({ path, why: 'the broker would refuse it' });
  rmSync(path);
  await expect.poll(() => watch.stale).toEqual({ path, why: 'the broker would refuse it' });
  write('');
  await expect.poll(() => watch.stale).toBeUndefined();
});

it('says nothing from a reload on, before the next look', async () => {
  const { path, write, watch, reload } = await watched();
  write('[policy]\nmax_executors = 7\n');
  await expect.poll(() => watch.stale).toEqual({ path, why: '1 key differs' });
  await reload();
  expect(watch.stale).toBeUndefined();
});
