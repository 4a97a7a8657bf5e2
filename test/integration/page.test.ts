import { describe, expect, it, vi } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { freePorts } from '../fixtures/free-ports.js';
import { jobOf } from '../fixtures/jobs.js';
import type { Kpx, KpxOptions } from '../fixtures/kpx.js';
import { RawAccounts } from '../fixtures/raw-accounts.js';
import { contrasts, layoutShift, tabStops, type Visit, visit } from './browser.js';
import { deadLetters, installKpx, jobsDone, publish } from './installed-kpx.js';

/** A browser takes its time to start on a machine that has other work. */
vi.setConfig({ testTimeout: 180_000 });

const QUICK = { BOOT_MS: '50' };
const PAGE_BYTES_MAX = 60_000;
const LAYOUT_SHIFT_MAX = 0.001;
const DESKTOP = { width: 1_280, height: 900 };
const PHONE = { width: 360, height: 740 };
/** A job may come back from its executor's queue, and is sent on again then. */
const SOME = /^[1-9]/;
const NAMED = { user_labels: true };

interface Watched extends Visit {
  readonly kpx: Kpx;
  readonly url: string;
  readonly listen: string;
}

/** A broker, and its page in a browser. */
async function watched({ broker, ...options }: KpxOptions = {}, context = {}): Promise<Watched> {
  const [port = 0] = await freePorts(1);
  const listen = `127.0.0.1:${port}`;
  const kpx = await installKpx({ standIn: QUICK, ...options, broker: { ...broker, http: { listen, ...broker?.http } } });
  await kpx.start();
  const url = `http://${listen}/`;
  const visited = await visit(url, context);
  await visited.page.locator('#connection', { hasText: 'Live' }).waitFor();
  return { kpx, url, listen, ...visited };
}

/** Resolves with the text of an element once it has `text` in it. */
async function says({ page }: Visit, selector: string, text: string | RegExp): Promise<string> {
  const found = page.locator(selector, { hasText: text }).first();
  await found.waitFor();
  return await found.innerText();
}

