import { knimeUserSchema, osUserSchema } from '@kpx/protocol';
import { pino } from 'pino';
import { describe, expect, it, vi } from 'vitest';
import { Kinds } from './kinds.js';

const SILENT = pino({ level: 'silent' });
const running = (...names: string[]) =>
  new Map(
    names.map((name, uid) => [
      osUserSchema.parse(name),
      { osUser: osUserSchema.parse(name), user: knimeUserSchema.parse(name), uid, pid: uid },
    ]),
  );
const [ALICE, BOB] = [osUserSchema.parse('alice'), osUserSchema.parse('bob')];

describe('whether an executor is sealed', () => {
  it('is what the helper says, of one that runs as well', async () => {
    const kinds = new Kinds(SILENT, async (user) => (user === 'alice' ? 'hash' : undefined));
    expect(kinds.keep(running('alice', 'bob'))).toBe(false);
    await kinds.ask(running('alice', 'bob'));
    expect(kinds.keep(running('alice', 'bob'))).toBe(true);
    expect([kinds.of(ALICE), kinds.of(BOB)]).toEqual(['sealed', 'shared']);
  });

  it('is known of a start before the executor is in the list, and forgotten with the executor', () => {
    const kinds = new Kinds(SILENT, vi.fn());
    kinds.starts(ALICE, 'shared');
    kinds.starts(ALICE, 'shared');
    kinds.settled(ALICE);
    expect([kinds.keep(running()), kinds.of(ALICE)]).toEqual([true, 'shared']);
    kinds.settled(ALICE);
    expect([kinds.keep(running('alice')), kinds.of(ALICE)]).toEqual([true, 'shared']);
    expect([kinds.keep(running()), kinds.of(ALICE)]).toEqual([true, undefined]);
  });

  it('is the kind of the newest start', () => {
    const kinds = new Kinds(SILENT, vi.fn());
    kinds.starts(ALICE, 'shared');
    kinds.starts(ALICE, 'sealed');
    expect(kinds.of(ALICE)).toBe('sealed');
  });

  it('is not known while the helper does not say, who is asked again; a start that begins meanwhile counts', async () => {
    const answers: (() => Promise<string | undefined>)[] = [
      () => Promise.reject(new Error('the name service is down')),
      async () => {
        kinds.starts(ALICE, 'shared');
        return 'hash';
      },
    ];
    const kinds = new Kinds(SILENT, async () => await answers.shift()?.());
    await kinds.ask(running('alice'));
    expect(kinds.of(ALICE)).toBeUndefined();
    expect(kinds.keep(running('alice'))).toBe(false);
    await kinds.ask(running('alice'));
    expect(kinds.of(ALICE)).toBe('shared');
  });
});
