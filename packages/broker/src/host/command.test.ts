import { expect, it } from 'vitest';
import { withoutDescriptors } from '../../test-fixtures/descriptors.js';
import { runCommand } from './command.js';

it('answers with the exit code and both outputs', async () => {
  expect(await runCommand('/usr/bin/echo', ['one'], 5_000)).toEqual({ exitCode: 0, stdout: 'one\n', stderr: '' });
});

it('ends a command that takes too long', async () => {
  expect(await runCommand('/usr/bin/sleep', ['60'], 100)).toMatchObject({ exitCode: -1 });
});

it('does not wait for one whose end does not come: here another process has its output still', async () => {
  const began = performance.now();
  await expect(runCommand('/usr/bin/setsid', ['--fork', '/usr/bin/sleep', '8'], 100)).rejects.toThrow(
    '/usr/bin/setsid did not end within 100 ms, and cannot be ended',
  );
  expect(performance.now() - began).toBeLessThan(6_000);
});

it('says so where no descriptor is free for its output', async () => {
  await withoutDescriptors(() => expect(runCommand('/usr/bin/echo', ['one'], 5_000)).rejects.toThrow('spawn /usr/bin/echo EMFILE'));
});
