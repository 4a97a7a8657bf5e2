import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { isIP, isIPv6 } from 'node:net';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { CONFIG_BYTES_MAX, knimeUserSchema, osUserSchema } from '@kpx/protocol';
import * as z from 'zod';

/** The settings of the script that kpx supersedes: one JSON object, on each executor machine. */

const TEXT_CHARS_MAX = 1_024;
const HOSTS_MAX = 16;
const HOST_CHARS_MAX = 253;
const ATTEMPTS_MAX = 1_000;
const SLEEP_SECONDS_MAX = 3_600;

/** One line: it goes into files whose lines mean something. */
const text = z
  .string('expected text')
  .min(1, 'expected text, not nothing')
  .max(TEXT_CHARS_MAX, `expected at most ${TEXT_CHARS_MAX} characters`)
  .regex(/^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Noncharacter_Code_Point}]*$/u, 'expected one line of text without control characters');

const path = text.regex(/^(\/(?!\.{1,2}(\/|$))[^/]+)+$/, 'expected an absolute path without "." or ".." or "//", not ending in "/"');

/** It goes into a unit, where blanks, quotes, "%", "$" and backslashes mean something. */
const unitPath = path.regex(
  /^[A-Za-z0-9/._+@:-]+$/,
  'expected a path of letters, digits and . _ + @ : - only: systemd gives others a meaning. Make a link to it under such a name',
);

const host = text.superRefine((value, context) => {
  const problem = hostProblem(value);
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
});

function hostProblem(value: string): string | undefined {
  // In this order, and never with the value: it may hold a password.
  if (value.includes('@')) return 'expected the name of a host alone, without a user or password';
  if (value.includes('/')) return 'expected the name of a host, not a URL';
  if (isIP(value) !== 0) return value.includes('%') ? 'expected an address without a zone' : undefined;
  if (/^[^:]*:\d*$/.test(value)) return 'expected the name of a host without a port: that is rabbitmq_port';
  const isName = value.length <= HOST_CHARS_MAX && /^(?!-)[A-Za-z0-9_-]{1,63}(\.(?!-)[A-Za-z0-9_-]{1,63})*\.?$/.test(value);
  return isName ? undefined : 'expected the name or address of a host';
}

/** How hosts stand in a URL. */
export const inUrl = (hostName: string) => (isIPv6(hostName) ? `[${hostName}]` : hostName);

/** Python's names of levels. */
const LEVELS = { debug: 'debug', info: 'info', warn: 'warn', warning: 'warn', error: 'error', critical: 'fatal', fatal: 'fatal' } as const;

const level = z
  .string('expected text')
  .toLowerCase()
  .pipe(z.enum(Object.keys(LEVELS) as (keyof typeof LEVELS)[], 'expected DEBUG, INFO, WARNING, ERROR or CRITICAL'))
  .transform((name) => LEVELS[name]);

/** KNIME name → account, judged name by name: a record of zod's would pass over "__proto__" in silence. */
const mapping = z
  .custom<object>((value) => typeof value === 'object' && value !== null && !Array.isArray(value), 'expected an object of names')
  .transform((value, context) =>
    Object.entries(value).map(([knimeUser, osUser]) => {
      const problem = mappingProblem(knimeUser, osUser);
      if (problem !== undefined) context.addIssue({ code: 'custom', path: [knimeUser], message: problem });
      return [knimeUser, String(osUser)] as const;
    }),
  );

function mappingProblem(knimeUser: string, osUser: unknown): string | undefined {
  const name = knimeUserSchema.safeParse(knimeUser);
  if (!name.success) return `the KNIME name: ${name.error.issues[0]?.message}`;
  if (knimeUser === '__proto__') return 'the KNIME name: expected another one';
  const account = osUserSchema.safeParse(osUser);
  if (!account.success) return `the account: ${account.error.issues[0]?.message}`;
  return account.data === 'root' ? 'maps to root, who never gets an executor: take it out' : undefined;
}

const seconds = z
  .number('expected a number of seconds')
  .min(0, 'expected 0 or more seconds')
  .max(SLEEP_SECONDS_MAX, `expected at most ${SLEEP_SECONDS_MAX} seconds`);
