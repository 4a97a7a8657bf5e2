import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';

const CHECKOUT = join(import.meta.dirname, '..');
const RUN_TIMEOUT_MS = 60_000;
/** What a program prints and ends with; without this run's own settings. */
function run(argv: string[], more: NodeJS.ProcessEnv = {}) {
  const { KPX_TEST_SUMMARIES: _, KPX_COVERAGE: __, ...own } = process.env;
  const env = { ...own, ...more };
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, { cwd: CHECKOUT, env, encoding: 'utf8', timeout: RUN_TIMEOUT_MS });
  return { status, stdout, stderr };
}

/** A folder in the checkout, from where a test finds vitest, with one test file and a configuration of its own. */
function folderWith(test: string): string {
  mkdirSync(join(CHECKOUT, 'dist'), { recursive: true });
  const folder = mkdtempSync(join(CHECKOUT, 'dist/runs-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'vitest.config.mjs'), 'export default {};');
  writeFileSync(join(folder, 'one.test.ts'), test);
  return folder;
}

/** Fails the second time; writes down each time, and in which order its tests ran. */
const FAILS_THE_SECOND_TIME = `
  import { appendFileSync, readFileSync } from 'node:fs';
  import { expect, it } from 'vitest';
  const [times, order] = ['times', 'order'].map((name) => import.meta.dirname + '/' + name);
  it.each(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'])('%s', (name) => appendFileSync(order, name));
  it('fails the second time', () => {
    appendFileSync(times, '.');
    expect(readFileSync(times, 'utf8')).not.toBe('..');
  });`;

function repeat(folder: string, ...args: string[]) {
  const { status, stdout } = run(['test/repeat.mjs', '3', '--root', folder, '--reporter', join(CHECKOUT, 'test/reporter.ts'), ...args]);
  return { status, stdout, times: readFileSync(join(folder, 'times'), 'utf8').length };
}

/** They run tests on another Debian, too. */
const ON_EACH_DEBIAN = ['test.mjs', 'test-system.mjs'];
/** They hand on to vitest what they do not know. */
const OF_VITEST = [...ON_EACH_DEBIAN, 'test-virtual.mjs'];

describe.each(readdirSync(join(CHECKOUT, 'scripts')).filter((name) => name !== 'usage.mjs'))('scripts/%s', (name) => {
  const script = `scripts/${name}`;

  it('prints its usage with --help and does nothing else, beside other arguments too', () => {
    const usage = expect.stringMatching(/^(npm|node) .*\n\n/);
    for (const args of [['--help'], ['x', '-h']]) expect(run([script, ...args])).toEqual({ status: 0, stdout: usage, stderr: '' });
  });

  it('refuses an argument that it does not know, and names it', () => {
    const args = OF_VITEST.includes(name) ? ['--repeat', '--unheard-of'] : ['--unheard-of'];
    const { status, stdout, stderr } = run([script, ...args]);
    expect({ status, stdout }).toEqual({ status: 64, stdout: '' });
    expect(stderr).toMatch(/--unheard-of/);
    expect(stderr).toMatch(/\nTry --help\.\n$/);
  });
});

it.each(ON_EACH_DEBIAN)('scripts/%s names the Debians that tests can run on', (name) => {
  const { status, stdout, stderr } = run([`scripts/${name}`, '--on', 'debian11']);
  expect({ status, stdout, stderr }).toEqual({ status: 64, stdout: '', stderr: '--on debian11: one of debian13, sid\nTry --help.\n' });
});

describe('--repeat', () => {
  it('names the repetition that failed, goes on with the next, and fails', () => {
    const { status, stdout, times } = repeat(folderWith(FAILS_THE_SECOND_TIME));
    expect({ status, times }).toEqual({ status: 1, times: 3 });
    expect(stdout).toContain('repetition 2: failed: one.test.ts > fails the second time\n');
    expect(stdout.match(/^\d+ passed, .*$/gm)).toEqual([
      '9 passed, 0 failed, 0 skipped',
      '8 passed, 1 failed, 0 skipped',
      '9 passed, 0 failed, 0 skipped',
    ]);
  });

  it('ends with the first failure when --bail is given', () => {
    const { status, times } = repeat(folderWith(FAILS_THE_SECOND_TIME), '--bail', '1');
    expect({ status, times }).toEqual({ status: 1, times: 2 });
  });

  it('has another order in each repetition when the order is shuffled', () => {
    const folder = folderWith(FAILS_THE_SECOND_TIME);
    repeat(folder, '--sequence.shuffle', '--sequence.seed', '1');
    const orders = readFileSync(join(folder, 'order'), 'utf8').match(/.{8}/g);
    expect(new Set(orders).size).toBe(3);
  });
});

describe('in CI', () => {
  const TESTS = `
    import { it } from 'vitest';
    it('differs', { tags: ['each-debian'] }, () => {});
    it('is the same', () => {});
    it.skip('is skipped', { tags: ['each-debian'] }, () => {});`;

  /** What the run ends with. */
  function ended(tests: string, ...args: string[]) {
    const folder = folderWith(tests);
    writeFileSync(join(folder, 'vitest.config.mjs'), "export default { test: { tags: [{ name: 'each-debian' }] } };");
    const argv = ['node_modules/vitest/vitest.mjs', 'run', '--root', folder, '--reporter', join(CHECKOUT, 'test/reporter.ts'), ...args];
    const { status, stdout } = run(argv, { CI: 'true' });
    return { status, end: stdout.trimEnd().split('\n').at(-1) };
  }

  it('a test that is skipped is an error, and one that a filter leaves out is not', () => {
    expect(ended(TESTS)).toEqual({ status: 1, end: '2 passed, 0 failed, 1 skipped' });
    expect(ended(TESTS, '--tags-filter=each-debian')).toEqual({ status: 1, end: '1 passed, 0 failed, 1 skipped' });
    expect(ended(TESTS.replace('it.skip', 'it'), '--tags-filter=each-debian')).toEqual({ status: 0, end: '2 passed, 0 failed, 0 skipped' });
    expect(ended(TESTS, '-t', 'is the same')).toEqual({ status: 0, end: '1 passed, 0 failed, 0 skipped' });
  });
});