describe('the status page', () => {
  it('shows, while it is open, what changes', async () => {
    const watch = await watched({ broker: { policy: { deny: ['mallory'], max_executors: 2 } } });
    const { kpx, page, troubles } = watch;
    expect(await page.locator('#rabbitmq').innerText()).toContain('consuming knime-jobs');
    await publish(kpx, jobOf('alice'), jobOf('bob'), jobOf('mallory'), jobOf('carol'), { body: 'no JSON' });
    await says(watch, '#executors-count', '2 of 2');
    await says(watch, '#ready', '2');
    await says(watch, '#line', '1');
    await says(watch, '#held-count', '1 of 512');
    await says(watch, '#parked', '2');
    expect(await says(watch, '#letters tr', 'USER_DENIED')).toMatch(/The policy denies this user an executor\b.*\s+1$/s);
    await says(watch, '#letters tr', 'BODY_NOT_JSON');
    expect(await says(watch, '#users tr', 'queued')).toMatch(/waits for room\s+1$/);
    expect(await page.locator('#executors-chart path.ready').getAttribute('d')).toMatch(/^M[\d.]+ [\d.]+H/);
    expect(await page.locator('#executors-said').innerText()).toMatch(/: 0 to 2 executors, 2 now\.$/);
    await kpx.signal('SIGUSR2', { draining: true });
    await says(watch, '#starts', 'none is started: the host is being drained');
    await says(watch, '#headline', 'No executor is started: the host is being drained, and 1 user waits');
    await says(watch, '#problems li', 'kpxctl resume ends that');
    expect(await page.title()).toMatch(/^needs attention: kpx /);
    await kpx.endHelper();
    await says(watch, '#helper', 'no connection');
    expect(await says(watch, '#headline', 'No connection to kpx-privhelper')).toMatch(/; and one more problem$/);
    await says(watch, '#problems li', 'systemctl status kpx-privhelper.socket');
    expect(await page.title()).toMatch(/^trouble: kpx /);
    expect(troubles).toEqual([]);
  });

  it('has no name of a user unless that is asked for, and says what to do about it', async () => {
    const watch = await watched();
    const { kpx, page, url, listen } = watch;
    await publish(kpx, jobOf('alice'));
    await jobsDone(kpx, 'alice', 1);
    await says(watch, '#forwarded', SOME);
    expect(await page.getByRole('heading', { name: 'Names are not shown' }).isVisible()).toBe(true);
    expect(await page.locator('#no-names').innerText()).toContain('user_labels = true');
    const heard = async () => {
      const { body } = await fetch(`${url}events`);
      const { value } = (await body?.getReader().read()) ?? {};
      return Buffer.from(value ?? '').toString();
    };
    expect(await heard()).toMatch(/"forwarded":[1-9]/);
    expect([await page.content(), await heard()].filter((text) => text.includes('alice'))).toEqual([]);
    await kpx.reload({ http: { listen, ...NAMED } });
    await says(watch, '#people tr', 'alice');
    expect(await page.getByRole('heading', { name: 'Names are not shown' }).isVisible()).toBe(false);
    await kpx.reload({ http: { listen } });
    await page.getByRole('heading', { name: 'Names are not shown' }).waitFor();
    expect([await page.content(), await heard()].filter((text) => text.includes('alice'))).toEqual([]);
  });

  it('says who has an executor, whose jobs wait and why, and what was decided, where names are told', async () => {
    const watch = await watched({ broker: { http: NAMED, policy: { max_executors: 1 } } });
    const { kpx, page } = watch;
    await publish(kpx, jobOf('alice'));
    expect(await says(watch, '#people tr', 'alice')).toMatch(/^alice\s+alice\s+(booting|ready)\s+\d+$/);
    await kpx.brokerLog.line({ user: 'alice', state: 'ready' }); // no further decision about her
    await publish(kpx, jobOf('bob'));
    expect(await says(watch, '#waiting tr', 'bob')).toMatch(/^bob\s+queued\s+1 of 1 executors run \(max_executors\)\s+1$/);
    expect(await says(watch, '#decisions tr:first-child', 'bob')).toMatch(/^\d\d:\d\d:\d\d\s+bob\s+queued: 1 of 1 executors run/);
    expect(await says(watch, '#starts', 'user waits')).toMatch(/full, 1 of 1; 1 user waits, the longest for 1\ds/);
    await page.getByRole('button', { name: 'Pause' }).click();
    await says(watch, '#connection', 'Paused');
    await publish(kpx, jobOf('carol'));
    await eventually('carol waits', async () => (await (await fetch(`${watch.url}status`)).text()).includes('carol'));
    expect(await page.locator('#waiting').innerText()).not.toContain('carol');
    await page.getByRole('button', { name: 'Pause' }).click();
    await says(watch, '#waiting tr', 'carol');
  });

  it('shows what comes from outside as text, whatever it is', async () => {
    const attack = '<img src=x onerror=alert(1)>';
    const accounts = new RawAccounts();
    accounts.account('mallory-home', { home: `/tmp/${attack}"'` });
    try {
      const watch = await watched({ broker: { http: NAMED, jobs: { user_field: `<script>alert(2)</script>` } } });
      const job = { '<script>alert(2)</script>': 'mallory-home' };
      await publish(watch.kpx, { body: job }, { body: { '<script>alert(2)</script>': attack } });
      expect(await says(watch, '#decisions tr', 'HOME_UNUSABLE')).toContain(attack);
      await says(watch, '#letters tr', 'ACCOUNT_DENIED');
      expect(await watch.page.locator('main img, main script').count()).toBe(0);
      expect(watch.troubles).toEqual([]);
    } finally {
      accounts.remove();
    }
  });

  it('says that it is old while the broker is away, and is up to date when it is back', async () => {
    const watch = await watched();
    const { kpx, page } = watch;
    await publish(kpx, jobOf('alice'));
    await says(watch, '#ready', '1');
    await kpx.endBroker('SIGKILL');
    expect(await says(watch, '#connection', 'Not connected')).toMatch(
      /Not connected: all of this is as of \d\d:\d\d:\d\d\. Trying again\./,
    );
    expect(await page.title()).toMatch(/^Not connected: kpx /);
    expect(await page.locator('#ready').innerText()).toBe('1');
    expect(await contrasts(page)).toMatchObject({ pale: [] });
    await kpx.startBroker();
    await says(watch, '#connection', 'Live');
    await says(watch, '#forwarded', /^0$/); // since its start
    await publish(kpx, jobOf('alice'));
    await says(watch, '#forwarded', SOME);
    await expect.poll(() => page.title()).toMatch(/^all is well: kpx /);
  });

  it('tells those that are one too many that it is not kept up to date, and serves them when there is room', async () => {
    const { kpx, page, url } = await watched();
    const streams = await Promise.all(Array.from({ length: 15 }, () => fetch(`${url}events`)));
    expect(streams.map(({ status }) => status)).toEqual(streams.map(() => 200));
    const late = await page.context().browser()?.newPage();
    if (!late) throw new Error('there is no browser');
    await late.goto(url);
    await late.getByText('has as many pages to serve as it may').waitFor();
    await page.close();
    await late.locator('#connection', { hasText: 'Live' }).waitFor();
    for (const { body } of streams) await body?.cancel();
    expect(await kpx.endBroker()).toBe(0);
  });
});

