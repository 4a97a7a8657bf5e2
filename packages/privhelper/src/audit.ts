import { hash } from 'node:crypto';
import { EXIT_LOG, openLog } from '@kpx/protocol';
import { openTrustedDirectory } from './system/directory.js';
import { appendLine, openSmallFile } from './system/private-file.js';

/**
 * The peer: what the kernel or PID 1 says of the peer; never what the peer says of itself. `via` is `fd 3` or the path of the socket; under
 * systemd's `Accept=yes`, `pid` and `uid` are those of the process that connected, as the kernel told PID 1.
 */
export type Peer = Readonly<{ via: string; connection: number; pid?: number; uid?: number }>;

type Texts = Partial<Record<'verb' | 'knime_user' | 'os_user' | 'outcome' | 'code' | 'reason', string>>;
type Numbers = Partial<Record<'id' | 'uid' | 'duration_ms', number>>;

/**
 * The request and its outcome: one line per request, refused packet and connection. A request that names a user has one line more,
 * `received`, before anything is done.
 */
export interface AuditLine extends Texts, Numbers {
  peer: Peer;
  event: 'connected' | 'refused connection' | 'received' | 'request' | 'violation' | 'disconnected';
  decision?: 'done' | 'refused';
  created?: readonly string[];
  /** Sealed: the password of the account's RabbitMQ user was made, is that of the executor that runs, or was given to the one that starts. */
  credential?: 'made' | 'in use' | 'used';
}

export type Audit = Awaited<ReturnType<typeof openAudit>>;

/**
 * The audit log: on standard output and, where a directory of root's is given, in its file audit.jsonl. Nothing is done or answered before its line
 * is out, and a line that cannot be written ends the process. `heads`: where the head of the chain is kept from one process to the next.
 */
export async function openAudit(directory: string | undefined, heads: string | undefined) {
  for (const path of [directory, heads]) if (path !== undefined) await (await openTrustedDirectory(path)).close();
  const lost = ({ code, message }: NodeJS.ErrnoException) => {
    process.stderr.write(`the audit log cannot be written: ${code ?? message}\n`);
    process.exit(EXIT_LOG);
  };
  const append = (line: string) => directory !== undefined && appendLine(`${directory}/audit.jsonl`, line);
  const streamWrite = chained(append, heads === undefined ? undefined : openSmallFile(`${heads}/head`));
  const log = openLog({ program: 'kpx-privhelper', pid: process.pid }, 'info', { lost, streamWrite });
  return {
    line: (line: AuditLine) => log[line.decision === 'refused' ? 'warn' : 'info'](line, 'audit'),
    /** About the program itself, or what happens unasked. */
    info: (message: string, facts: Record<string, unknown> = {}) => log.info(facts, message),
  };
}

/**
 * Gives each line its number and the SHA-256 of the line before, without its end of line. The head is the number and the hash of the last one, and
 * is written after the line: killed in between, a process leaves a line too many, never one too few. One process writes at a time: the socket's
 * `MaxConnections=1` sees to that. docs/audit.md has what that proves, and to whom.
 */
function chained(append: (line: string) => void, head?: ReturnType<typeof openSmallFile>) {
  const [number, hashBefore] = head?.text.trim().split(' ') ?? [];
  let [seq, prev] = [Number(number) || 0, hashBefore ?? ''];
  return (line: string) => {
    const linked = `${line.slice(0, -'}\n'.length)},"seq":${++seq},"prev":"${prev}"}`;
    append(`${linked}\n`);
    prev = hash('sha256', linked);
    head?.write(`${seq} ${prev}\n`);
    return `${linked}\n`;
  };
}
