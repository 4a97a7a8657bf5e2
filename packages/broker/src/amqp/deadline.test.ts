import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ANSWER_TIMEOUT_MS, answerInTime } from './deadline.js';

describe('an answer of RabbitMQ', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('is passed on, also when it is an error', async () => {
    expect(await answerInTime(Promise.resolve(7), 'basic.get')).toBe(7);
    await expect(answerInTime(Promise.reject(new Error('refused')), 'basic.get')).rejects.toThrow('refused');
  });

  it('that does not come is an error that names the call', async () => {
    const late = answerInTime(new Promise(() => {}), 'basic.get').catch(({ message }: Error) => message);
    await vi.advanceTimersByTimeAsync(ANSWER_TIMEOUT_MS + 1_000);
    expect(await late).toBe('RabbitMQ did not answer to basic.get within 15 s');
  });

  it('is waited for during an alarm, and has all its time when that is over', async () => {
    let alarm = true;
    let said = '';
    answerInTime(new Promise(() => {}), 'basic.qos', ANSWER_TIMEOUT_MS, () => alarm).catch(({ message }: Error) => {
      said = message;
    });
    await vi.advanceTimersByTimeAsync(10 * ANSWER_TIMEOUT_MS);
    alarm = false;
    await vi.advanceTimersByTimeAsync(ANSWER_TIMEOUT_MS - 1_000);
    expect(said).toBe('');
    await vi.advanceTimersByTimeAsync(2_000);
    expect(said).toContain('basic.qos');
  });
});
