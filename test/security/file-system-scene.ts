import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, constants, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { ErrorCode, Response } from '@kpx/protocol';
import { expect } from 'vitest';
import { HelperConnection } from '../fixtures/helper-connection.js';
import { HelperInstallation } from '../fixtures/helper-installation.js';
import { type RawAccount, RawAccounts } from '../fixtures/raw-accounts.js';
import { systemCall } from '../fixtures/system-call.mjs';
import { aclOf, PRIVATE_ACL } from '../fixtures/tree.js';
import { Canary } from './canary.js';

export const PLACES = ['home', 'workspace', 'temp'] as const;
export type Place = (typeof PLACES)[number];

/** The directories in `parent` that the helper has not given their names. */
export const unfinishedIn = (parent: string) =>
  readdirSync(parent).flatMap((name) => (/^\.kpx-new-\w{6}$/.test(name) ? [`${parent}/${name}`] : []));

/** For rm(1): should a mount have stayed, nothing of it is removed. */
const WITHOUT_MOUNTS = ['--recursive', '--force', '--one-file-system', '--preserve-root=all'];
const AT_WORKING_DIRECTORY = -100;
/** Types of mknod(2). */
export const NODE = { pipe: 0o010000, character: 0o020000, block: 0o060000, socket: 0o140000 } as const;

/** One helper for all attacks of a file, what it may make things in, what it must never touch, and three people. */
export class FileSystemScene {
  readonly installation = new HelperInstallation();
  readonly accounts = new RawAccounts();
  /** What is made for somebody is made in these, each with a parent of its own. */
  readonly parents: Record<Place, string>;
  readonly skeleton: string;
  readonly victim: RawAccount;
  readonly canary: Canary;
  readonly #undo: (() => void)[] = [];
  #people = 0;

  private constructor() {
    const { srv, etc } = this.installation;
    this.parents = { home: `${srv}/homes/kpx`, workspace: `${srv}/workspaces/kpx`, temp: `${srv}/temps/kpx` };
    this.skeleton = `${etc}/skel`;
    for (const directory of [...Object.values(this.parents), this.skeleton]) mkdirSync(directory, { recursive: true });
    writeFileSync(`${this.skeleton}/.profile`, '# of the skeleton\n', { mode: 0o644 });
    this.victim = this.#account('victim');
    this.#account('honest');
    this.canary = new Canary(`${srv}/canary`, 'victim');
  }

  /** `held`: the copy that fills a home can be kept waiting, see {@link askMeanwhile}; the helper has mounts of its own then. */
  static async begin({ held = false } = {}): Promise<FileSystemScene> {
    const scene = new FileSystemScene();
    scene.#configure();
    const { installation } = scene;
    const waits = `[ -e ${installation.etc}/hold ] && read line <${installation.etc}/hold; exec $real "$@"`;
    await installation.startHelper(held ? { wrap: installation.inPlaceOf('/usr/bin/cp', waits) } : {});
    for (const name of ['victim', 'honest']) expect(await scene.#ask(name)).toMatchObject({ body: { created: PLACES } });
    return scene;
  }

  #configure(): void {
    const { home, workspace, temp } = this.parents;
    const directories = { home_parents: [home], workspace_parent: workspace, temp_parent: temp, skeleton: this.skeleton };
    this.installation.writeHelperConfig({ directories });
  }

