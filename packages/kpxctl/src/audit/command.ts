import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { say } from '@kpx/broker/output/terminal';
import type { Command } from 'commander';
import { Chain, type Finding } from './chain.js';
import { Heads, readHeads } from './heads.js';
import { type Link, linkOf, type Unreadable } from './link.js';
import { AfterHead, HEAD_FILE, type LocalHead, readLocalHead } from './local-head.js';
import { closeParts, linesOf, openParts } from './parts.js';
import { forPeople, forPrograms, isProblem, type Verified } from './report.js';

/** LogsDirectory= of systemd/kpx-privhelper@.service. */
const DIRECTORY = '/var/log/kpx';

interface Options {
  readonly directory: string;
  readonly head?: string;
  readonly json?: boolean;
}

export function addAudit(program: Command): void {
  program
    .command('audit')
    .helpCommand(false)
    .summary('whether the audit log is complete')
    .description('Looks at the audit log of kpx-privhelper.')
    .command('verify')
    .summary('whether lines are missing, changed or out of order')
    .description(
      'Reads all parts of the audit log, rotated ones included, and says whether lines are missing, changed or out of order: between which requests, of ' +
        'which process. A killed process is said to be cut by kill, and is no error. Changes nothing. Run it as root.',
    )
    .option('--directory <DIR>', 'where the parts of the log are', DIRECTORY)
    .option('--head <FILE>', `heads that were kept elsewhere, or lines of the log from the journal of another host; default: ${HEAD_FILE}`)
    .option('--json', 'print JSON, for programs')
    .addHelpText(
      'after',
      '\nExit codes: 0 nothing is missing, 65 lines are missing, changed or out of order, 66 no such file, 77 not permitted.',
    )
    .action(verify);
}

async function verify({ directory, head, json = false }: Options): Promise<void> {
  // The head is read before the lines: all up to it have to be there.
  const local = head === undefined && directory === DIRECTORY ? await readLocalHead() : undefined;
  const heads = head === undefined ? new Heads(typeof local === 'object' ? [local] : []) : await readHeads(head);
  const verified = await follow(directory, heads, local);
  say(json ? forPrograms(verified) : forPeople(verified));
  if (verified.findings.some(isProblem)) process.exitCode = EXIT.dataError;
}

async function follow(directory: string, heads: Heads, local: LocalHead | undefined): Promise<Verified> {
  const chain = new Chain();
  const after = typeof local === 'object' ? new AfterHead(local) : undefined;
  const { parts, others } = await openParts(directory);
  const unread: Finding[] = others.map((name) => ({ kind: 'part', why: `${name}: neither plain nor gzip, or no name of logrotate's` }));
  for (const part of parts) {
    try {
      let at = 0;
      for await (const { text, whole, tooLong } of linesOf(part)) {
        const place = { part: part.name, line: ++at };
        const line: Link | Unreadable = tooLong
          ? { place, unreadable: 'too long' }
          : whole
            ? linkOf(text, place)
            : { place, unreadable: 'cut short' };
        chain.take(line);
        if ('unreadable' in line) continue;
        heads.take(line);
        after?.take(line);
      }
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      unread.push({ kind: 'part', why: error.message });
    }
  }
  await closeParts(parts);
  chain.end();
  const beyond = after?.findings(await readLocalHead()) ?? [];
  const notSeen = heads.notSeen(chain).map(({ seq, time }): Finding => {
    const { last } = chain;
    if (seq > (last?.seq ?? 0)) return { kind: 'missing', from: (last?.seq ?? 0) + 1, to: seq, after: last };
    const unsure = heads.noneSeen && chain.beginsLate && { before: chain.first };
    return { kind: 'not the head', from: seq, ...(time !== undefined && { why: time }), ...unsure };
  });
  const count = heads.notJudged(chain);
  if (count > 0) notSeen.push({ kind: 'not judged', why: `${count} ${count === 1 ? 'head' : 'heads'}` });
  const gone: Finding[] = local === 'gone' ? [{ kind: 'part', why: `${HEAD_FILE} is not there, or is none` }] : [];
  const findings = [...unread, ...gone, ...chain.findings, ...notSeen, ...beyond];
  return { directory, parts: parts.map(({ name }) => name), chain, findings, head: heads.newest, skipped: heads.skipped, local };
}
