import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type Family, runSideBySide } from './side-by-side.mjs';

const SIGINT_EXIT_CODE = 130;

/** Families that end with these exit codes, in turn. */
function families(codes: readonly number[]) {
  const started: string[] = [];
  let [running, most] = [0, 0];
  const made = codes.map((code, index): Family => {
    const name = `family ${index}`;
    return {
      name,
      async run() {
        started.push(name);
        running += 1;
        most = Math.max(most, running);
        await nextTurn(); // all that may run beside it have started by then
        running -= 1;
        return code;
      },
    };
  });
  return { made, started, most: () => most };
}

describe('runSideBySide', () => {
  it('runs all of them, as many at once as it may', async () => {
    const { made, started, most } = families([0, 0, 0, 0, 0]);
    expect(await runSideBySide(made, 2)).toBe(0);
    expect({ started, most: most() }).toEqual({ started: made.map(({ name }) => name), most: 2 });
  });

  it('runs the others after one that fails, and fails', async () => {
    const { made, started } = families([0, 1, 0]);
    expect(await runSideBySide(made, 1)).toBe(1);
    expect(started).toHaveLength(3);
  });

  it('starts no other after one that a signal has ended', async () => {
    const { made, started } = families([1, SIGINT_EXIT_CODE, 0]);
    expect(await runSideBySide(made, 1)).toBe(SIGINT_EXIT_CODE);
    expect(started).toEqual(['family 0', 'family 1']);
  });
});

it('puts the name of a family in front of each line that it prints', async () => {
  const program = `
    import { spawn } from 'node:child_process';
    import { once } from 'node:events';
    import { printWithPrefix, runSideBySide } from ${JSON.stringify(join(import.meta.dirname, 'side-by-side.mjs'))};
    const family = (name) => ({ name, run: async (prefix) => {
      const child = spawn(process.execPath, ['-e', 'console.log("one\\\\ntwo"); console.error("three")'], { stdio: ['ignore', 'pipe', 'pipe'] });
      printWithPrefix(child, prefix);
      return (await once(child, 'close'))[0];
    } });
    await runSideBySide([family('a'), family('b')], 2);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'pipe'] });
  const texts = await Promise.all([child.stdout, child.stderr].map(async (stream) => (await stream.toArray()).join('')));
  if (child.exitCode === null) await once(child, 'exit');
  const [out = '', error = ''] = texts.map((text) =>
    text
      .split('\n')
      .filter((line) => line.includes(' | '))
      .sort()
      .join('\n'),
  );
  expect({ out, error }).toEqual({ out: 'a | one\na | two\nb | one\nb | two', error: 'a | three\nb | three' });
});
