import { describe, expect, it } from 'vitest';
import { decodeResponse, encodeResponse } from './codec.js';
import { ERRORS, KpxError } from './errors.js';
import { kpx } from './generated/privhelper.js';
import { MESSAGE_CHARS_MAX } from './limits.js';

describe('the catalogue of errors', () => {
  it('has an entry for each code of the wire but the unspecified one, and no other', () => {
    const codes = Object.keys(kpx.ErrorCode).filter((code) => code !== 'ERROR_CODE_UNSPECIFIED');
    expect(Object.keys(ERRORS)).toEqual(codes);
  });
});

describe('an error', () => {
  it('keeps its code, its message and its cause', () => {
    const cause = new Error('ENOSPC');
    const error = new KpxError('DIRECTORY_FAILED', '/srv/kpx is full', { cause });
    expect(error).toMatchObject({ name: 'KpxError', code: 'DIRECTORY_FAILED', message: '/srv/kpx is full', cause });
  });

  it('is cut to what a peer accepts', () => {
    const { code, message } = new KpxError('INTERNAL', 'x'.repeat(MESSAGE_CHARS_MAX + 1));
    expect(message).toBe('x'.repeat(MESSAGE_CHARS_MAX));
    expect(() => decodeResponse(encodeResponse({ id: 1, kind: 'error', body: { code, message } }))).not.toThrow();
  });

  it('is not cut in the middle of a character', () => {
    const { code, message } = new KpxError('INTERNAL', `${'x'.repeat(MESSAGE_CHARS_MAX - 1)}\u{1f4a5}`);
    expect(message).toBe('x'.repeat(MESSAGE_CHARS_MAX - 1));
    expect(() => decodeResponse(encodeResponse({ id: 1, kind: 'error', body: { code, message } }))).not.toThrow();
  });
});
