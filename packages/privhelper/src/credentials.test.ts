import { osUserSchema, privhelperConfigSchema, type Sealed } from '@kpx/protocol';
import { describe, expect, it } from 'vitest';
import type { Config } from './config.js';
import { prepareCredential, useCredential } from './credentials.js';
import type { Launcher } from './launcher.js';

const ALICE = osUserSchema.parse('alice');
const OWN = `amqp://kpx.host1.alice:${'A'.repeat(43)}@127.0.0.1:5673/kpx.host1.alice`;
const SHARED = 'amqp://knime-executor:secret@127.0.0.1/knime';

/** `running`: KNIME_EXECUTOR_MSGQ of the executor that runs. */
function context(sealed: Sealed, running?: string) {
  const { executor } = privhelperConfigSchema.parse({ executor: { node: 'host1', sealed } });
  const passwords = new Map<string, string>();
  const launcher = { msgqOf: async () => running, passwords } as unknown as Launcher;
  const facts: { credential?: 'made' | 'used' | 'in use' } = {};
  return { config: { executor } as Config, launcher, signal: AbortSignal.timeout(1_000), facts, passwords };
}

describe('PrepareUser answers a hash', () => {
  it.each<[what: string, sealed: Sealed, running: string | undefined, credential: string | undefined]>([
    ['of a new password, for an account that is sealed', true, undefined, 'made'],
    ['of a new password, for one of those that are', ['bob', 'alice'], undefined, 'made'],
    ['not, for one that is none of them', ['bob'], undefined, undefined],
    ['not, where none is', false, undefined, undefined],
    ['of the password of an executor that was started sealed', true, OWN, 'in use'],
    ['of that also when its account is not sealed any more', ['bob'], OWN, 'in use'],
    ['of that also when no account is, as long as some could be', [], OWN, 'in use'],
    ['not, where executors are not sealed at all: nothing is looked at', false, OWN, undefined],
    ['not, of an executor that shares its user, although its account is sealed by now', ['alice'], SHARED, undefined],
    ['not, of an executor that shares its user when all are sealed by now', true, SHARED, undefined],
  ])('%s', async (_, sealed, running, credential) => {
    const { facts, passwords, ...rest } = context(sealed, running);
    const { passwordHash } = await prepareCredential(ALICE, { ...rest, facts });
    expect([passwordHash?.length, facts.credential]).toEqual([credential && 48, credential]);
    expect(passwords.size).toBe(credential === 'made' ? 1 : 0);
  });

  it('never of another account’s password', async () => {
    await expect(prepareCredential(ALICE, context(true, OWN.replaceAll('alice', 'bob')))).rejects.toThrow(/stop it/);
  });
});

it('a start uses a password where the account is sealed, and refuses to go without', async () => {
  const environment = { KNIME_EXECUTOR_MSGQ: 'amqp://{password}' };
  expect(await useCredential(ALICE, environment, context(['bob']))).toBe(environment);
  await expect(useCredential(ALICE, environment, context(['alice']))).rejects.toThrow(/no password was prepared/);
  const { passwords, ...rest } = context(['alice']);
  await prepareCredential(ALICE, rest);
  const used = await useCredential(ALICE, environment, rest);
  expect(used.KNIME_EXECUTOR_MSGQ).toBe(`amqp://${passwords.get('alice')}`);
});
