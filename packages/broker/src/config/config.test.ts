import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { policyOf, readConfig, readPassword } from './config.js';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'kpx-config-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

const AMQP = '[amqp]\nurls = ["amqp://kpx-broker@127.0.0.1:5672/knime"]\n';

const RULE = `${AMQP}[[policy.rule]]\nusers = ["Alice"]\n`;

async function read(text: string) {
  const file = join(directory, 'broker.toml');
  writeFileSync(file, text);
  return await readConfig(file);
}

describe('readConfig', () => {
  it('fills in what is not said', async () => {
    const config = await read(AMQP);
    expect(config.amqp).toMatchObject({
      queue: 'knime-jobs',
      exchange: 'knime-server2executorknime-jobs',
      routing_key: 'new-work',
      prefetch: 1_024,
    });
    expect(policyOf(config)).toMatchObject({
      maxExecutors: 40,
      maxStarting: 4,
      startAttempts: 5,
      backoffInitialMs: 2_000,
      backoffMaxMs: 300_000,
    });
    expect(policyOf(config)).toMatchObject({ heldPerUser: 256, heldInAll: 512, startTimeoutMs: 120_000, readyDelayMs: undefined });
  });

  it('refuses two places for the user of a job, and one that is none', async () => {
    const both = `${AMQP}[jobs]\nuser_from = "header:user"\nuser_field = "user"\n`;
    await expect(read(both)).rejects.toThrow(/jobs\.user_field.*take one of the two out/s);
    await expect(read(`${AMQP}[jobs]\nuser_from = "user"\n`)).rejects.toThrow(/expected "body:NAME", "header:NAME" or "property:user_id"/);
    expect((await read(`${AMQP}[jobs]\nuser_from = "property:user_id"\n`)).jobs.user_from).toBe('property:user_id');
  });

  it('reads durations in milliseconds, seconds, minutes and hours', async () => {
    const config = await read(
      `${AMQP}[policy]\nbackoff_initial = "250ms"\nbackoff_max = "1h"\n[executors]\nready = "delay"\nready_delay = "20s"\n`,
    );
    expect(policyOf(config)).toMatchObject({ backoffInitialMs: 250, backoffMaxMs: 3_600_000, readyDelayMs: 20_000 });
  });

  it('has the users of a rule start at its times, in their own spelling', async () => {
    const [rule] = policyOf(await read(`${RULE}prestart = "Mon-Fri 07:30"\n`)).rules;
    expect(rule).toMatchObject({ users: ['alice'], prestart: { users: ['Alice'], schedule: { text: 'Mon-Fri 07:30', hour: 7 } } });
    expect(policyOf(await read(`${RULE}prestart = ""\n`)).rules[0]?.prestart).toBeUndefined();
  });

  it.each([
    ['[amqp]\nurls = [\n', /broker\.toml: line 3/],
    ['', /amqp\.urls is missing, and has no default; for example urls = \["amqp:/],
    [`${AMQP}[polcy]\n`, /polcy: unknown key; did you mean "policy"/],
    [`${AMQP}[policy]\nmax_executor = 3\n`, /policy\.max_executor: unknown key; did you mean "max_executors"/],
    [`${AMQP}[policy]\nmax_executors = 0\n`, /line 4, policy\.max_executors = 0: expected a whole number from 1 to 5000; .*kpxctl drain/],
    [`${AMQP}[policy]\nbackoff_initial = 2\n`, /line 4, policy\.backoff_initial = 2: expected a duration such as/],
    [`${AMQP}[policy]\nbackoff_initial = "2 sec"\n`, /line 4, policy\.backoff_initial = "2 sec": expected a duration such as/],
    [`${AMQP}[policy]\nbackoff_initial = "10m"\n`, /policy\.backoff_max: expected at least backoff_initial/],
    [`${AMQP}prefetch = 20001\n`, /line 3, amqp\.prefetch = 20001: expected a whole number from 1 to 20000/],
    ['[amqp]\nurls = []\n', /amqp\.urls: /],
    [`${AMQP}queue = "${'ü'.repeat(116)}"\n`, /amqp\.queue: expected at most 230 bytes/],
    [`${AMQP}exchange = "${'x'.repeat(256)}"\n`, /amqp\.exchange: expected at most 255 bytes/],
    [`${AMQP}routing_key = "${'x'.repeat(256)}"\n`, /amqp\.routing_key: expected at most 255 bytes/],
    [`${AMQP}[jobs]\ncan_handle_header = "${'x'.repeat(256)}"\n`, /jobs\.can_handle_header: expected at most 255 bytes/],
    ['[amqp]\nurls = ["amqp://u:secret@host/v"]\n', /line 2, amqp\.urls, entry 1: holds a password: put it into amqp\.password_file/],
    ['[amqp]\nurls = ["amqp://host/v"]\n', /names no RabbitMQ user/],
    ['[amqp]\nurls = ["http://u@host"]\n', /expected "amqp:/],
    [
      `${RULE}prestart = "Mon-Fri 24:00"\n`,
      /line 5, rule 1: prestart = "Mon-Fri 24:00": 24:00 is no time of day: .*; for example prestart = "Mon-Fri 07:30"/,
    ],
    [`${RULE}prestart = "Montag 07:30"\n`, /line 5, rule 1: prestart = "Montag 07:30": "Montag" is no day: Mon, /],
    [
      `${RULE}prestart = ["07:30"]\n`,
      /line 5, rule 1: prestart = \["07:30"\]: expected text in quotes; for example prestart = "Mon-Fri 07:30"/,
    ],
    [`${RULE}action = "deny"\nprestart = "07:30"\n`, /line 6, rule 1: prestart = "07:30": action is "deny", .*: take prestart = out/],
    [`${AMQP}[[policy.rule]]\ngroups = ["g"]\nprestart = "07:30"\n`, /line 5, rule 1: prestart = "07:30": names of users are needed/],
    [`${AMQP}[[policy.rule]]\nusers = ["a", "b*"]\nprestart = "07:30"\n`, /line 5, rule 1: prestart = "07:30": "b\*" in users is no name/],
    [`${AMQP}[log]\nlevel = "loud"\n`, /line 4, log\.level = "loud": expected .* or "trace"/],
  ])('says which key is wrong, and what is expected: %j', async (text, message) => {
    await expect(read(text)).rejects.toThrow(message);
  });

  it('never repeats a password that stands in a URL', async () => {
    await expect(read('[amqp]\nurls = ["amqp://u:hunter2@host/v"]\n')).rejects.not.toThrow(/hunter2/);
  });

  it('names a file that is not there', async () => {
    await expect(readConfig(join(directory, 'none.toml'))).rejects.toThrow(/none\.toml: there is no such file/);
  });
});

describe('readPassword', () => {
  it('reads the password file without its line end', async () => {
    writeFileSync(join(directory, 'password'), 'pa ss\n');
    const { amqp } = await read(`${AMQP}password_file = "${directory}/password"\n`);
    expect(await readPassword(amqp)).toBe('pa ss');
  });

  it('says what to do when there is none', async () => {
    const { amqp } = await read(AMQP);
    await expect(readPassword(amqp)).rejects.toThrow(/set amqp\.password_file, or pass the systemd credential/);
  });
});
