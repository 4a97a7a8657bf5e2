import { defineConfig } from 'vitest/config';

/** What other processes do takes as long as it takes on a machine that has other work: `expect.poll` waits as `eventually` does. */
const expect = { poll: { timeout: 20_000 } };
/** RabbitMQ has 180 s to start, in milliseconds. */
const hookTimeout = 240_000;

export default defineConfig({
  test: {
    reporters: ['default', './test/reporter.ts'],
    tags: [
      { name: 'each-debian', description: 'In the booted machine: runs on Debian 13 once more in each npm test, since it differs there.' },
    ],
    // What tests run of these in their own process; scripts/coverage.mjs adds the helper's.
    coverage: {
      provider: 'v8',
      include: ['packages/privhelper/src/**/*.ts', 'packages/protocol/src/**/*.ts'],
      exclude: ['**/generated/**', '**/*.test.ts'],
      reporter: ['json'],
      reportOnFailure: true,
    },
    projects: [
      {
        test: {
          name: 'unit',
          expect,
          include: ['packages/*/src/**/*.test.ts', 'test/{chaos,fixtures}/**/*.test.ts', 'test/*.test.ts'],
          testTimeout: 30_000, // property tests, on a machine that has other work
        },
      },
      {
        test: {
          name: 'integration',
          expect,
          include: ['test/integration/**/*.test.ts'],
          globalSetup: ['test/integration/global-setup.ts'],
          // One file at a time: they measure times, and share two cores with RabbitMQ and the executors.
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout,
        },
      },
      {
        test: {
          // Not in `npm test`: scripts/test-kills.mjs runs it.
          name: 'kills',
          expect,
          include: ['test/kills/**/*.test.ts'],
          globalSetup: ['test/kills/global-setup.ts'],
          hookTimeout,
        },
      },
      {
        test: {
          // Not in `npm test`: scripts/test-virtual.mjs runs it. The machine is an emulation, and takes its time.
          name: 'virtual',
          expect: { poll: { timeout: 240_000 } },
          include: ['test/virtual/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 600_000,
          hookTimeout: 900_000,
        },
      },
      {
        test: {
          name: 'security',
          expect,
          include: ['test/security/**/*.test.ts'],
          globalSetup: ['test/security/global-setup.ts'],
          // One file at a time: they look at every process and at every directory of the machine.
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout,
        },
      },
      {
        test: {
          name: 'system',
          expect,
          include: ['test/system/**/*.test.ts'],
          globalSetup: ['test/system/global-setup.ts'],
          // There is one booted machine for all of them: scripts/test-system.mjs.
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout,
        },
      },
    ],
  },
});
