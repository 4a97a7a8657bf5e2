import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

/** The unit tests of what decisions.json has changed. */
export default defineConfig({
  // Stryker works in a copy of the checkout, whose node_modules are the checkout's own: without this, packages would import what is not mutated.
  resolve: { alias: { '@kpx/protocol': fileURLToPath(new URL('../../packages/protocol/src/index.ts', import.meta.url)) } },
  test: {
    include: ['packages/protocol/src/codec.test.ts', 'packages/privhelper/src/{accounts,dispatch}.test.ts'],
    // Not what takes thousands of packets: examples have to do.
    testNamePattern: /^(?!.*comes from no bytes)/,
    testTimeout: 5_000,
  },
});