  #account(name: string, home = `${this.parents.home}/${name}`): RawAccount {
    return this.accounts.account(name, { home });
  }

  /** Somebody new, for one attack. */
  person(home?: string, name = `person-${++this.#people}`): RawAccount {
    this.undo(() => {
      for (const parent of Object.values(this.parents)) {
        execFileSync('/usr/bin/rm', [...WITHOUT_MOUNTS, '--', `${parent}/${name}`, ...unfinishedIn(parent)]);
      }
    });
    return this.#account(name, home);
  }

  /** For {@link restore}, which does the last one first. */
  undo(work: () => void): void {
    this.#undo.push(work);
  }

  mount(type: 'tmpfs' | 'ramfs', at: string, options: string): void {
    this.#mounted(['-t', type, '-o', options, 'kpx-test', at], at);
  }

  bind(what: string, at: string): void {
    this.#mounted(['--bind', what, at], at);
  }

  #mounted(args: string[], at: string): void {
    execFileSync('/usr/bin/mount', args);
    this.undo(() => void execFileSync('/usr/bin/umount', ['--lazy', at]));
  }

  /** `+i`: nothing of it may be changed; `+a`: entries may be added. */
  attribute(which: 'i' | 'a', path: string): void {
    execFileSync('/usr/bin/chattr', [`+${which}`, path]);
    this.undo(() => void execFileSync('/usr/bin/chattr', [`-${which}`, path]));
  }

  /**
   * What a broker in an attacker's hands gets for PrepareUser; where that is a refusal, SpawnExecutor is refused likewise. Whatever it is:
   * outside of the places, and in those of the victim, nothing has changed.
   */
  async ask(name: string): Promise<Response> {
    const others = Object.values(this.parents).flatMap((parent) => [`${parent}/victim`, `${parent}/honest`]);
    const there = others.filter((path) => existsSync(path));
    const before = this.canary.look(there);
    const answer = await this.#ask(name);
    expect(this.canary.look(there)).toEqual(before);
    return answer;
  }

  /** The same, but each time that a home is filled, root does something to it before the copy begins. */
  async askMeanwhile(name: string, act: (unfinished: string) => void): Promise<Response> {
    const pipe = `${this.installation.etc}/hold`;
    execFileSync('/usr/bin/mkfifo', ['--mode=666', pipe]);
    this.undo(() => rmSync(pipe));
    const answer = this.ask(name);
    const asked = answer.then(() => undefined);
    const seen = new Set<string>();
    for (;;) {
      const opening = open(pipe, 'w'); // as soon as the copy waits, or while it has not gone on yet
      const writer = await Promise.race([opening, asked]);
      if (writer === undefined) {
        await (await open(pipe, constants.O_RDONLY | constants.O_NONBLOCK)).close(); // nobody will: let go of it
        await (await opening).close();
        return await answer;
      }
      for (const unfinished of unfinishedIn(this.parents.home).filter((path) => !seen.has(path))) act(unfinished);
      for (const unfinished of unfinishedIn(this.parents.home)) seen.add(unfinished);
      await writer.write('go on\n').catch(() => {}); // it has gone on
      await writer.close();
    }
  }

  async #ask(name: string): Promise<Response> {
    const connection = await HelperConnection.greeted(this.installation.socket);
    try {
      const answer = await connection.prepare(name);
      if (answer.kind === 'error') expect(await connection.spawn(name)).toEqual({ ...answer, id: expect.any(Number) });
      return answer;
    } finally {
      connection.close();
    }
  }

  /** Takes the attack away; the same helper must then serve an honest broker. */
  async restore(): Promise<void> {
    const undo = this.#undo.splice(0).reverse();
    for (const work of undo) work();
    expect(await this.#ask('honest')).toMatchObject({ kind: 'userPrepared', body: { osUser: 'honest', created: [] } });
    expect(this.installation.helper).toMatchObject({ exitCode: null, signalCode: null });
    for (const parent of Object.values(this.parents)) expect(readdirSync(parent).sort()).toEqual(['honest', 'victim']);
  }

  async end(): Promise<void> {
    await this.installation.endHelper();
    this.installation.removeDirectories();
    this.accounts.remove();
  }
}

/** A directory, whatever the umask. */
export function makeDirectory(path: string, { uid, gid }: { uid: number; gid: number }, mode = 0o700): void {
  mkdirSync(path);
  chownSync(path, uid, gid);
  chmodSync(path, mode);
}

export function makeNode(path: string, type: number, device = 0): void {
  expect(systemCall('mknodat', AT_WORKING_DIRECTORY, path, type | 0o666, device)).toBe('it worked');
}

export function setAcl(path: string, entries: string): void {
  execFileSync('/usr/bin/setfacl', ['--modify', entries, '--', path]);
}

export const clearAcl = (path: string) => void execFileSync('/usr/bin/setfacl', ['--remove-all', '--', path]);

/** Owner, group and mode of a directory that is its owner's alone; that of workspace and temp is made sure of by the ACL. */
export function expectPrivate(path: string, place: Place, { uid, gid }: RawAccount): void {
  expect(statSync(path)).toMatchObject({ uid, gid, mode: 0o040700 });
  if (place !== 'home') expect(aclOf(path)).toEqual(PRIVATE_ACL);
}

/** Whether an account can list a directory: what the kernel says, whatever mode and ACL look like. */
export function canList(path: string, { uid, gid }: RawAccount): boolean {
  try {
    execFileSync('/usr/bin/setpriv', ['--reuid', `${uid}`, '--regid', `${gid}`, '--clear-groups', '--', '/usr/bin/ls', '--', path], {
      stdio: ['ignore', 'ignore', 'ignore'],
    });
    return true;
  } catch {
    return false;
  }
}

/** An answer that is an error of this code, with this in its message. */
export function refused(code: ErrorCode, message: string) {
  return { id: expect.any(Number), kind: 'error', body: { code, message: expect.stringContaining(message) } };
}
