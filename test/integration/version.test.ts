import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { checkout, node } from '../fixtures/kpx.js';

const PROGRAMS = ['privhelper/dist/kpx-privhelper.cjs', 'broker/dist/kpx-broker.cjs', 'kpxctl/dist/kpxctl.cjs'];
const versionOf = (directory: string) => JSON.parse(readFileSync(join(checkout(), directory, 'package.json'), 'utf8')).version;

it.each(PROGRAMS)('%s says which version of kpx it is, and nothing else', (program) => {
  const name = program.replace(/^.*\/(.*)\.cjs$/, '$1');
  const said = execFileSync(node(), [join(checkout(), 'packages', program), '--version'], { encoding: 'utf8' });
  expect(said).toBe(`${name} ${versionOf('.')}\n`);
});

it('all packages have that version', () => {
  for (const name of ['protocol', 'privhelper', 'broker', 'kpxctl'])
    expect([name, versionOf(`packages/${name}`)]).toEqual([name, versionOf('.')]);
});