const scalar = z.union([z.string(), z.number()], 'expected text or a number');

const originalSchema = z.strictObject({
  log_file: scalar.optional(),
  log_level: level.optional(),
  log_rotation_when: scalar.optional(),
  log_rotation_interval: scalar.optional(),
  log_rotation_keep: scalar.optional(),
  ca_cert_file: path.optional(),
  rabbitmq_host_name: z.preprocess(
    (value) => (typeof value === 'string' ? [value] : value),
    z.array(host, 'expected the name of a host, or a list of them').min(1, 'expected a host').max(HOSTS_MAX),
  ),
  rabbitmq_virtual_host: text,
  rabbitmq_client_user: text,
  rabbitmq_client_password: text,
  rabbitmq_port: z.int('expected a port').min(1, 'expected 1 to 65535').max(65_535, 'expected 1 to 65535').optional(),
  rabbitmq_protocol: z.enum(['amqp', 'amqps'], 'expected "amqp" or "amqps"').optional(),
  rabbitmq_queue_name: text.optional(),
  rabbitmq_exchange: z.union([z.literal(''), text], 'expected text').optional(),
  rabbitmq_routing_key: text.optional(),
  knime_home: unitPath,
  knime_workspace_parent_folder: path.optional(),
  max_attempts_executor_start: z
    .int('expected a whole number')
    .min(1, 'expected 1 or more')
    .max(ATTEMPTS_MAX, `expected at most ${ATTEMPTS_MAX}`)
    .optional(),
  seconds_sleep_executor_start: seconds.optional(),
  seconds_sleep_executor_existing: seconds.optional(),
  local_knime_user_os_user_mapping: mapping.optional(),
});

export type Original = z.output<typeof originalSchema>;
export type Setting = keyof Original;

/** Every problem of an original, a sentence each, without any value. */
export class OriginalRefused extends Error {
  override name = 'OriginalRefused';
  constructor(readonly problems: readonly string[]) {
    super(problems.join('\n'));
  }
}

/** Throws {@link CommandError} for a file that cannot be read, {@link OriginalRefused} for its content. */
export async function readOriginal(file: string): Promise<Original> {
  const raw = parseJson(await readBounded(file));
  const isThere = (setting: PropertyKey | undefined) => typeof raw !== 'object' || raw === null || Object.hasOwn(raw, setting ?? '');
  const result = originalSchema.safeParse(raw);
  if (result.success) return result.data;
  throw new OriginalRefused(
    result.error.issues.flatMap((issue) => {
      if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => `${key}: no setting of the original; take it out`);
      if (issue.path.length === 0) return [`the file: ${issue.message}`];
      return [`${issue.path.join('.')}: ${isThere(issue.path[0]) ? issue.message : 'is missing'}`];
    }),
  );
}

async function readBounded(file: string): Promise<Buffer> {
  // Not waiting for somebody who writes, should it be a pipe.
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK).catch(({ code }: NodeJS.ErrnoException) => {
    throw new CommandError(code === 'EACCES' ? EXIT.noPermission : EXIT.noInput, `${file} cannot be read: ${code}`);
  });
  try {
    if (!(await handle.stat()).isFile()) throw new CommandError(EXIT.noInput, `${file} is not a regular file`);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(CONFIG_BYTES_MAX + 1));
    if (bytesRead > CONFIG_BYTES_MAX) throw new OriginalRefused([`the file has more than ${CONFIG_BYTES_MAX} bytes`]);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

function parseJson(source: Buffer): unknown {
  let content: string;
  try {
    content = new TextDecoder('utf-8', { fatal: true }).decode(source);
  } catch {
    throw new OriginalRefused(['the file is not UTF-8']);
  }
  try {
    return JSON.parse(content);
  } catch (error) {
    // Never the message itself: it quotes what is there, which may be the password.
    const [, position] = / at position (\d+)/.exec((error as Error).message) ?? [];
    if (position === undefined) throw new OriginalRefused(['the file is not JSON']);
    const lines = content.slice(0, Number(position)).split('\n');
    throw new OriginalRefused([`the file is not JSON: line ${lines.length}, column ${(lines.at(-1)?.length ?? 0) + 1}`]);
  }
}
