import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConfirmWatch } from './confirm-watch.js';

const TIMEOUT_MS = 90_000;

describe('a message that RabbitMQ takes and does not confirm', () => {
  let oldest: number | undefined;
  let said: string[];
  let watch: ConfirmWatch;
  beforeEach(() => {
    vi.useFakeTimers();
    oldest = undefined;
    said = [];
    watch = new ConfirmWatch(
      () => oldest,
      (why) => said.push(why),
      TIMEOUT_MS,
    );
  });
  afterEach(() => {
    watch.stop();
    vi.useRealTimers();
  });

  it('is noticed, once', () => {
    oldest = 1;
    vi.advanceTimersByTime(TIMEOUT_MS);
    expect(said).toEqual([]);
    vi.advanceTimersByTime(2_000);
    expect(said).toEqual(['RabbitMQ did not confirm a message within 90 s']);
    vi.advanceTimersByTime(10 * TIMEOUT_MS);
    expect(said).toHaveLength(1);
  });

  it('is none while others are confirmed, however many wait', () => {
    for (let count = 1; count < 500; count++) {
      oldest = count;
      vi.advanceTimersByTime(1_000);
    }
    expect(said).toEqual([]);
  });

  it('is as it should be during an alarm, and time begins anew when it is over', () => {
    oldest = 1;
    vi.advanceTimersByTime(60_000);
    watch.blocked(true);
    vi.advanceTimersByTime(10 * TIMEOUT_MS);
    watch.blocked(false);
    vi.advanceTimersByTime(60_000);
    expect(said).toEqual([]);
    vi.advanceTimersByTime(TIMEOUT_MS);
    expect(said).toHaveLength(1);
  });
});
