import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { cut } from '@kpx/broker/output/format';
import { bold, say } from '@kpx/broker/output/terminal';
import { printable } from '@kpx/protocol';
import type { Command } from 'commander';
import { convert, DROP_IN, type ImportedFile, type Report } from './conversion.js';
import { REPORT_FILE, writeImport } from './directory.js';
import { OriginalRefused, readOriginal } from './original.js';

const DEFAULT_DIRECTORY = 'kpx-imported';
/** Problems shown, and characters of one. */
const PROBLEMS_MAX = 50;
const PROBLEM_CHARS_MAX = 300;

interface Options {
  readonly outputDir: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

export function addImportConfig(program: Command): void {
  program
    .command('import-config')
    .summary('make a configuration from the settings of the script that kpx replaces')
    .description(
      'Reads the settings of the script that kpx replaces, and makes a directory with broker.toml, privhelper.toml, the two secrets and a ' +
        'drop-in for kpx-executor@.service. Says what became of each setting, and what is left to do. Judges everything as kpx will: ' +
        'with anything wrong, it reports each problem and writes nothing. It puts nothing in force: docs/move.md has the steps.',
    )
    .argument('<FILE>', "the original's settings, JSON")
    .option(
      '--output-dir <DIR>',
      'a new directory, below directories that only you and root can change; nobody but its owner may enter',
      DEFAULT_DIRECTORY,
    )
    .option('--force', 'replace DIR, if it is an earlier import and nothing else')
    .option('--json', 'print the report as JSON, for programs')
    .action(importConfig);
}

async function importConfig(file: string, { outputDir, force = false, json = false }: Options): Promise<void> {
  const { files, report } = await imported(file);
  const written = [...files, { path: REPORT_FILE, mode: 0o644, content: lines(report).join('\n') }];
  await writeImport(outputDir, written, force);
  const paths = written.map(({ path }) => path);
  const said = json ? JSON.stringify({ output_dir: outputDir, files: paths, ...report }) : forPeople(outputDir, paths, report);
  say(`${said}\n`);
}

async function imported(file: string): Promise<{ files: ImportedFile[]; report: Report }> {
  try {
    return convert(await readOriginal(file));
  } catch (error) {
    if (!(error instanceof OriginalRefused)) throw error;
    const shown = error.problems.slice(0, PROBLEMS_MAX).map((problem) => `${file}: ${cut(printable(problem), PROBLEM_CHARS_MAX)}`);
    const more = error.problems.length - shown.length;
    const rest = more > 0 ? [`… and ${more} more problems`] : [];
    throw new CommandError(EXIT.dataError, [...shown, ...rest, 'Nothing was written.'].join('\n'));
  }
}

function forPeople(directory: string, paths: readonly string[], report: Report): string {
  const made = paths.map((path) => `  ${directory}/${path}`);
  return [
    bold('Made'),
    ...made,
    '',
    ...lines(report, bold),
    '',
    `Next: docs/move.md. The drop-in ${DROP_IN} goes to /etc/systemd/system.`,
  ].join('\n');
}

function lines({ mapped, dropped, todo }: Report, heading = (text: string) => text): string[] {
  const width = Math.max(...[...mapped, ...dropped].map(({ setting }) => setting.length));
  const row = (setting: string, text: string) => `  ${setting.padEnd(width)}  ${printable(text)}`;
  return [
    heading('Taken over'),
    ...mapped.map(({ setting, value, to }) => row(setting, `${value} -> ${to}`)),
    '',
    heading('Without an equivalent'),
    ...(dropped.length === 0 ? ['  nothing'] : dropped.map(({ setting, why }) => row(setting, why))),
    '',
    heading('To be looked at'),
    ...todo.map((text) => `  - ${printable(text)}`),
  ];
}