describe('the status page is for everybody:', () => {
  it.each(['light', 'dark'] as const)('all text can be told from what is behind it, %s', async (colorScheme) => {
    const watch = await watched({ broker: { http: NAMED, policy: { deny: ['mallory'] } } }, { colorScheme });
    await publish(watch.kpx, jobOf('alice'), jobOf('mallory'));
    await says(watch, '#letters tr', 'USER_DENIED');
    await says(watch, '#people tr', 'alice');
    const { texts, pale } = await contrasts(watch.page);
    expect(texts).toBeGreaterThan(60);
    expect(pale).toEqual([]);
    const ground = await watch.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    expect(Number(/\d+/.exec(ground)?.[0]) > 128).toBe(colorScheme === 'light');
  });

  it('on a phone there is nothing to the right', async () => {
    const accounts = new RawAccounts();
    const name = `${'long-name.'.repeat(3)}@example.org`;
    accounts.account(name);
    try {
      const watch = await watched({ broker: { http: NAMED, policy: { deny: [name] } } }, { viewport: PHONE });
      await publish(watch.kpx, jobOf('alice'), jobOf(name));
      await says(watch, '#decisions tr', name);
      const width = await watch.page.evaluate(() => document.documentElement.scrollWidth);
      expect(width).toBe(PHONE.width);
    } finally {
      accounts.remove();
    }
  });

  it('each problem can be read without scrolling in the box that it is in: one, two and five of them, on a desktop and a phone', async () => {
    const broker = { amqp: { prefetch: 2 }, policy: { start_attempts: 1, backoff_max: '5m' } };
    const watch = await watched({ standIn: { BOOT_UNTIL: '/srv/never' }, broker });
    const { kpx, page } = watch;
    const expectReadable = async (problems: number) => {
      await expect.poll(() => page.locator('#problems li').count()).toBe(problems);
      for (const viewport of [DESKTOP, PHONE]) {
        await page.setViewportSize(viewport);
        const cut = await page.evaluate(() => {
          const around = [...document.querySelectorAll('.verdict, .card:has(.verdict)')];
          const isCut = ({ scrollHeight, clientHeight, scrollWidth, clientWidth }: Element) =>
            scrollHeight > clientHeight || scrollWidth > clientWidth;
          return around.length === 2 && around.filter(isCut).map(({ className }) => className);
        });
        expect([problems, viewport.width, cut]).toEqual([problems, viewport.width, []]);
      }
    };
    await publish(kpx, { body: 'no JSON' });
    await says(watch, '#headline', '1 parked job lies in kpx.dead-letter, the latest of this broker: BODY_NOT_JSON');
    await expectReadable(1);
    await publish(kpx, jobOf('nobody-has-this-account'));
    await expectReadable(2);
    await publish(kpx, jobOf('alice'));
    await says(watch, '#users tr', 'booting');
    await kpx.signal('SIGUSR2', { draining: true });
    await kpx.endHelper();
    await expectReadable(5);
    expect(await page.locator('#problems li b').allInnerTexts()).toEqual([
      'No executor is started: the host is being drained',
      expect.stringMatching(/^Starts of executors are given up/),
      expect.stringMatching(/^\d parked jobs? lies? in kpx\.dead-letter, the latest of this broker: START_FAILED$/),
      '1 of 1 jobs that may be held are: those of further users wait',
    ]);
  });

  it('finds a name in the lists, also while the page is paused, and has two decisions for a start', async () => {
    const watch = await watched({ broker: { http: NAMED, policy: { max_executors: 1 } } });
    const { kpx, page } = watch;
    await publish(kpx, jobOf('alice'));
    await kpx.brokerLog.line({ user: 'alice', state: 'ready' });
    await publish(kpx, jobOf('bob'));
    await says(watch, '#waiting tr', 'bob');
    const rows = (id: string) => page.locator(`#${id} tr`).allInnerTexts();
    await expect
      .poll(async () => (await rows('decisions')).map((text) => text.replace(/^\S+\s+/, '')))
      .toEqual([
        expect.stringMatching(/^bob\s+queued: 1 of 1 executors run/),
        expect.stringMatching(/^alice\s+ready: uid/),
        expect.stringMatching(/^alice\s+an executor is started/),
      ]);
    const find = page.getByRole('searchbox', { name: 'Find a name or a word below' });
    await find.fill('BOB');
    expect(await rows('decisions')).toEqual([expect.stringContaining('bob')]);
    expect(await rows('people')).toEqual(['Nothing here has that word.']);
    await page.getByRole('button', { name: 'Pause' }).click();
    await find.fill('alice');
    expect(await rows('people')).toEqual([expect.stringContaining('alice')]);
    expect(await rows('waiting')).toEqual(['Nothing here has that word.']);
    await find.fill('');
    expect((await rows('decisions')).length).toBe(3);
  });

  it('the keyboard leads everywhere, in order, and is seen to', async () => {
    const { page } = await watched({ broker: { http: NAMED } });
    await page.locator('#decisions-title').waitFor();
    const lists = [
      'Users by state',
      'Dead letters by reason',
      'Find a name or a word below',
      'Users whose jobs wait',
      'Who has an executor',
      'Recent decisions',
    ];
    const expected = ['Skip to content', 'Pause', ...lists].map((name) => ({ name, seen: true }));
    expect(await tabStops(page, expected.length + 1)).toEqual(expected);
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('main');
    const pause = page.getByRole('button', { name: 'Pause' });
    await pause.focus();
    await page.keyboard.press('Space');
    expect(await pause.getAttribute('aria-pressed')).toBe('true');
  });

  it('a screen reader finds landmarks, headings in order, and a name for everything', async () => {
    const { page } = await watched({ broker: { http: NAMED } });
    await page.locator('#decisions-title').waitFor();
    const found = await page.evaluate(() => {
      const all = (selector: string) => [...document.querySelectorAll(selector)];
      const text = (element: Element | null | undefined) => element?.textContent?.trim() ?? '';
      return {
        language: document.documentElement.lang,
        landmarks: ['header', 'main', 'h1'].map((selector) => all(selector).length),
        levels: all('h1, h2, h3, h4').map(({ tagName }) => tagName),
        withoutCaption: all('table').filter((table) => text(table.querySelector('caption')) === '').length,
        withoutScope: all('th:not([scope])').length,
        withoutLabel: all('meter').filter((meter) => text((meter as HTMLMeterElement).labels[0]) === '').length,
        withoutName: all('section, .scroll').filter((it) => !text(document.getElementById(it.getAttribute('aria-labelledby') ?? '')))
          .length,
        withoutAlternative: all('img:not([alt]), svg:not([aria-label])').length,
        sameIds: all('[id]').length - new Set(all('[id]').map(({ id }) => id)).size,
        spokenUp: all('[role=status], [role=alert], [aria-live]').map(({ id, tagName }) => id || tagName),
      };
    });
    const none = { withoutCaption: 0, withoutScope: 0, withoutLabel: 0, withoutName: 0, withoutAlternative: 0, sameIds: 0 };
    const levels = ['H1', ...Array.from({ length: 4 }, () => 'H2'), 'H3', ...Array.from({ length: 9 }, () => 'H2')];
    expect(found).toEqual({ language: 'en', landmarks: [1, 1, 1], levels, ...none, spokenUp: ['connection', 'headline', 'DL'] });
    await page.getByRole('meter', { name: 'Jobs held' }).waitFor();
    await page.getByRole('img', { name: 'Executors by state over time' }).waitFor();
    await page.getByRole('banner').waitFor();
  });

  it('nothing moves while updates come', async () => {
    const watch = await watched({ broker: { http: NAMED, policy: { deny: ['mallory'], max_executors: 3 } } });
    const { kpx, page } = watch;
    for (const user of ['alice', 'bob', 'mallory', 'carol', 'dave']) {
      await publish(kpx, jobOf(user), jobOf(user), { body: 'no JSON' });
      await says(watch, '#decisions tr', user);
    }
    await deadLetters(kpx, 7);
    await says(watch, '#parked', '7');
    expect(await layoutShift(page)).toBeLessThan(LAYOUT_SHIFT_MAX);
    await page.evaluate(() => document.body.prepend(Object.assign(document.createElement('p'), { textContent: 'It would be noticed.' })));
    expect(await layoutShift(page)).toBeGreaterThan(LAYOUT_SHIFT_MAX);
  });
});

it('the status page is small, comes from the broker alone, and the browser has nothing to complain of', async () => {
  const { url, requests, troubles, page } = await watched({ broker: { http: NAMED } });
  await page.locator('#decisions-title').waitFor();
  const paths = requests.map((request) => request.replace(url, '/'));
  expect([...new Set(paths)].sort()).toEqual(['/', '/events', '/kpx.css', '/kpx.js', '/kpx.svg']);
  const files = await Promise.all(['', 'kpx.css', 'kpx.js', 'kpx.svg'].map(async (path) => await (await fetch(url + path)).arrayBuffer()));
  const bytes = files.reduce((sum, { byteLength }) => sum + byteLength, 0);
  expect(bytes).toBeGreaterThan(1_000);
  expect(bytes).toBeLessThan(PAGE_BYTES_MAX);
  expect(troubles).toEqual([]);
});
