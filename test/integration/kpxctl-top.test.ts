import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { checkout, type Kpx, node } from '../fixtures/kpx.js';
import { answerAt, CUT } from '../fixtures/other-broker.js';
import { Terminal } from '../fixtures/terminal.js';
import { installKpx, publish, runKpxctl, startKpx } from './installed-kpx.js';

const QUICK = { BOOT_MS: '50' };
const PROGRAM = join(checkout(), 'packages/kpxctl/dist/kpxctl.cjs');

const typed = (kpx: Kpx, ...args: string[]) => [node(), PROGRAM, ...args, '--config', kpx.brokerConfigFile].join(' ');
const top = (kpx: Kpx, ...args: string[]) => typed(kpx, 'top', '--interval', '0.1', ...args);

/** The shell's prompt again below what was typed, and nothing of what was drawn. */
const isBack = (screen: string) => screen.trimEnd().endsWith('\n#') && !screen.includes('q: end');

/** kpxctl top on a terminal, once it is drawn. */
async function drawn(kpx: Kpx, terminal: Terminal, ...args: string[]): Promise<Terminal> {
  await terminal.shows('the shell', (screen) => screen.startsWith('#')); // typed before, it would stand in front of the prompt
  terminal.type(top(kpx, ...args));
  await terminal.shows('top', (screen) => screen.includes('q: end'));
  return terminal;
}

