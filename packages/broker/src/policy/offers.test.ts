import { describe, expect, it } from 'vitest';
import { FIRST_PACE, offerOutMs, paceAfterOffer, paceAfterReturn } from './offers.js';

/** How long the next offer of one job is waited for, once such offers are back after such times, over and over. */
function waitAfter(...timesMs: number[]): number {
  let pace = FIRST_PACE;
  for (let round = 0; round < 200; round++) for (const ms of timesMs) pace = paceAfterReturn(pace, ms);
  return offerOutMs(pace, 1, 1);
}

it('the pace of an executor is not forgotten by one offer that met the wrong one, however long it was out', () => {
  expect(paceAfterOffer({ perMs: 1, backMs: 1 }, 0, 5_000).perMs).toBeGreaterThan(0.7);
});

describe('the wait for an offer', () => {
  it.each([5, 40, 400, 4_000])('is about twice the %i ms after which offers are back', (ms) => {
    expect(waitAfter(ms)).toBeGreaterThan(1.9 * ms);
    expect(waitAfter(ms)).toBeLessThanOrEqual(2 * ms);
  });

  it('is hardly longer for those few that another executor keeps for a minute', () => {
    expect(waitAfter(60_000, ...Array<number>(9).fill(5))).toBeLessThan(20);
  });

  it('is short again once a few are back as soon as before a long queue', () => {
    expect(waitAfter(...Array<number>(9).fill(5))).toBeLessThan(12);
    let pace = FIRST_PACE;
    for (let round = 0; round < 100; round++) pace = paceAfterReturn(pace, 200);
    for (let round = 0; round < 10; round++) pace = paceAfterReturn(pace, 5);
    expect(offerOutMs(pace, 1, 1)).toBeLessThan(20);
  });

  it('has a bound', () => {
    expect(waitAfter(60_000)).toBeLessThanOrEqual(10_000);
  });
});
