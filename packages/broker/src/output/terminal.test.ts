import { expect, it, onTestFinished } from 'vitest';
import { table } from './format.js';
import { screenIs, screenWidth } from './terminal.js';

/** Standard output as it is told to be, for one test. */
function outputIs(isTTY: boolean, columns: number | undefined): void {
  const { stdout } = process;
  const before = { isTTY: stdout.isTTY, columns: stdout.columns };
  Object.assign(stdout, { isTTY, columns });
  onTestFinished(() => {
    Object.assign(stdout, before);
    screenIs(undefined);
  });
}

it.each([
  ['a terminal', true, 80, undefined, 80],
  ['a terminal that says 0 columns, as a serial console does', true, 0, undefined, Number.POSITIVE_INFINITY],
  ['no terminal', false, undefined, undefined, Number.POSITIVE_INFINITY],
  ['a terminal elsewhere', false, undefined, 100, 100],
  ['a terminal elsewhere that says 0', false, undefined, 0, Number.POSITIVE_INFINITY],
])('the width of %s is that, or no limit', (_, isTTY, columns, elsewhere, width) => {
  outputIs(isTTY, columns);
  screenIs(elsewhere);
  expect(screenWidth()).toBe(width);
  expect(table(['USER', 'STATE'], [['alice', 'idle']], screenWidth())).toEqual(['USER   STATE', 'alice  idle']);
});
