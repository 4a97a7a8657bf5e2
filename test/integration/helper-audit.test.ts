import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, statSync, symlinkSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { HelperConnection } from '../fixtures/helper-connection.js';
import type { HelperInstallation } from '../fixtures/helper-installation.js';
import { installHelper, waitingLookUp } from './installed-helper.js';

const EXIT_CONFIG = 78;
const EXIT_AUDIT = 74;

/** The directory of the audit log, as LogsDirectory= of the unit makes it, and what makes the helper's environment say so. */
function logsOf({ etc }: HelperInstallation): { directory: string; file: string; wrap: string[] } {
  const directory = `${etc}/log`;
  mkdirSync(directory, { mode: 0o700 });
  // systemd names all of them, the unit's own first, where a drop-in adds one.
  return { directory, file: `${directory}/audit.jsonl`, wrap: ['/usr/bin/env', `LOGS_DIRECTORY=${directory}:${etc}/of-a-drop-in`] };
}

const linesIn = (file: string) =>
  readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('the audit log', () => {
  it('says what is asked before anything is done, and what came of it afterwards', async () => {
    const installation = installHelper();
    const lookUp = waitingLookUp(installation, 'alice');
    await installation.startHelper({ wrap: lookUp.wrap });
    const connection = await HelperConnection.greeted(installation.socket);
    const answer = connection.prepare('alice');
    const goOn = await lookUp.begun();
    const { id } = await installation.helperLog.line({ event: 'received', verb: 'prepareUser', knime_user: 'alice' });
    expect(installation.helperLog.lines.filter(({ event, verb }) => event === 'request' && verb === 'prepareUser')).toEqual([]);
    await goOn();
    await answer;
    expect(await installation.helperLog.line({ event: 'request', id: id ?? 0 })).toMatchObject({ decision: 'done', os_user: 'alice' });
  });

  it('that cannot be written any more: what is asked then is not done', async () => {
    const installation = installHelper();
    await installation.startHelper();
    const connection = await HelperConnection.greeted(installation.socket);
    const ended = new Promise((resolve) => installation.helper?.once('exit', resolve));
    installation.helper?.stdout?.destroy();
    await expect(connection.prepare('bob')).rejects.toThrow('the peer closed the connection');
    expect(await ended).toBe(EXIT_AUDIT);
    expect(existsSync(`${installation.workspaces}/bob`)).toBe(false);
  });

  it('has a refusal as a warning, everything else as information', async () => {
    const installation = installHelper();
    await installation.startHelper();
    const connection = await HelperConnection.greeted(installation.socket);
    await connection.prepare('root');
    expect(await installation.helperLog.line({ event: 'request', decision: 'refused' })).toMatchObject({ level: 40 });
    for (const { level, decision } of installation.helperLog.lines)
      expect([level, decision === 'refused']).toEqual([decision === 'refused' ? 40 : 30, decision === 'refused']);
  });

  it('is in a file of root’s, too, line by line, wherever logrotate has moved the one before', async () => {
    const installation = installHelper();
    const { file, wrap } = logsOf(installation);
    await installation.startHelper({ wrap });
    const connection = await HelperConnection.greeted(installation.socket);
    await connection.prepare('alice');
    expect(statSync(file)).toMatchObject({ mode: 0o100600, uid: 0, gid: 0 });
    renameSync(file, `${file}.1`);
    await connection.prepare('bob');
    await installation.endHelper();
    const { lines } = installation.helperLog;
    expect([...linesIn(`${file}.1`), ...linesIn(file)]).toEqual(lines);
    expect(linesIn(file).map(({ event, knime_user }) => [event, knime_user])).toContainEqual(['request', 'bob']);
  });

  it('whose file cannot be written ends the helper before anything is done', async () => {
    const installation = installHelper();
    const { file, wrap } = logsOf(installation);
    await installation.startHelper({ wrap });
    const connection = await HelperConnection.greeted(installation.socket);
    const ended = new Promise((resolve) => installation.helper?.once('exit', resolve));
    renameSync(file, `${file}.1`);
    symlinkSync('/dev/full', file);
    await expect(connection.prepare('carol')).rejects.toThrow('the peer closed the connection');
    expect(await ended).toBe(EXIT_AUDIT);
    expect(installation.helperLog.stderr).toContain('the audit log cannot be written: ENOSPC');
    expect(existsSync(`${installation.workspaces}/carol`)).toBe(false);
  });

  it('is not kept where others than root may write', async () => {
    const installation = installHelper();
    const { directory, wrap } = logsOf(installation);
    chmodSync(directory, 0o770);
    const { code, stderr } = await installation.runHelper(['--listen', installation.socket], { wrap });
    expect({ code, stderr }).toEqual({ code: EXIT_CONFIG, stderr: `${directory} is writable by others than root\n` });
  });
});
