import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import type { Finding } from './chain.js';
import { type Head, headIn } from './heads.js';
import type { Link } from './link.js';

/** Written by the helper after each line: RuntimeDirectory= of systemd/kpx-privhelper@.service. */
export const HEAD_FILE = '/run/kpx/audit/head';

/** `no helper`: none was started since this machine has booted, so there is no head yet. */
export type LocalHead = Head | 'no helper' | 'gone';

export async function readLocalHead(): Promise<LocalHead> {
  const text = await readFile(HEAD_FILE, 'utf8').catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT')
      throw new CommandError(EXIT.noPermission, `${HEAD_FILE} cannot be read (${error.code}): run this as root.`);
    return (await stat(dirname(HEAD_FILE)).catch(() => undefined)) === undefined ? '' : undefined;
  });
  if (text === '') return 'no helper';
  return headIn((text ?? '').trimEnd()) ?? 'gone';
}

/** The lines after a head that was read before them: a helper may be writing, and the head follows each line. */
export class AfterHead {
  readonly #head: Head;
  #lines: Link[] = [];
  #reached = false;

  constructor(head: Head) {
    this.#head = head;
  }

  take(line: Link): void {
    if (line.hash === this.#head.hash) this.#reached = true;
    else if (this.#reached) this.#lines.push(line);
  }

  /** `now`: the head as it is after all lines were taken. Answers lines that no helper has written; one may be on its way, or have lost its process. */
  findings(now: LocalHead): Finding[] {
    if (typeof now === 'string' || !this.#reached) return [];
    const beyond = this.#lines.slice(this.#lines.findIndex(({ hash }) => hash === now.hash) + 1);
    const first = beyond.find(({ seq }) => seq !== now.seq + 1);
    const last = this.#lines.at(-1);
    if (first === undefined || last === undefined || now.seq > last.seq) return [];
    return [{ kind: 'beyond the head', from: first.seq, to: last.seq, before: first }];
  }
}
