import { destination, pino } from 'pino';

/** sysexits.h: input/output error. */
const EXIT_AUDIT = 74;

/** Who asked: what the kernel or PID 1 says of the peer; never what the peer says of itself. */
export interface Peer {
  /** `fd 3` or the path of the socket. */
  readonly via: string;
  readonly connection: number;
  /** Under systemd's `Accept=yes`: the process that connected, as the kernel told PID 1. */
  readonly pid?: number;
  readonly uid?: number;
}

/** What was asked and what became of it: one line per request, refused packet and connection. */
export interface AuditLine {
  readonly peer: Peer;
  readonly event: 'connected' | 'refused connection' | 'request' | 'violation' | 'disconnected';
  readonly decision?: 'done' | 'refused';
  readonly id?: number;
  readonly verb?: string;
  readonly knime_user?: string;
  readonly os_user?: string;
  readonly uid?: number;
  readonly created?: readonly string[];
  readonly outcome?: string;
  readonly code?: string;
  readonly reason?: string;
  readonly duration_ms?: number;
}

export interface Audit {
  line(line: AuditLine): void;
  /** An executor of the direct launcher has ended. */
  ended(executor: { os_user: string; uid: number; pid: number; last_exit: string }): void;
  /** About the program itself. */
  info(message: string, facts?: Record<string, unknown>): void;
}

/**
 * JSON lines on standard output, written synchronously: a request is not answered before its line is out, and a line that cannot be written
 * ends the process. No worker threads, as pino's transports would use.
 */
export function openAudit(): Audit {
  const out = destination({ fd: 1, sync: true });
  // Left alone, pino takes a broken pipe for a reason to say nothing more, and goes on.
  out.on('error', ({ code, message }: NodeJS.ErrnoException) => {
    process.stderr.write(`the audit log cannot be written: ${code ?? message}\n`);
    process.exit(EXIT_AUDIT);
  });
  const log = pino(
    { base: { program: 'kpx-privhelper', pid: process.pid }, timestamp: () => `,"time":"${new Date().toISOString()}"` },
    out,
  );
  return {
    line: (line) => log.info(line, 'audit'),
    ended: (executor) => log.info({ ...executor, event: 'executor ended' }, 'audit'),
    info: (message, facts = {}) => log.info(facts, message),
  };
}
