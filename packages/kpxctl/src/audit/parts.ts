import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { constants, createGunzip, gunzipSync } from 'node:zlib';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { type Link, linkOf } from './link.js';

const NAME = 'audit.jsonl';
/** logrotate(8) puts this behind the name: a number, the highest for the oldest, or with `dateext` a date. */
const PART = new RegExp(`^${NAME.replace('.', '\\.')}(?:\\.(\\d{1,6})|-(\\d{8}(?:-?\\d+)?))?(\\.gz)?$`);
/** How often the directory is looked at while logrotate is at work in it. */
const LOOKS_MAX = 10;
/** Longer than any line that the helper writes, in bytes. */
const LINE_BYTES_MAX = 16 * 1024 * 1024;
/** Of a part, to find the time of its first line, in bytes. */
const BEGIN_BYTES = 64 * 1024;
const LINE_FEED = 0x0a;

interface Part {
  readonly name: string;
  readonly file: FileHandle;
}

/** `whole`: with its end of line. `tooLong`: the text is not all of it. */
type Line = Readonly<{ text: Buffer; whole: boolean; tooLong: boolean }>;

/** `parts`: of this log, oldest first. `others`: files that look like parts, and are not read. */
type Opened = Readonly<{ parts: Part[]; others: string[] }>;

/** Opens the parts of the audit log in `directory`, as they are at one moment. The caller closes them. Throws a CommandError. */
export async function openParts(directory: string): Promise<Opened> {
  for (let look = 0; look < LOOKS_MAX; look++) {
    const { names, others } = await namesIn(directory);
    const parts = await openNamed(directory, names);
    const isSame = await Promise.all(
      parts.map(async ({ name, file }) => (await file.stat()).ino === (await inodeOf(`${directory}/${name}`))),
    );
    const again = await namesIn(directory);
    if (parts.length === names.length && isSame.every(Boolean) && again.names.join() === names.join())
      return { parts: await inOrder(parts), others };
    await closeParts(parts);
  }
  throw new CommandError(EXIT.unavailable, `${directory} changes all the time: wait until logrotate has ended, and ask again.`);
}

export async function closeParts(parts: readonly Part[]): Promise<void> {
  for (const { file } of parts) await file.close();
}

const inodeOf = async (path: string) => (await stat(path).catch(() => undefined))?.ino;

/** Without those that are gone since they were listed. */
async function openNamed(directory: string, names: readonly string[]): Promise<Part[]> {
  const parts: Part[] = [];
  for (const name of names) {
    const file = await open(`${directory}/${name}`).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw unreadable(`${directory}/${name}`, error);
    });
    if (file) parts.push({ name, file });
  }
  return parts;
}

async function namesIn(directory: string): Promise<{ names: string[]; others: string[] }> {
  const found = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    throw unreadable(directory, error);
  });
  const all = found.filter((name) => name.startsWith(NAME)).sort();
  // logrotate removes the one that it compresses when the compressed one is complete.
  const names = all.filter((name) => PART.test(name) && !(name.endsWith('.gz') && all.includes(name.slice(0, -'.gz'.length))));
  if (names.length === 0) throw new CommandError(EXIT.noInput, `There is no ${NAME} in ${directory}.`);
  return { names: names.sort((one, other) => ageOf(other) - ageOf(one)), others: all.filter((name) => !PART.test(name)) };
}

/** Where there are numbers and dates, as after a change of `dateext`, their first lines say which is older. Those without a time stay behind the one before. */
async function inOrder(parts: Part[]): Promise<Part[]> {
  const has = (kind: 1 | 2) => parts.some(({ name }) => PART.exec(name)?.[kind] !== undefined);
  if (!has(1) || !has(2)) return parts;
  const begins: { part: Part; at: number }[] = [];
  for (const part of parts) {
    const at = ageOf(part.name) === 0 ? Number.MAX_VALUE : ((await beginOf(part)) ?? begins.at(-1)?.at ?? 0);
    begins.push({ part, at });
  }
  return begins.sort((one, other) => one.at - other.at).map(({ part }) => part);
}

/** In milliseconds since the epoch; undefined: no line at its beginning says a time. */
async function beginOf({ name, file }: Part): Promise<number | undefined> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(BEGIN_BYTES), 0, BEGIN_BYTES, 0);
  const read = buffer.subarray(0, bytesRead);
  const texts = (name.endsWith('.gz') ? begunIn(read) : read).toString().split('\n');
  const lines = texts.map((text, at) => linkOf(Buffer.from(text), { part: name, line: at + 1 }));
  const first = lines.find((line): line is Link => !('unreadable' in line));
  return first && Date.parse(first.time);
}

/** Of a damaged one nothing, which is said when all of it is read. */
function begunIn(packed: Buffer): Buffer {
  try {
    return gunzipSync(packed, { finishFlush: constants.Z_SYNC_FLUSH });
  } catch {
    return Buffer.alloc(0);
  }
}

/** Larger for older parts. Of those with a date, the name says which is older. */
function ageOf(name: string): number {
  const [, number, date] = PART.exec(name) ?? [];
  return number === undefined ? (date === undefined ? 0 : 1) : 1 + Number(number);
}

const unreadable = (path: string, { code, message }: NodeJS.ErrnoException) =>
  code === 'ENOENT'
    ? new CommandError(EXIT.noInput, `${path} does not exist.`)
    : code === 'EACCES'
      ? new CommandError(EXIT.noPermission, `${path} may not be read: run this as root.`)
      : new CommandError(EXIT.noInput, `${path} cannot be read: ${message}.`);

/** The lines of an open part, or of the file of this name. Throws a CommandError where it cannot be read to its end. */
export async function* linesOf(part: Part | string): AsyncGenerator<Line> {
  const name = typeof part === 'string' ? part : part.name;
  try {
    const file = typeof part === 'string' ? await open(part) : part.file;
    const bytes = file.createReadStream({ autoClose: typeof part === 'string' });
    const source = name.endsWith('.gz') ? bytes.pipe(createGunzip()) : bytes;
    if (source !== bytes) bytes.once('error', (error) => source.destroy(error));
    yield* linesIn(source);
  } catch (error) {
    throw error instanceof CommandError ? error : unreadable(name, error as NodeJS.ErrnoException);
  }
}

async function* linesIn(source: AsyncIterable<Buffer>): AsyncGenerator<Line> {
  let begun: Buffer[] = [];
  let bytes = 0;
  const line = (whole: boolean): Line => {
    const made = { text: Buffer.concat(begun), whole, tooLong: bytes > LINE_BYTES_MAX };
    begun = [];
    bytes = 0;
    return made;
  };
  const add = (piece: Buffer) => {
    bytes += piece.length;
    if (bytes <= LINE_BYTES_MAX) begun.push(piece);
  };
  for await (const chunk of source) {
    let from = 0;
    for (let to = chunk.indexOf(LINE_FEED); to !== -1; to = chunk.indexOf(LINE_FEED, from)) {
      add(chunk.subarray(from, to));
      yield line(true);
      from = to + 1;
    }
    if (from < chunk.length) add(chunk.subarray(from));
  }
  if (bytes > 0) yield line(false);
}
