import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { DELEGATION_TEXT } from '../packages/kpxctl/src/delegated-services.js';
import { nodes } from './fixtures/nodes/nodes.mjs';

const root = new URL('..', import.meta.url).pathname;
const read = (path: string) => readFileSync(`${root}${path}`, 'utf8');
const PROGRAM = `${root}systemd/node-flags.cjs`;
const { HELPER_FLAGS, HELPER_FLAGS_BY_NAME, BROKER_FLAGS, quietFlags } = createRequire(import.meta.url)(PROGRAM) as {
  readonly HELPER_FLAGS: readonly string[];
  readonly HELPER_FLAGS_BY_NAME: readonly string[];
  readonly BROKER_FLAGS: readonly string[];
  readonly quietFlags: (version: string) => readonly string[];
};

/** What a unit runs, without the path of Node. */
const lineOf = (unit: string, key: string) => new RegExp(`^${key}=-?/usr/bin/node (.*)$`, 'm').exec(read(`systemd/${unit}`))?.[1] ?? '';

/** Nothing writes their flags before they start, so an upgrade of Node must not matter to them. */
const OF_ANY_NODE = ['kpx-ticket@.service', 'kpx-drive@.service'];

describe('the flags of Node', () => {
  it('are the same in the units as in tests and bundles', () => {
    expect(lineOf('kpx-privhelper@.service', 'ExecStart')).toContain(`$NODE_FLAGS ${HELPER_FLAGS.join(' ')} /usr/lib/kpx/`);
    expect(lineOf('kpx-broker.service', 'ExecStart')).toContain(`${BROKER_FLAGS.join(' ')} /usr/lib/kpx/`);
    expect(read('scripts/build.mjs')).not.toMatch(/--(jitless|disable-proto)/);
  });

  it('of tickets and drives are written down, the same with delegation', () => {
    const flags = OF_ANY_NODE.map((unit) => lineOf(unit, 'ExecStart').split(' /usr/lib/kpx/')[0]);
    const delegation = /^ExecStart=\/usr\/bin\/node (.*?) \/usr\/lib\/kpx\//m.exec(DELEGATION_TEXT)?.[1];
    expect(flags).toEqual(flags.map(() => delegation));
    for (const unit of OF_ANY_NODE) expect(read(`systemd/${unit}`)).not.toMatch(/NODE_FLAGS|EnvironmentFile/);
  });

  it.each(['README.md', 'SECURITY.md'])('of the helper are in %s what they are', (page) => {
    const [command = ''] = read(page).match(/--jitless( --[\w=-]+)+/) ?? [];
    expect(command.split(' ').filter((flag) => !HELPER_FLAGS.includes(flag))).toEqual([]);
    expect(command).toContain('--disable-proto=throw');
  });
});

describe.each(nodes())('under $name', ({ binary }) => {
  const version = execFileSync(binary, ['--version'], { encoding: 'utf8' }).slice(1);
  const run = (...args: string[]) => spawnSync(binary, args, { encoding: 'utf8', cwd: '/' });

  it('the helper’s flags leave no WebAssembly, and make Node say nothing', () => {
    const { stdout, stderr } = run(...quietFlags(version), ...HELPER_FLAGS, '--print', 'typeof WebAssembly');
    expect([stdout, stderr]).toEqual(['undefined\n', '']);
  });

  it('the helper’s flags let it have its heap collected', () => {
    const { stdout, stderr } = run(...quietFlags(version), ...HELPER_FLAGS, '--print', "gc({ type: 'major', flavor: 'last-resort' })");
    expect([stdout, stderr]).toEqual(['undefined\n', '']);
  });

  it('those of the helper by its own name make Node say nothing', () => {
    const { stdout, stderr } = run(...HELPER_FLAGS_BY_NAME, '--print', '1');
    expect([stdout, stderr]).toEqual(['1\n', '']);
  });

  it('the broker’s flags make Node say nothing', () => {
    const { stdout, stderr } = run(...BROKER_FLAGS, '--print', '1');
    expect([stdout, stderr]).toEqual(['1\n', '']);
  });

  it.each(OF_ANY_NODE)('those of %s let it start, without WebAssembly', (unit) => {
    const [flags = ''] = lineOf(unit, 'ExecStart').split(' /usr/lib/kpx/');
    const { status, stdout } = run(...flags.split(' '), '--print', 'typeof WebAssembly');
    expect([status, stdout]).toEqual([0, 'undefined\n']);
  });

  it('what the helper’s unit runs first finds the flag of this release, and makes Node say nothing', () => {
    const folder = mkdtempSync(join(tmpdir(), 'kpx-node-flags-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const [flags = ''] = lineOf('kpx-privhelper@.service', 'ExecStartPre').split(' /usr/lib/kpx/');
    expect(run(...flags.split(' '), PROGRAM, join(folder, 'flags'))).toMatchObject({ status: 0, stdout: '', stderr: '' });
    expect(readFileSync(join(folder, 'flags'), 'utf8')).toBe(`NODE_FLAGS=${quietFlags(version).join(' ')}\n`);
  });
});
