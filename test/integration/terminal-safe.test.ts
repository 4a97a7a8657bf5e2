import { execFile } from 'node:child_process';
import { chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { checkout, type Kpx, node } from '../fixtures/kpx.js';
import { installKpx, publish, startKpx } from './installed-kpx.js';

/*
 * What others have written, a publisher, a user or a file, reaches the terminal of an operator by kpxctl. It must not move the cursor, colour or hide
 * what is there, or turn the direction of writing.
 */

/** A line that is cleared, colour as a C1 control, another direction of writing, an invisible letter, a title of the window. */
const HOSTILE = '\u001b[2K\u009b31m\u202etxet\u2066\u200b\u{e0041}\u115f\u001b]0;title\u0007\r';
const SHOWN = '\\u001b[2K\\u009b31m\\u202etxet\\u2066\\u200b\\udb40\\udc41\\u115f\\u001b]0;title\\u0007';
/** Whatever a terminal does not just show, but for the ends of lines and tabs. */
const STEERS = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;

async function kpxctl(args: string[], wrap: string[] = []) {
  const [command = '', ...rest] = [...wrap, node(), join(checkout(), 'packages/kpxctl/dist/kpxctl.cjs'), ...args];
  return await promisify(execFile)(command, rest, { env: {}, cwd: '/' }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
  );
}

const original = (kpx: Kpx, content: object) => {
  writeFileSync(join(kpx.etc, 'original.json'), JSON.stringify(content));
  return join(kpx.etc, 'original.json');
};

type Case = [what: string, act: (kpx: Kpx) => ReturnType<typeof kpxctl>];

const CASES: Case[] = [
  [
    'a line of the journal',
    (kpx) => {
      const wrap = kpx.inPlaceOf('/usr/bin/journalctl', `printf '%s\\n' '${HOSTILE}'`);
      return kpxctl(['logs', '--config', kpx.brokerConfigFile, 'alice'], wrap);
    },
  ],
  [
    'an error of journalctl',
    (kpx) => {
      const wrap = kpx.inPlaceOf('/usr/bin/journalctl', `printf '%s\\n' '${HOSTILE}' >&2; exit 1`);
      return kpxctl(['logs', '--kpx', '--config', kpx.brokerConfigFile, 'alice'], wrap);
    },
  ],
  ['an argument', () => kpxctl(['explain', HOSTILE])],
  ['a verb', () => kpxctl([HOSTILE])],
  [
    'a key of broker.toml',
    (kpx) => {
      writeFileSync(kpx.brokerConfigFile, `[control]\n${JSON.stringify(HOSTILE)} = 1\n`);
      return kpxctl(['status', '--config', kpx.brokerConfigFile]);
    },
  ],
  [
    'a key of broker.toml, for programs',
    (kpx) => {
      writeFileSync(kpx.brokerConfigFile, `[policy]\n${JSON.stringify(HOSTILE)} = 1\n`);
      return kpxctl(['doctor', '--json', '--config', kpx.brokerConfigFile, '--helper-config', kpx.configFile]);
    },
  ],
  [
    'the name of a directory, for programs',
    (kpx) => {
      const directory = join(kpx.workspaces, HOSTILE);
      mkdirSync(directory);
      chownSync(directory, 4_242, 4_242);
      return kpxctl(['orphans', '--json', '--helper-config', kpx.configFile]);
    },
  ],
  [
    'a setting of the original',
    (kpx) => kpxctl(['import-config', original(kpx, { [HOSTILE]: 1 }), '--output-dir', join(kpx.etc, 'imported')]),
  ],
];

it.each(CASES)('%s is shown, and steers no terminal', async (_what, act) => {
  const { stdout, stderr } = await act(await installKpx());
  const said = stdout + stderr;
  expect(said.replaceAll('\\\\u', '\\u')).toContain(SHOWN);
  expect(STEERS.exec(said)).toBeNull();
});

it('the log of the broker steers no terminal either, and says the same', async () => {
  const kpx = await startKpx();
  let raw = '';
  kpx.broker?.stdout?.on('data', (chunk: Buffer) => {
    raw += chunk.toString();
  });
  await publish(kpx, { body: Buffer.from('{'), properties: { messageId: HOSTILE } });
  expect(await kpx.brokerLog.line({ msg: 'job parked' })).toMatchObject({ job: HOSTILE });
  await eventually('the line is there', () => raw.includes('job parked'));
  expect(raw).toContain('\\u202etxet');
  expect(STEERS.exec(raw)).toBeNull();
});
