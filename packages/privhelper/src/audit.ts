import { destination, pino } from 'pino';

/** sysexits.h: input/output error. */
const EXIT_AUDIT = 74;

/**
 * Who asked: what the kernel or PID 1 says of the peer; never what the peer says of itself. `via` is `fd 3` or the path of the socket; under
 * systemd's `Accept=yes`, `pid` and `uid` are those of the process that connected, as the kernel told PID 1.
 */
export type Peer = Readonly<{ via: string; connection: number; pid?: number; uid?: number }>;

type Texts = Partial<Record<'verb' | 'knime_user' | 'os_user' | 'outcome' | 'code' | 'reason', string>>;
type Numbers = Partial<Record<'id' | 'uid' | 'duration_ms', number>>;

/** What was asked and what became of it: one line per request, refused packet and connection. */
export interface AuditLine extends Texts, Numbers {
  peer: Peer;
  event: 'connected' | 'refused connection' | 'request' | 'violation' | 'disconnected';
  decision?: 'done' | 'refused';
  created?: readonly string[];
}

export type Audit = ReturnType<typeof openAudit>;

/**
 * JSON lines on standard output, written synchronously: a request is not answered before its line is out, and a line that cannot be written
 * ends the process. No worker threads, as pino's transports would use.
 */
export function openAudit() {
  const out = destination({ fd: 1, sync: true });
  // Left alone, pino takes a broken pipe for a reason to say nothing more, and goes on.
  out.on('error', ({ code, message }: NodeJS.ErrnoException) => {
    process.stderr.write(`the audit log cannot be written: ${code ?? message}\n`);
    process.exit(EXIT_AUDIT);
  });
  const base = { program: 'kpx-privhelper', pid: process.pid };
  const log = pino({ base, timestamp: () => `,"time":"${new Date().toISOString()}"` }, out);
  return {
    line: (line: AuditLine) => log.info(line, 'audit'),
    /** About the program itself, or what happens unasked. */
    info: (message: string, facts: Record<string, unknown> = {}) => log.info(facts, message),
  };
}
