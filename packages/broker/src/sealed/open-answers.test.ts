import { describe, expect, it } from 'vitest';
import { OPEN_MAX, OpenAnswers } from './open-answers.js';

const GRACE_MS = 1_000;
const opened = (...pairs: [client: string, id: string | undefined][]) => {
  const answers = new OpenAnswers(() => GRACE_MS);
  for (const [client, id] of pairs) answers.open(client, id, 0);
  return answers;
};

describe('an answer is open', () => {
  it('for the reply_to and correlation id of a job that was given, together', () => {
    const answers = opened(['client', 'c1'], ['other', 'c2']);
    expect(answers.isOpen('client', 'c1', 1)).toBe(true);
    expect(answers.isOpen('client', 'c2', 1)).toBe(false);
    expect(answers.isOpen('other', 'c1', 1)).toBe(false);
    expect(answers.isOpen('clientc', '1', 1)).toBe(false);
    expect(answers.isOpen('client', undefined, 1)).toBe(false);
  });

  it('again and again until it has been answered for the last time so long ago', () => {
    const answers = opened(['client', 'c1']);
    answers.answered('client', 'c1', 500);
    answers.sweep(1_400);
    expect(answers.isOpen('client', 'c1', 1_400)).toBe(true);
    answers.answered('client', 'c1', 1_400);
    answers.sweep(2_399);
    expect(answers.isOpen('client', 'c1', 2_399)).toBe(true);
    answers.sweep(2_400);
    expect(answers.isOpen('client', 'c1', 2_400)).toBe(false);
  });

  it('keeps its client as long as that is answered with other ids', () => {
    const answers = opened();
    answers.open('client', 'c1', 0)(0);
    answers.answered('client', 'an id that was not given', 900);
    expect([[...answers.sweep(1_899)], [...answers.sweep(1_900)]]).toEqual([[], ['client']]);
  });

  it('however long its job takes that was taken back and is given once more', () => {
    const answers = opened(['client', 'c1']);
    answers.answered('client', 'c1', 500);
    expect([answers.unheardOf, typeof answers.open('client', 'c1', 600), answers.unheardOf]).toEqual([0, 'function', 1]);
    answers.sweep(10_000);
    expect(answers.isOpen('client', 'c1', 10_000)).toBe(true);
  });

  it('however long its job takes', () => {
    const answers = opened(['client', 'c1']);
    expect([...answers.sweep(1_000 * GRACE_MS)]).toEqual([]);
    expect(answers.isOpen('client', 'c1', 1_000 * GRACE_MS)).toBe(true);
  });

  it('no more when the job was not given after all', () => {
    const answers = opened();
    answers.open('client', undefined, 0)(1);
    expect(answers.isOpen('client', undefined, 1)).toBe(false);
  });

  it('for as long as before when a job that was taken back was not given once more after all', () => {
    const answers = opened(['client', 'c1']);
    answers.answered('client', 'c1', 500);
    answers.open('client', 'c1', 600)(700);
    expect([answers.unheardOf, answers.isOpen('client', 'c1', 700)]).toEqual([0, true]);
    answers.sweep(500 + GRACE_MS);
    expect(answers.isOpen('client', 'c1', 500 + GRACE_MS)).toBe(false);
  });

  it('when one copy of its job was given, and another one was not', () => {
    const answers = opened(['client', 'c1']);
    answers.open('client', 'c1', 1)(2);
    expect([answers.unheardOf, answers.isOpen('client', 'c1', 2)]).toEqual([1, true]);
  });

  it('for any id after a restart, to clients from before and for a while', () => {
    const answers = new OpenAnswers(() => GRACE_MS);
    answers.unknownBefore('client', 100);
    expect(answers.isOpen('client', 'any', 1_099)).toBe(true);
    expect(answers.isOpen('other', 'any', 1_099)).toBe(false);
    expect(answers.isOpen('client', 'any', 1_100)).toBe(false);
  });
});

describe('what is remembered', () => {
  it('is bounded: the oldest is forgotten, and counted', () => {
    const answers = new OpenAnswers(() => GRACE_MS);
    for (let id = 0; id <= OPEN_MAX; id++) answers.open('client', String(id), 0);
    expect(answers.size).toBe(OPEN_MAX);
    expect(answers.forgotten).toBe(1);
    expect(answers.isOpen('client', '0', 0)).toBe(false);
    expect(answers.isOpen('client', '1', 0)).toBe(true);
  });

  it('does not grow with a job that is given twice', () => {
    const answers = opened();
    const notGiven = answers.open('client', 'c1', 0);
    answers.open('client', 'c1', 0);
    notGiven(1);
    expect(answers.size).toBe(0);
    expect([...answers.sweep(1 + GRACE_MS)]).toEqual(['client']);
  });

  it('names each client that has waited for nothing for a while, once', () => {
    const answers = opened(['busy', 'c1']);
    answers.unknownBefore('from before', 0);
    answers.open('idle', 'c2', 0)(500);
    expect([...answers.sweep(999)]).toEqual([]);
    expect([...answers.sweep(1_000)]).toEqual(['from before']);
    expect([...answers.sweep(1_500)]).toEqual(['idle']);
    expect([...answers.sweep(99_999)]).toEqual([]);
  });

  it('keeps a client that the caller has not come to, and one that waits again by then', () => {
    const answers = opened();
    for (const client of ['one', 'two', 'three']) answers.open(client, 'c1', 0)(0);
    for (const client of answers.sweep(GRACE_MS)) {
      expect(client).toBe('one');
      answers.open('two', 'c4', GRACE_MS);
      break;
    }
    expect(['one', 'two', 'three'].map((client) => answers.isKnown(client))).toEqual([false, true, true]);
    expect([...answers.sweep(GRACE_MS)]).toEqual(['three']);
  });
});
