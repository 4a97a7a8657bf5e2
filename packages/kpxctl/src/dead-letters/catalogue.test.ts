import { REASONS } from '@kpx/broker/policy/reasons';
import { ERRORS } from '@kpx/protocol';
import { expect, it } from 'vitest';
import { entryOf } from './catalogue.js';

it.each([...Object.keys(REASONS), ...Object.keys(ERRORS).filter((code) => code !== 'NOT_RUNNING')])(
  'the catalogue says of %s what it means and what to do',
  (code) => {
    const entry = entryOf(code);
    expect(entry?.meaning).toMatch(/^\S.*\.$/);
    expect(entry?.advice).toMatch(/^\S.*\.$/);
    // The text for an advice that nobody has written.
    expect(entry?.advice).not.toBe('See the detail, and docs/operate.md.');
  },
);

it('leaves out NOT_RUNNING, which is the answer to a stop and no reason of a job', () => expect(entryOf('NOT_RUNNING')).toBeUndefined());
