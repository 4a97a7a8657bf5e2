import { lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileStep, type Step } from '../sealed/steps.js';

export const UNITS = '/etc/systemd/system';
const DIRECTORY_END = '.service.d';

export interface DropIn {
  /** Of the file, below the directory of each template unit. */
  readonly name: string;
  readonly text: string;
  readonly why: string;
  /** Said when it goes. */
  readonly without: string;
}

/** Whether a drop-in is there: for all users, or only where an operator has moved it to units of some users. */
export type Place = 'all' | 'some' | 'none';

/** Drop-ins that have to be there, and are shown where they are not. One that was moved to the units of some users stays theirs alone. */
export async function presence(templates: readonly string[], dropIn: DropIn): Promise<Step[]> {
  const { ofAll, ofSome } = await lookFor(templates, dropIn.name);
  const forSome: DropIn = { ...dropIn, why: `for some users only: ${dropIn.why}` };
  const steps = templates.map((template) => {
    const file = fileOf(template, dropIn.name);
    const moved = ofSome.filter((path) => path.startsWith(`${UNITS}/${template}`));
    const theirs = moved.map((path) => present(path, forSome));
    if (ofAll.includes(file)) return [present(file, dropIn), ...theirs];
    if (theirs.length > 0) return theirs;
    // Those for whom it is have another template.
    return ofAll.length === 0 && ofSome.length > 0 ? [] : [present(file, dropIn)];
  });
  return await Promise.all(steps.flat());
}

async function present(path: string, { text, why }: DropIn): Promise<Step> {
  const step = await fileStep({ path, content: text, mode: 0o644, gid: 0, why });
  if (step.state !== 'to do') return step;
  const apply = async () => {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await step.apply?.();
  };
  return { ...step, apply, lines: text.trimEnd().split('\n') };
}

/** All of them go, those of some users as well. */
export async function removal(templates: readonly string[], { name, without }: DropIn): Promise<Step[]> {
  const { ofAll, ofSome } = await lookFor(templates, name);
  const there = [...ofAll, ...ofSome];
  const absent = (path: string): Step => ({ name: path, state: 'ok', why: `it is not there: ${without}` });
  if (there.length === 0) return templates.map((template) => absent(fileOf(template, name)));
  return there.map((path) => ({ name: path, state: 'to do', why: `it goes: ${without}`, apply: () => rm(path) }));
}

export async function placeOf(templates: readonly string[], name: string): Promise<Place> {
  const { ofAll, ofSome } = await lookFor(templates, name);
  if (ofAll.length > 0) return 'all';
  return ofSome.length > 0 ? 'some' : 'none';
}

const fileOf = (template: string, name: string) => `${UNITS}/${template}${DIRECTORY_END}/${name}`;

/** The files of this name that are there: of the templates, and of single users' units. `templates`: for example `kpx-executor@`. */
async function lookFor(templates: readonly string[], name: string): Promise<{ ofAll: string[]; ofSome: string[] }> {
  const directories = (await readdir(UNITS).catch(() => [])).sort();
  const isOf = (directory: string, template: string) => directory.startsWith(template) && directory.endsWith(DIRECTORY_END);
  const units = directories.filter((directory) => templates.some((template) => isOf(directory, template)));
  const paths = await existing(units.map((directory) => `${UNITS}/${directory}/${name}`));
  const files = templates.map((template) => fileOf(template, name));
  return { ofAll: paths.filter((path) => files.includes(path)), ofSome: paths.filter((path) => !files.includes(path)) };
}

/** Without links: one to /dev/null keeps a drop-in from a user. */
async function existing(paths: readonly string[]): Promise<string[]> {
  const there = await Promise.all(
    paths.map((path) =>
      lstat(path).then(
        (status) => status.isFile(),
        () => false,
      ),
    ),
  );
  return paths.filter((_, index) => there[index]);
}
