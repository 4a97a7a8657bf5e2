import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { Turns } from './turns.js';

/** Actions by name: those that run, in the order in which they began, each until it is ended. */
function actions() {
  const turns = new Turns();
  const running: string[] = [];
  const ends = new Map<string, (fails?: Error) => void>();
  const begin = (name: string, isAlone: boolean) => {
    const action = () =>
      new Promise<void>((resolve, reject) => {
        running.push(name);
        ends.set(name, (fails) => {
          running.splice(running.indexOf(name), 1);
          if (fails) reject(fails);
          else resolve();
        });
      });
    turns.run(isAlone, action).catch(() => {});
  };
  return { running, begin, end: (name: string, fails?: Error) => ends.get(name)?.(fails) };
}

it('runs together what may be, and one alone when nothing else runs, in the order in which they came', async () => {
  const { running, begin, end } = actions();
  for (const [name, isAlone] of [
    ['a', false],
    ['b', false],
    ['alone', true],
    ['c', false],
    ['d', false],
  ] as const)
    begin(name, isAlone);
  await turn();
  expect(running).toEqual(['a', 'b']);
  end('a');
  await turn();
  expect(running).toEqual(['b']);
  end('b');
  await turn();
  expect(running).toEqual(['alone']);
  end('alone', new Error('lost'));
  await turn();
  expect(running).toEqual(['c', 'd']);
});
