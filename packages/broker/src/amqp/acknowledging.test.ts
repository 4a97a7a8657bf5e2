import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Acknowledging } from './acknowledging.js';

/** RabbitMQ's side of one channel: which deliveries are not settled, and the frames that have come. */
function channel() {
  const open = new Set<number>();
  const acked: number[] = [];
  const frames: [tag: number, multiple: boolean][] = [];
  const wire = {
    corked: 0,
    cork() {
      this.corked += 1;
    },
    uncork() {
      this.corked -= 1;
    },
  };
  const acks = new Acknowledging((tag, multiple) => {
    // As RabbitMQ: of an unknown tag it closes the channel.
    if (!open.has(tag)) throw new Error(`PRECONDITION_FAILED - unknown delivery tag ${tag}`);
    frames.push([tag, multiple]);
    for (const each of multiple ? [...open].filter((other) => other <= tag) : [tag]) {
      open.delete(each);
      acked.push(each);
    }
  }, wire);
  const deliver = (tag: number) => {
    open.add(tag);
    acks.delivered(tag);
  };
  /** As a broker that gives one back: it says so at once. */
  const giveBack = (tag: number) => acks.settled(tag) && open.delete(tag);
  return { acks, deliver, giveBack, open, acked, frames, wire };
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

describe('acknowledgements', () => {
  it('of all that was delivered go out as one, at the end of the turn', async () => {
    const { acks, deliver, frames, acked } = channel();
    for (const tag of [1, 2, 3, 4]) deliver(tag);
    for (const tag of [3, 1, 2]) acks.ack(tag);
    expect(frames).toEqual([]);
    await nextTurn();
    expect(frames).toEqual([[3, true]]);
    acks.ack(4);
    await nextTurn();
    expect(frames).toEqual([
      [3, true],
      [4, false],
    ]);
    expect(acked).toEqual([1, 2, 3, 4]);
  });

  it('of what came behind an answer to basic.get, of which the program learns later, leave that alone', async () => {
    const { acks, deliver, open, acked } = channel();
    open.add(1);
    deliver(2);
    deliver(3);
    acks.delivered(1);
    acks.ack(2);
    acks.ack(3);
    await nextTurn();
    expect([acked, [...open]]).toEqual([[2, 3], [1]]);
    acks.ack(1);
    await nextTurn();
    expect(open.size).toBe(0);
  });

  it('of what was delivered after one that is in use go out one by one, written together', async () => {
    const { acks, deliver, frames, open, wire } = channel();
    for (const tag of [1, 2, 3]) deliver(tag);
    acks.ack(3);
    acks.ack(2);
    await nextTurn();
    expect(frames).toEqual([
      [3, false],
      [2, false],
    ]);
    expect([...open]).toEqual([1]);
    expect(wire.corked).toBe(0);
  });

  it('go over what was given back meanwhile', async () => {
    const { acks, deliver, giveBack, frames } = channel();
    for (const tag of [1, 2, 3]) deliver(tag);
    giveBack(2);
    acks.ack(1);
    acks.ack(3);
    await nextTurn();
    expect(frames).toEqual([[3, true]]);
  });

  it('do not wait for the end of the turn where deliveries end', async () => {
    const { acks, deliver, frames } = channel();
    for (const tag of [1, 2]) deliver(tag);
    acks.ack(1);
    acks.flush();
    expect(frames).toEqual([[1, false]]);
    await nextTurn();
    expect(frames).toHaveLength(1);
  });

  it('are sent once for each delivery that was asked for, and for no other', () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.constant({ kind: 'deliver' as const }) },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('ack' as const), which: fc.nat() }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('give back' as const), which: fc.nat() }) },
      { weight: 2, arbitrary: fc.constant({ kind: 'flush' as const }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const { acks, deliver, giveBack, open, acked } = channel();
        const [asked, back] = [new Set<number>(), new Set<number>()];
        let last = 0;
        for (const each of steps) {
          if (each.kind === 'deliver') deliver(++last);
          else if (each.kind === 'flush') acks.flush();
          else if (last > 0) {
            // Also one that is settled already.
            const tag = 1 + (each.which % last);
            if (each.kind === 'ack') {
              acks.ack(tag);
              if (!back.has(tag)) asked.add(tag);
            } else if (giveBack(tag)) back.add(tag);
          }
          expect(acked.every((tag) => asked.has(tag))).toBe(true);
        }
        acks.flush();
        expect([...acked].sort((a, b) => a - b)).toEqual([...asked].sort((a, b) => a - b));
        expect(open.size).toBe(last - asked.size - back.size);
      }),
      { numRuns: 500 },
    );
  });
});
