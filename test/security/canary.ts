import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, chownSync, lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import { idsOf } from '../fixtures/helper-installation.js';
import { systemCall } from '../fixtures/system-call.mjs';
import { snapshot } from '../fixtures/tree.js';

/** Directories and files of the whole machine that no request has anything to do with; what is in the directories is not looked at. */
const MACHINE = ['/', '/etc', '/etc/shadow', '/etc/skel', '/home', '/root', '/srv', '/usr', '/usr/bin', '/usr/bin/su', '/var'];

/**
 * What lies outside of everything that is configured, one file for each thing that root could be made to do to it. Of each it is known what is
 * in it, its owner, its mode, its ACL and, by the change time, that nobody has touched its attributes, not even to put them back.
 */
export class Canary {
  /** Root's directory, 0755: what root would make, chown or open to others if it followed a link to here. */
  readonly ofRoot: string;
  readonly secret: string;
  /** A directory of the victim's, 0700, and a file in it. */
  readonly ofVictim: string;
  readonly #root: string;

  constructor(root: string, victim: string) {
    this.#root = root;
    this.ofRoot = `${root}/of-root`;
    this.secret = `${this.ofRoot}/secret`;
    this.ofVictim = `${root}/of-victim`;
    mkdirSync(this.ofRoot, { recursive: true });
    this.#plant('secret', 0o600);
    this.#plant('public', 0o644);
    this.#plant('set-uid', 0o4755);
    this.#plant('with-acl', 0o640);
    execFileSync('/usr/bin/setfacl', ['--modify', 'user:daemon:r--', `${this.ofRoot}/with-acl`]);
    this.#plant('capable', 0o755);
    execFileSync('/usr/sbin/setcap', ['cap_dac_override=ep', `${this.ofRoot}/capable`]);
    this.#plant('with-attributes', 0o600);
    for (const name of ['user.kpx', 'trusted.kpx']) {
      expect(systemCall('setxattr', `${this.ofRoot}/with-attributes`, name, 'x', 1, 0)).toBe('it worked');
    }
    execFileSync('/usr/bin/mkfifo', [`${this.ofRoot}/pipe`]);
    symlinkSync('secret', `${this.ofRoot}/link`);
    mkdirSync(`${this.ofRoot}/empty`);
    const { uid, gid } = idsOf(victim);
    mkdirSync(this.ofVictim);
    writeFileSync(`${this.ofVictim}/diary`, 'of the victim', { mode: 0o600 });
    chownSync(`${this.ofVictim}/diary`, uid, gid);
    chownSync(this.ofVictim, uid, gid);
    chmodSync(this.ofVictim, 0o700);
  }

  #plant(name: string, mode: number): void {
    writeFileSync(`${this.ofRoot}/${name}`, `${name}, as it was`);
    chmodSync(`${this.ofRoot}/${name}`, mode);
  }

  /** Two of these are equal when nothing has happened in between, to what lies here, in `others`, and on the machine. */
  look(others: readonly string[] = []): unknown {
    const here = snapshot(this.#root);
    const files = Object.keys(here).filter((path) => lstatSync(path).isFile());
    return {
      here,
      contents: files.map((file) => [file, createHash('sha256').update(readFileSync(file)).digest('hex')]),
      acl: execFileSync('/usr/bin/getfacl', ['--recursive', '--numeric', '--absolute-names', '--', this.#root], { encoding: 'utf8' }),
      others: others.map((path) => snapshot(path)),
      machine: MACHINE.map((path) => {
        const { mode, uid, gid, ino, ctimeNs } = lstatSync(path, { bigint: true });
        return `${path} ${mode.toString(8)} ${uid}:${gid} ino ${ino} c ${ctimeNs}`;
      }),
    };
  }
}
