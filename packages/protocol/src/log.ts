import { fstatSync } from 'node:fs';
import { destination, type Logger, pino, stdTimeFunctions } from 'pino';

/** sysexits.h, input/output error: the exit code of a program that cannot write its log. */
export const EXIT_LOG = 74;

/** The writer of the log, beside the level: facts that are in every line. */
type LogBase = Readonly<Record<string, string | number>>;

interface LogOptions {
  /** Told when a line could not be written: the program is to end then, because nothing that it writes later would be read. */
  readonly lost: (error: Error) => void;
  /** Changes a line before it is written. Throws when it cannot be written elsewhere first. */
  readonly streamWrite?: (line: string) => string;
}

/**
 * The log of a program: JSON lines on standard output, written synchronously. (Left alone, pino takes a broken pipe for a reason to say nothing more,
 * and goes on.) No worker threads, as pino's transports would use.
 */
export function openLog(base: LogBase, level: string, { lost, streamWrite = (line) => line }: LogOptions): Logger {
  const out = destination({ fd: 1, sync: true });
  out.on('error', lost);
  const toOut = lineFor(1, process.env);
  const write = (line: string) => {
    try {
      out.write(toOut(streamWrite(line)));
    } catch (error) {
      lost(error as Error);
    }
  };
  return pino({ level, base, timestamp: stdTimeFunctions.isoTime }, { write });
}

/** Priorities of syslog(3), by the first digit of pino's levels: 10 trace, 20 debug, 30 info, 40 warn, 50 error, 60 fatal. */
const PRIORITIES = '.776432';
/** Where that digit is in a line. */
const LEVEL_AT = '{"level":'.length;

/**
 * How a JSON line of pino is written to a descriptor. Where that leads to journald, the line begins with its priority, `<4>` for a warning: journald
 * takes the prefix off again, see sd-daemon(3). Anywhere else a line stays JSON. systemd.exec(5) says what JOURNAL_STREAM holds: device and inode.
 */
export function lineFor(descriptor: number, environment: NodeJS.ProcessEnv): (line: string) => string {
  const { dev, ino } = fstatSync(descriptor);
  if (environment.JOURNAL_STREAM !== `${dev}:${ino}`) return (line) => line;
  return (line) => `<${PRIORITIES[Number(line[LEVEL_AT])]}>${line}`;
}
