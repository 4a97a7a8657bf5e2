/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import { type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { onTestFinished } from 'vitest';

/** Debian's. The tests run as root, in a private network: there is nothing for a sandbox to keep it from. */
const LAUNCH = { executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] };

/** For what is to be on a page, on a machine that has other work. */
const WAIT_MS = 60_000;

/** What WCAG 2.2 asks of text, 1.4.3. */
const CONTRAST_MIN = 4.5;

export interface Visit {
  readonly page: Page;
  /** What should not be, in the order in which it came: errors on the console, violations of the page's policy among them; exceptions; dialogs. */
  readonly troubles: string[];
  /** Every URL that was asked for. */
  readonly requests: string[];
}

/** Opens a page in a browser of its own, which is gone when the test is finished. */
export async function visit(url: string, options: BrowserContextOptions = {}): Promise<Visit> {
  const browser = await chromium.launch(LAUNCH);
  onTestFinished(() => browser.close());
  const page = await browser.newPage({ viewport: { width: 1_280, height: 900 }, ...options });
  page.setDefaultTimeout(WAIT_MS);
  const troubles: string[] = [];
  const requests: string[] = [];
  page.on('console', (message) => void (message.type() === 'error' && troubles.push(message.text())));
  page.on('pageerror', (error) => void troubles.push(String(error)));
  page.on('dialog', (dialog) => {
    troubles.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('request', (request) => void requests.push(request.url()));
  await page.goto(url);
  return { page, troubles, requests };
}

/** How many texts are shown, and those that are too pale to be read on what is behind them, as `ratio text`. */
export async function contrasts(page: Page): Promise<{ texts: number; pale: string[] }> {
  return await page.evaluate((least) => {
    const parts = (color: string) => (color.match(/[\d.]+/g) ?? []).map(Number);
    const luminance = (color: string) => {
      const [red = 0, green = 0, blue = 0] = parts(color).map((part) => {
        const share = part / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const behind = (element: Element | null): string => {
      if (!element) return 'rgb(255, 255, 255)';
      const { backgroundColor } = getComputedStyle(element);
      return (parts(backgroundColor)[3] ?? 1) === 0 ? behind(element.parentElement) : backgroundColor;
    };
    const pale: string[] = [];
    let texts = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement;
      const text = walker.currentNode.textContent?.trim() ?? '';
      if (!element || text === '' || element.closest('noscript, .unseen') || !element.checkVisibility()) continue;
      texts += 1;
      const [a, b] = [luminance(getComputedStyle(element).color), luminance(behind(element))];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (ratio < least) pale.push(`${ratio.toFixed(2)} ${text}`);
    }
    return { texts, pale };
  }, CONTRAST_MIN);
}

/** How far what was shown has moved without anybody's doing, since the page was opened: https://web.dev/articles/cls, all of it summed up. */
export async function layoutShift(page: Page): Promise<number> {
  return await page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        let sum = 0;
        const observer = new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) sum += (entry as PerformanceEntry & { value: number }).value;
        });
        observer.observe({ type: 'layout-shift', buffered: true });
        // Entries are handed over after a frame has been drawn.
        requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => resolve(sum), 100)));
      }),
  );
}

/** What the keyboard leads to from the beginning of the page, in order: its name, and whether it is seen to have the focus. */
export async function tabStops(page: Page, max: number): Promise<{ name: string; seen: boolean }[]> {
  const stops: { name: string; seen: boolean }[] = [];
  while (stops.length < max) {
    await page.keyboard.press('Tab');
    const stop = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return undefined;
      const label = element.getAttribute('aria-labelledby');
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      const { top, bottom } = element.getBoundingClientRect();
      const labelled = label ? document.getElementById(label) : ((element as HTMLInputElement).labels?.[0] ?? element);
      const name = labelled?.textContent?.trim() ?? '';
      return { name, seen: outlineStyle === 'solid' && Number.parseFloat(outlineWidth) >= 2 && bottom > 0 && top < innerHeight };
    });
    if (!stop) break;
    stops.push(stop);
  }
  return stops;
}