describe('kpxctl top', () => {
  it('shows users, executors and jobs as they come, and how much room there is', async () => {
    const kpx = await startKpx({ standIn: QUICK, broker: { policy: { max_executors: 1 } } });
    const terminal = await drawn(kpx, new Terminal());
    expect(terminal.screen()).toMatch(/^executors 0 of 1, starting 0 of 4, users in line 0, jobs held 0 of 512$/m);
    await publish(kpx, jobOf('alice', 'a1'));
    await terminal.shows('alice', (screen) => /^alice +alice +\d+ +ready/m.test(screen));
    await publish(kpx, jobOf('bob', 'b1'));
    await terminal.shows(
      'bob',
      (screen) => /^bob .* queued, place 1 .* 1 of 1 executors run/m.test(screen) && screen.includes('users in line 1'),
    );
    expect(terminal.screen()).toMatch(/^jobs [1-9]\d* forwarded \(\d+\.\d\/s\), /m);
    expect(terminal.screen()).toMatch(/^bob .*\n[\s\S]*^alice /m); // trouble comes first
    terminal.press('s');
    await terminal.shows('the next order', (screen) => screen.includes('now by user') && /^alice .*\n[\s\S]*^bob /m.test(screen));
  });

  it.each(['q', 'C-c'])('gives the terminal back as it was (%s)', async (key) => {
    const kpx = await startKpx();
    const terminal = new Terminal();
    await terminal.shows('the shell', (screen) => screen.startsWith('#')); // typed before, it would stand in front of the prompt
    terminal.type('echo before');
    await terminal.shows('its answer', (screen) => screen.includes('\nbefore\n'));
    await drawn(kpx, terminal);
    expect(terminal.asks('#{alternate_on} #{cursor_flag}')).toBe('1 0');
    expect(terminal.screen()).not.toContain('before');
    terminal.press(key);
    const screen = await terminal.shows('the shell', isBack);
    expect(screen).toContain('\nbefore\n');
    terminal.type('echo "ended with $?"; stty -a');
    await terminal.shows('echo and lines', (text) => text.includes('ended with 0') && / icanon\b[\s\S]* echo\b/.test(text));
    expect(terminal.asks('#{alternate_on} #{cursor_flag} #{wrap_flag}')).toBe('0 1 1');
  });

  it('gives it back when it is told to end by a signal', async () => {
    const kpx = await startKpx();
    const terminal = await drawn(kpx, new Terminal());
    const pid = execFileSync('/usr/bin/pgrep', ['--parent', terminal.asks('#{pane_pid}')], { encoding: 'utf8' });
    process.kill(Number(pid), 'SIGTERM');
    await terminal.shows('the shell', isBack);
    expect(terminal.asks('#{alternate_on} #{cursor_flag}')).toBe('0 1');
  });

  it('fits a window of another size, and says what does not', async () => {
    const kpx = await startKpx({ broker: { policy: { max_executors: 1, start_attempts: 1, backoff_max: '5m' } } });
    const names = Array.from({ length: 6 }, (_, count) => `no-account-${count}`);
    await publish(kpx, ...names.map((name) => jobOf(name, name)));
    for (const user of names) await kpx.brokerLog.line({ user, state: 'broken' });
    const terminal = await drawn(kpx, new Terminal());
    await terminal.shows('all', (screen) => names.every((name) => screen.includes(`\n${name} `)));
    terminal.resize(60, 10);
    const screen = await terminal.shows('a part', (text) => text.includes('2 more do not fit') && /^no-account-3 .*…$/m.test(text));
    expect(screen).not.toContain('no-account-4');
    terminal.resize(120, 30);
    await terminal.shows('all', (text) => names.every((name) => text.includes(`\n${name} `)));
  });

  it('says that the broker is gone, and goes on when it is back', async () => {
    const kpx = await startKpx();
    const terminal = await drawn(kpx, new Terminal());
    await kpx.endBroker();
    await terminal.shows('why there is no answer', (screen) =>
      /^no newer answer since \d\d:\d\d:\d\d: no broker answers: there is no socket at /m.test(screen),
    );
    expect(terminal.screen()).toContain('executors 0 of 40');
    await kpx.startBroker();
    await terminal.shows('answers', (screen) => !screen.includes('no newer answer'));
  });

  it('goes on over a broker that ends in the middle of its answer', async () => {
    const kpx = await installKpx();
    const capacity = { executors: 0, max_executors: 1, starting: 0, max_starting: 1, held: 0, held_max: 1, waiting: 0 };
    const jobs = { forwarded: 0, deferred: 0, parked: 0, returned: 0 };
    const answer = { doing: 'consuming', executors: [], users: [], jobs, capacity };
    const answers: Record<string, unknown> = { '/status': answer };
    await answerAt(kpx.controlSocket, answers);
    const terminal = await drawn(kpx, new Terminal());
    answers['/status'] = CUT;
    await terminal.shows('why there is no answer', (screen) => /^no newer answer since .* the broker has ended before its/m.test(screen));
    answers['/status'] = answer;
    await terminal.shows('answers', (screen) => !screen.includes('no newer answer'));
  });

  it('lets nothing that the broker says command the terminal', async () => {
    const kpx = await installKpx();
    const capacity = { executors: 0, max_executors: 1, starting: 0, max_starting: 1, held: 0, held_max: 1, waiting: 0 };
    const user = {
      user: 'alice',
      state: '\u001b[2Jready',
      since: null,
      os_user: null,
      profile: '',
      rule: 'none',
      held: 0,
      why: '\u001b]0;owned\u0007',
    };
    const jobs = { forwarded: 0, deferred: 0, parked: 0, returned: 0 };
    await answerAt(kpx.controlSocket, { '/status': { doing: '\u001b[9;9Hmoved', executors: [], users: [user], jobs, capacity } });
    const screen = (await drawn(kpx, new Terminal())).screen();
    for (const text of ['\\u001b[9;9Hmoved', '\\u001b[2Jready', '\\u001b]0;owned\\u0007']) expect(screen).toContain(text);
  });

  it('has colours, but with NO_COLOR', async () => {
    const kpx = await startKpx();
    const heading = '\u001b[1mUSER';
    expect((await drawn(kpx, new Terminal())).screen({ escapes: true })).toContain(heading);
    expect((await drawn(kpx, new Terminal({ env: { NO_COLOR: '1' } }))).screen({ escapes: true })).not.toContain('\u001b');
  });

  it('says in a sentence that there is no terminal, or no broker, and what an interval is', async () => {
    const kpx = await installKpx();
    const config = ['--config', kpx.brokerConfigFile];
    const none = 'top draws on a terminal, and here is none that it could use. See: kpxctl list\n';
    expect(await runKpxctl(['top', ...config])).toEqual({ code: 64, stdout: '', stderr: none });
    expect(await runKpxctl(['top', '--interval', '0', ...config])).toMatchObject({
      code: 64,
      stderr: expect.stringContaining('Expected 0.1 to 3600 seconds'),
    });
    const terminal = new Terminal();
    terminal.type(`${top(kpx)}; echo "ended with $?"`);
    expect(await terminal.shows('no broker', (screen) => screen.includes('ended with 69'))).toContain('there is no socket at');
  });
});
