import { EXIT_LOG } from '@kpx/protocol';

interface ExitKind {
  /** Of sysexits.h. */
  readonly code: number;
  readonly meaning: string;
  /** How the broker answers at its control socket what ends a command with this code; undefined: it does not. */
  readonly status?: number;
}

/** Every code that a program of kpx ends with beside 0, for help, man pages and docs/operate.md (test/reference.test.ts). */
export const EXITS = {
  attention: { code: 1, meaning: 'status --check: something needs attention' },
  trouble: { code: 2, meaning: 'status --check: jobs do not get through' },
  usage: { code: 64, meaning: 'wrong usage', status: 400 },
  dataError: { code: 65, meaning: 'wrong settings of the original, or lines of the audit log are missing, changed or out of order' },
  noInput: { code: 66, meaning: 'no such file, account, job or dead letter', status: 410 },
  unavailable: { code: 69, meaning: 'the broker, RabbitMQ or the name service gives no answer', status: 503 },
  defect: { code: 70, meaning: 'defect of kpx' },
  cannotCreate: { code: 73, meaning: 'a directory cannot be made' },
  log: { code: EXIT_LOG, meaning: 'log or standard output not writable' },
  noPermission: { code: 77, meaning: 'not permitted', status: 403 },
  config: { code: 78, meaning: 'wrong configuration, or a check of the doctor has failed' },
} as const satisfies Record<string, ExitKind>;

type ExitName = keyof typeof EXITS;

export const EXIT = Object.fromEntries(Object.entries(EXITS).map(([name, { code }]) => [name, code])) as {
  readonly [Name in ExitName]: (typeof EXITS)[Name]['code'];
};

const WIDTH_CHARS = 165;

/** `other`: the meaning of a code to this program alone. */
const exitsOf = (names: readonly ExitName[], other: Partial<Record<ExitName, string>> = {}) =>
  names.map((name) => ({ code: EXITS[name].code, meaning: other[name] ?? EXITS[name].meaning }));

/** Of each program, by code. The helper, which imports nothing from here, has its own in its `--help`. */
export const EXITS_OF = {
  'kpx-broker': exitsOf(['usage', 'defect', 'log', 'noPermission', 'config'], {
    noPermission: 'started as root',
    config: 'wrong configuration',
  }),
  kpxctl: exitsOf(
    ['attention', 'trouble', 'usage', 'dataError', 'noInput', 'unavailable', 'cannotCreate', 'log', 'noPermission', 'config'],
    {
      log: 'standard output not writable',
    },
  ),
};

/** "Exit codes: 0 done, 64 wrong usage, …." in lines for `--help`. */
export function exitCodes(program: keyof typeof EXITS_OF): string {
  const parts = ['Exit codes: 0 done', ...EXITS_OF[program].map(({ code, meaning }) => `${code} ${meaning}`)];
  let line = '';
  const lines: string[] = [];
  for (const [index, part] of parts.entries()) {
    const next = `${part}${index === parts.length - 1 ? '.' : ','}`;
    if (line !== '' && line.length + 1 + next.length > WIDTH_CHARS) {
      lines.push(line);
      line = '';
    }
    line += line === '' ? next : ` ${next}`;
  }
  return [...lines, line].join('\n');
}

/** An error that ends a command: `message` says what, why and what to do, in a line or two for the person who typed it. */
export class CommandError extends Error {
  override name = 'CommandError';
  readonly exitCode: (typeof EXIT)[ExitName];

  constructor(exitCode: CommandError['exitCode'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

const KINDS: readonly (ExitKind & { readonly code: CommandError['exitCode'] })[] = Object.values(EXITS);

/** The HTTP status by which the broker says what ends a command; what has none of its own is 503. */
export const statusOf = (exitCode: number): number => KINDS.find(({ code }) => code === exitCode)?.status ?? EXITS.unavailable.status;

/** The exit code of a command that was answered with this status; undefined: it is not known. */
export function exitCodeOf(status: number | undefined): CommandError['exitCode'] | undefined {
  if (status === undefined || status === EXITS.unavailable.status) return undefined;
  return KINDS.find((kind) => kind.status === status)?.code;
}
