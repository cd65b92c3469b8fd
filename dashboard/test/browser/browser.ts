/** A headless Chromium, and a page that remembers what went wrong in it. */

import assert from 'node:assert/strict';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';

/** How long anything may take. Only a failing test ever waits this long. */
export const LIMIT_MS = 60_000;

const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];

function executable(): string {
  if (process.env['CHROMIUM']) return process.env['CHROMIUM'];
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    for (const name of NAMES) {
      try {
        accessSync(join(folder, name), constants.X_OK);
        return join(folder, name);
      } catch {
        // The next one.
      }
    }
  }
  throw new Error(`no browser: install Debian's package chromium, or name one in the variable CHROMIUM`);
}

export function launch(): Promise<Browser> {
  // Root, as in containers, has no sandbox. Containers have little shared memory.
  return chromium.launch({ executablePath: executable(), args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}

/** A page and what it complained about: console errors, exceptions, violations of the security policy. */
export interface Watched {
  page: Page;
  /** Fails if there was any complaint besides these expected ones, and forgets them. */
  quiet: (expected?: RegExp) => void;
  close: () => Promise<void>;
}

export async function open(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Watched> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-GB', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(LIMIT_MS);
  let complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(`${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => complaints.push(`exception: ${error.message}`));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI}`));
  });
  await page.goto(url);
  return {
    page,
    quiet: (expected) => {
      const unexpected = complaints.filter((complaint) => !expected?.test(complaint));
      complaints = [];
      assert.deepEqual(unexpected, [], 'the browser complained');
    },
    close: () => context.close(),
  };
}

/** Whether the page can be scrolled sideways: then something is too wide for the screen. */
export function overflow(page: Page): Promise<number> {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

/** Whether the plot has anything on its canvas. Runs in the page. */
export function painted(): boolean {
  const canvas = document.querySelector<HTMLCanvasElement>('.plot canvas');
  const pixels = canvas?.getContext('2d')?.getImageData(0, 0, canvas.width, canvas.height).data;
  return pixels?.some((value) => value !== 0) ?? false;
}
