/** `npm run screenshots [FOLDER]`: pictures for the documentation, of made-up data. WebP: they are a few dozen KiB each. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { SHOWN } from '../fixture/data';
import { Fixture } from '../fixture/server';
import { launch, open } from './browser';

const folder = process.argv[2] ?? '../docs/operate/dashboard';
/** For a look at them with programs that know no WebP. */
const format = process.argv[3] === 'png' ? 'png' : 'webp';

interface Shot {
  name: string;
  at: string;
  width: number;
  height: number;
  dark?: boolean;
  before?: string;
}

const account = `#/account/${SHOWN}?period=1d`;
const SHOTS: Shot[] = [
  { name: 'overview', at: '#/?period=7d', width: 1280, height: 1010 },
  { name: 'overview-dark', at: '#/?period=7d', width: 1280, height: 1010, dark: true },
  { name: 'account', at: account, width: 1280, height: 1060 },
  { name: 'phone', at: account, width: 390, height: 844 },
  { name: 'phone-dark', at: '#/', width: 390, height: 844, dark: true },
  { name: 'blocks', at: '#/blocks', width: 1280, height: 820, before: 'button.expand' },
];
/** Shown only with `all`: to look at. */
const MORE: Shot[] = [
  { name: 'miners', at: '#/miners', width: 1280, height: 900, dark: true },
  { name: 'template', at: '#/template', width: 1280, height: 900 },
  { name: 'nodes', at: '#/nodes', width: 1280, height: 600 },
  { name: 'connections', at: '#/connections', width: 1280, height: 900 },
  { name: 'connect', at: '#/connect', width: 1280, height: 1000 },
  { name: 'connect-narrow', at: '#/connect', width: 360, height: 1000 },
  { name: 'blocks-narrow', at: '#/blocks', width: 360, height: 700, before: 'button.expand' },
  { name: 'template-narrow', at: '#/template', width: 360, height: 1200, dark: true },
  { name: 'unknown', at: '#/account/nobody', width: 1280, height: 700 },
];

async function shoot(browser: Browser, url: string, shot: Shot): Promise<number> {
  const { page, close, quiet } = await open(browser, url + shot.at, {
    viewport: { width: shot.width, height: shot.height },
    deviceScaleFactor: 2,
    colorScheme: shot.dark ? 'dark' : 'light',
    isMobile: shot.width < 500,
    timezoneId: 'Europe/Zurich',
  });
  await page.waitForLoadState('load');
  await page.locator('main h1, main h2').first().waitFor({ state: 'attached' });
  await page.waitForFunction(() => document.querySelector('.loading, [aria-busy]') === null);
  if (shot.before) await page.locator(shot.before).first().click();
  // What is to be drawn is drawn with the next frame.
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  const client = await page.context().newCDPSession(page);
  const { data } = await client.send('Page.captureScreenshot', format === 'png' ? { format } : { format, quality: 82 });
  const bytes = Buffer.from(data, 'base64');
  writeFileSync(join(folder, `${shot.name}.${format}`), bytes);
  quiet(/404/);
  await close();
  return bytes.length;
}

mkdirSync(folder, { recursive: true });
const fixture = await Fixture.start('dist');
const browser = await launch();
try {
  for (const shot of process.argv[4] === 'all' ? [...SHOTS, ...MORE] : SHOTS) {
    const bytes = await shoot(browser, fixture.url, shot);
    console.log(`${shot.name}.${format}: ${Math.ceil(bytes / 1024)} KiB`);
  }
} finally {
  await browser.close();
  await fixture.stop();
}
