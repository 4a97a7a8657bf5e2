import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { type BootedKpx, BROKER } from '../fixtures/booted/kpx.js';
import { eventually } from '../fixtures/eventually.js';
import { startKpx } from './installed-kpx.js';
import { bootedMachine } from './shared-machine.js';

/* What systemctl says of the broker is true when it returns. */

const machine = bootedMachine();
const CONFIG = '/etc/kpx/broker.toml';
const HELPER_CONFIG = '/etc/kpx/privhelper.toml';
const REFUSED = 'the configuration is refused; the old one stays in force';

let kpx: BootedKpx;
beforeEach(async () => {
  kpx = await startKpx();
});

const systemctl = (...args: string[]) => machine.run(['/usr/bin/systemctl', ...args], { allowFailure: true });

describe('systemctl reload', () => {
  it('returns 0 when the new configuration is in force', async () => {
    await kpx.configure({ broker: { policy: { max_executors: 7 } } });
    expect((await systemctl('reload', BROKER)).exitCode).toBe(0);
    const { stdout } = await machine.run(['/usr/bin/kpxctl', 'status']);
    expect(stdout).toContain(`${CONFIG} is in force`);
  });

  it.each([
    ['a key that is wrong', '[policy]\nmax_executers = 7\n', 'did you mean "max_executors"?'],
    ['no TOML', '[policy\n', CONFIG],
  ])('fails when it is refused, with the reason in the journal, and the broker goes on: %s', async (_, text, reason) => {
    const before = await machine.show(BROKER, 'MainPID');
    await machine.writeFile(CONFIG, `${await machine.readFile(CONFIG)}\n${text}`, { mode: 0o640, owner: 'root:kpx-broker' });
    await kpx.mark();
    const since = await machine.journalCursor();
    expect((await systemctl('reload', BROKER)).exitCode).not.toBe(0);
    const said = [`--unit=${BROKER}`, `--after-cursor=${since}`];
    await machine.waitForJournal(reason, said, ({ MESSAGE }) => MESSAGE.includes(reason));
    if (text.includes('max_executers')) await kpx.brokerSays({ msg: REFUSED });
    expect(await machine.show(BROKER, 'MainPID', 'ActiveState')).toEqual({ ...before, ActiveState: 'active' });
  });
});

it('systemctl start returns when the helper is connected, and systemctl status says until then what it waits for', async () => {
  const good = await machine.readFile(HELPER_CONFIG);
  await systemctl('stop', BROKER);
  await machine.writeFile(HELPER_CONFIG, '[accounts]\nmin_iud = 1000\n', { mode: 0o600 });
  onTestFinished(() => machine.writeFile(HELPER_CONFIG, good, { mode: 0o600 }));
  await kpx.mark();
  await systemctl('start', '--no-block', BROKER);
  await kpx.brokerSays({ msg: 'the helper cannot be used; trying again' });
  const waits = await eventually('it says what it waits for', async () => {
    const shown = await machine.show(BROKER, 'ActiveState', 'StatusText');
    return String(shown.StatusText).includes('no connection to kpx-privhelper since') && shown;
  });
  expect(waits.ActiveState).toBe('activating');
  await machine.writeFile(HELPER_CONFIG, good, { mode: 0o600 });
  expect((await systemctl('start', BROKER)).exitCode).toBe(0);
  const { helper } = JSON.parse((await machine.run(['/usr/bin/kpxctl', 'status', '--json'])).stdout);
  expect(helper.connected).toBe(true);
});

it('a drain outlives systemctl restart', async () => {
  await machine.run(['/usr/bin/kpxctl', 'drain']);
  await systemctl('restart', BROKER);
  expect((await machine.run(['/usr/bin/kpxctl', 'status'])).stdout).toContain('none: the host is being drained');
  await machine.run(['/usr/bin/kpxctl', 'resume']);
  await systemctl('restart', BROKER);
  expect((await machine.run(['/usr/bin/kpxctl', 'status'])).stdout).not.toContain('drained');
});
