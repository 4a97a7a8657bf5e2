import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { readConfig } from '../config/config.js';
import { FileWatch } from './file-watch.js';

const AMQP = '[amqp]\nurls = ["amqp://kpx-broker@127.0.0.1"]\n';

it('says that the file was changed, and would be refused, once that has lasted for two looks, and no longer once it is as before', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'kpx-file-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'broker.toml');
  const write = (text: string) => writeFileSync(path, `${AMQP}${text}`);
  write('');
  const config = await readConfig(path);
  const watch = new FileWatch(path, () => config, 5);
  const ended = watch.run();
  onTestFinished(() => ended);
  onTestFinished(() => watch.stop());
  write('[policy]\nmax_executors = 7\n');
  expect(watch.stale).toBeUndefined();
  await expect.poll(() => watch.stale).toEqual({ path, why: '1 key differs' });
  write('[policy]\nmax_executors = "many"\n');
  await expect.poll(() => watch.stale).toEqual({ path, why: 'the broker would refuse it' });
  rmSync(path);
  await expect.poll(() => watch.stale).toEqual({ path, why: 'the broker would refuse it' });
  write('');
  await expect.poll(() => watch.stale).toBeUndefined();
});
