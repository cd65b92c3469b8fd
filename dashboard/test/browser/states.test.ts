/** The dashboard on made-up data: all pages, and states that a real pool is rarely in. */

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import type { Browser } from 'playwright-core';
import { SHOWN } from '../fixture/data';
import { Fixture } from '../fixture/server';
import { launch, open, overflow, painted, type Watched } from './browser';

/** Each page and how its title begins. */
const PAGES: [string, string][] = [
  ['', 'Overview'],
  ['miners', 'Miners'],
  ['blocks', 'Blocks'],
  ['template', 'Template'],
  ['nodes', 'Nodes'],
  ['connections', 'Connections'],
  ['connect', 'Connect –'],
  [`account/${SHOWN}`, SHOWN],
  ['nowhere', 'Not found'],
];

let browser: Browser;
let fixture: Fixture;
let opened: Watched[] = [];

async function visit(path: string, options = {}): Promise<Watched> {
  const watched = await open(browser, `${fixture.url}#/${path}`, options);
  opened.push(watched);
  await watched.page.locator('main :is(h1, h2)').first().waitFor({ state: 'attached' });
  return watched;
}

before(async () => {
  browser = await launch();
});
after(() => browser.close());
beforeEach(async () => {
  fixture = await Fixture.start('dist');
});
afterEach(async () => {
  for (const { close } of opened) await close();
  opened = [];
  await fixture.stop();
});

test('a complaint of the browser is noticed', async () => {
  const { page, quiet } = await visit('');
  await page.evaluate(() => {
    const script = document.createElement('script');
    script.textContent = 'document.title = "inline"';
    document.body.append(script);
  });
  assert.notEqual(await page.title(), 'inline');
  assert.throws(() => quiet(), /complained/);
});

for (const colorScheme of ['light', 'dark'] as const) {
  for (const width of [1280, 820, 360]) {
    test(`every page fits a ${colorScheme} screen ${width} wide`, async () => {
      const { page, quiet } = await visit('', { viewport: { width, height: 740 }, colorScheme });
      const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      assert.equal(ground === 'rgb(19, 18, 17)', colorScheme === 'dark', ground);
      for (const [path, title] of PAGES) {
        await page.evaluate((to) => (location.hash = `#/${to}`), path);
        await page.waitForFunction((begin) => document.title.startsWith(begin), title);
        await page.waitForFunction(() => !document.querySelector('main .loading, main [aria-busy]') && document.querySelector('main :is(h1, h2)'));
        assert.equal(await overflow(page), 0, `#/${path} is too wide`);
      }
      quiet();
    });
  }
}

test('the public view has no pages of the operator', async () => {
  Object.assign(fixture.pool, { view: 'public', lists_accounts: false });
  for (const path of ['accounts', 'nodes', 'connections']) fixture.failing.set(path, [404, 'only for the operator']);
  const { page, quiet } = await visit('');
  const names = await page.locator('nav[aria-label=Pages] a').allTextContents();
  assert.deepEqual(names, ['Overview', 'Blocks', 'Template', 'Connect']);
  // Unless its operator wants accounts to be listed.
  fixture.pool.lists_accounts = true;
  fixture.emit('pool', fixture.pool);
  await page.getByRole('link', { name: 'Miners' }).waitFor();
  quiet();
});

test('names are text, whatever is in them, and break where they are long', async () => {
  const name = '<img src=x onerror=alert(1)>"\'&' + 'ä'.repeat(180);
  const account = fixture.accounts[0];
  assert.ok(account);
  account.account = name;
  for (const worker of account.workers) worker.worker = `<b>${'w'.repeat(120)}${worker.worker}`;
  const { page, quiet } = await visit(`account/${encodeURIComponent(name)}`, { viewport: { width: 360, height: 740 } });
  await page.getByText(name).first().waitFor();
  await page.getByRole('link', { name: `<b>${'w'.repeat(120)}desk` }).waitFor();
  assert.equal(await page.locator('main img, main b').count(), 0);
  assert.equal(await overflow(page), 0);
  quiet();
});

test('a pool without miners says how to connect one', async () => {
  Object.assign(fixture.pool, { workers_active: 0, accounts_active: 0, best: null, last_share_at: null });
  Object.assign(fixture.pool.shares, { accepted: 0, rejected: [] });
  fixture.blocks = [];
  const { page, quiet } = await visit('', { permissions: ['clipboard-read', 'clipboard-write'] });
  await page.getByRole('heading', { name: 'No miner yet' }).waitFor();
  await page.getByRole('button', { name: 'Copy the address for Stratum V2' }).first().click();
  await page.getByRole('button', { name: 'Copied the address for Stratum V2' }).first().waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied, `stratum2+tcp://127.0.0.1:34254/${fixture.pool.authority_key}`);
  await page.getByText('No block yet.').waitFor();
  quiet();
});

test('a pool without anything known yet is no error', async () => {
  fixture.template = null;
  fixture.nodes = [];
  fixture.connections = [];
  fixture.accounts = [];
  Object.assign(fixture.pool, { tip: null, best: null, authority_key: null, listeners: [], last_share_at: null });
  const { page, quiet } = await visit('');
  for (const [path, text] of [
    ['template', 'No template yet'],
    ['nodes', 'No node is configured.'],
    ['connections', 'Nobody is connected.'],
    ['miners', 'No miner yet.'],
    ['connect', 'Address of the pool'],
  ] as const) {
    await page.evaluate((to) => (location.hash = `#/${to}`), path);
    await page.getByText(text).first().waitFor();
  }
  quiet();
});

test('what happens is seen without a reload', async () => {
  const { page, quiet } = await visit('');
  await page.evaluate(() => ((window as unknown as { kept: boolean }).kept = true));
  fixture.pool.hashrate.m10 = 4.56e18;
  fixture.emit('pool', fixture.pool);
  await page.locator('.rates .main', { hasText: '4.56' }).waitFor();

  const block = structuredClone(fixture.blocks[0]);
  assert.ok(block);
  Object.assign(block, { hash: 'f'.repeat(64), height: 954_127, state: 'found', depth: 0 });
  fixture.blocks.unshift(block);
  fixture.emit('block', { hash: block.hash, height: block.height, state: block.state });
  await page.getByRole('status').getByText('Block found!').waitFor();
  await page.getByRole('rowheader', { name: '954,127' }).waitFor();
  await page.getByRole('button', { name: 'Dismiss' }).click();
  await page.getByText('Block found!').waitFor({ state: 'detached' });

  // The same block, further on in its life, is no news.
  Object.assign(block, { state: 'accepted', depth: 1 });
  fixture.emit('block', { hash: block.hash, height: block.height, state: block.state });
  await page.getByText('1 of 100').waitFor();
  assert.equal(await page.getByText('Block found!').count(), 0);
  assert.ok(await page.evaluate(() => (window as unknown as { kept: boolean }).kept));
  quiet();
});

test('a worker that goes is offline at once', async () => {
  const { page, quiet } = await visit(`account/${SHOWN}`);
  const row = page.getByRole('row', { name: /^attic/ });
  await row.getByText('Online').waitFor();
  const worker = fixture.accounts[0]?.workers[0];
  assert.ok(worker?.worker === 'attic');
  worker.online = false;
  fixture.emit('worker', { account: SHOWN, worker: 'attic', online: false });
  await row.getByText('Offline').waitFor();
  quiet();
});

test('a lost connection is said, and mended', async () => {
  const { page, quiet } = await visit('nodes');
  const port = Number(new URL(fixture.url).port);
  await page.getByText('Bitcoin Core v31.99').waitFor();
  await fixture.stop();
  await page.getByRole('status').getByText('Connection lost.').waitFor();
  fixture = await Fixture.start('dist', port);
  Object.assign(fixture.nodes[0] ?? {}, { description: 'Another node' });
  await page.getByText('Connection lost.').waitFor({ state: 'detached' });
  await page.getByText('Another node').waitFor();
  quiet(/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/);
});

test('a pool that refuses events at first is asked again', async () => {
  fixture.failing.set('events', [503, 'too many watch already']);
  const { page, quiet } = await visit('');
  await page.getByText('Connection lost.').waitFor();
  fixture.failing.clear();
  await page.getByText('Connection lost.').waitFor({ state: 'detached' });
  quiet(/503/);
});

test('an error is shown in the pool’s words', async () => {
  fixture.failing.set('blocks', [500, 'the database is busy']);
  const { page, quiet } = await visit('blocks');
  await page.getByRole('alert').getByText('the database is busy').waitFor();
  fixture.failing.clear();
  fixture.emit('tip', {});
  await page.getByRole('button', { name: 'Life of block 954122' }).waitFor();
  assert.equal(await page.getByRole('alert').count(), 0);
  // What is there stays when the next answer fails.
  fixture.failing.set('blocks', [500, 'busy again']);
  fixture.emit('tip', {});
  await page.getByRole('alert').getByText('This may be out of date: busy again').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Life of block 954122' }).count(), 1);
  quiet(/500/);
});

test('a ledger that fails is said', async () => {
  Object.assign(fixture.pool.ledger, { ok: false, problem: 'No space left on device' });
  const { page } = await visit('');
  await page.getByRole('alert').getByText('No space left on device').waitFor();
});

test('an account that the pool does not know yet appears by itself', async () => {
  const account = fixture.accounts.shift();
  assert.ok(account);
  const { page, quiet } = await visit(`account/${SHOWN}`);
  await page.getByRole('heading', { name: 'The pool does not know this account' }).waitFor();
  fixture.accounts.push(account);
  fixture.emit('worker', { account: SHOWN, worker: 'attic', online: true });
  await page.getByRole('row', { name: /^attic/ }).waitFor();
  quiet(/404/);
});

test('miners are sorted, paged and searched, and the place can be bookmarked', async () => {
  const { page, quiet } = await visit('miners');
  await page.getByText('1 to 50 of 120').waitFor();
  await page.getByRole('button', { name: 'Next' }).click();
  await page.getByText('51 to 100 of 120').waitFor();
  assert.match(page.url(), /#\/miners\?offset=50/);
  await page.getByRole('button', { name: 'Account' }).click();
  await page.getByText('1 to 50 of 120').waitFor();
  assert.equal(await page.getByRole('columnheader', { name: 'Account' }).getAttribute('aria-sort'), 'ascending');
  const names = await page.locator('tbody th').allTextContents();
  assert.deepEqual(names, [...names].sort());
  await page.getByLabel('Search', { exact: true }).fill(SHOWN.slice(6, 16));
  await page.getByText('1 in all').waitFor();
  await page.reload();
  await page.getByText('1 in all').waitFor();
  assert.equal(await page.getByRole('link', { name: SHOWN.slice(0, 10) }).count(), 1);
  quiet();
});

test('workers are sorted by any column, and one of them fills the plot', async () => {
  const { page, quiet } = await visit(`account/${SHOWN}`);
  const first = () => page.locator('.panel', { hasText: 'Workers' }).locator('tbody th').first().textContent();
  assert.equal(await first(), 'attic');
  await page.getByRole('button', { name: '10 min' }).click();
  assert.equal(await page.getByRole('columnheader', { name: '10 min' }).getAttribute('aria-sort'), 'descending');
  assert.equal(await first(), 'cellar');
  await page.getByRole('link', { name: 'garage' }).click();
  await page.getByRole('heading', { name: 'Hashrate of garage' }).waitFor();
  assert.match(page.url(), /\?worker=garage$/);
  quiet();
});

test('the plot is drawn, told, and there as a table', async () => {
  const { page, quiet } = await visit('');
  const plot = page.getByRole('img', { name: /^Hashrate over 3 hours: \d/ });
  await plot.waitFor();
  await page.waitForFunction(painted);
  await page.getByRole('button', { name: '30 days' }).click();
  await page.getByRole('img', { name: /^Hashrate over 30 days/ }).waitFor();
  assert.match(page.url(), /period=30d/);
  await page.getByText('As a table').click();
  await page.getByRole('region', { name: 'Hashrate as a table' }).getByRole('row').nth(180).waitFor();
  await page.setViewportSize({ width: 500, height: 700 });
  await page.waitForFunction(painted);
  assert.equal(await overflow(page), 0);
  quiet();
});

test('the life of a block opens and closes', async () => {
  const { page, quiet } = await visit('blocks');
  const orphan = page.getByRole('button', { name: 'Life of block 951644' });
  assert.equal(await orphan.getAttribute('aria-expanded'), 'false');
  await orphan.click();
  await page.getByText('Orphaned: the chain went on without it').waitFor();
  assert.equal(await orphan.getAttribute('aria-expanded'), 'true');
  await orphan.press('Enter');
  await page.getByText('Orphaned: the chain went on without it').waitFor({ state: 'detached' });
  quiet();
});

test('search finds an account, a worker of it, or a list', async () => {
  const { page, quiet } = await visit('template');
  const search = page.getByRole('searchbox', { name: 'Find an address or account' });
  await page.keyboard.press('/');
  assert.ok(await search.evaluate((field) => field === document.activeElement));
  await page.keyboard.type(`solo:${SHOWN.toUpperCase()}.attic`);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Hashrate of attic' }).waitFor();
  await search.fill('bc1q');
  await search.press('Enter');
  await page.getByText('1 to 50 of 120').waitFor();
  // A part of one name only is that account.
  await search.fill(SHOWN.slice(8, 20));
  await search.press('Enter');
  await page.waitForURL(`**/#/account/${SHOWN}`);
  quiet();
});

test('all can be done with the keyboard', async () => {
  const { page, quiet } = await visit('');
  await page.keyboard.press('Tab');
  const skip = page.getByRole('link', { name: 'Skip to the content' });
  assert.ok(await skip.evaluate((link) => link === document.activeElement));
  assert.ok(await skip.evaluate((link) => link.getBoundingClientRect().top >= 0 && getComputedStyle(link).outlineStyle !== 'none'));
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'main');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), '3 hours');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.getByRole('img', { name: /24 hours/ }).waitFor();
  // A new page begins at its content.
  await page.getByRole('link', { name: 'Connect', exact: true }).press('Enter');
  await page.getByRole('heading', { name: 'Connect a miner' }).waitFor();
  await page.waitForFunction(() => document.activeElement?.id === 'main');
  quiet();
});

test('dark and light follow the system until they are chosen', async () => {
  const { page, quiet } = await visit('', { colorScheme: 'dark' });
  const scheme = () => page.evaluate(() => document.documentElement.dataset['theme']);
  assert.equal(await scheme(), 'dark');
  await page.getByRole('button', { name: 'Use light colours' }).click();
  assert.equal(await scheme(), 'light');
  await page.reload();
  await page.getByRole('button', { name: 'Use dark colours' }).waitFor();
  assert.equal(await scheme(), 'light');
  await page.getByRole('button', { name: 'Use dark colours' }).click();
  await page.emulateMedia({ colorScheme: 'light' });
  await page.getByRole('button', { name: 'Use dark colours' }).waitFor();
  assert.equal(await scheme(), 'light');
  quiet();
});

test('text can be read: every colour on its ground has a contrast of 4.5', async () => {
  for (const colorScheme of ['light', 'dark'] as const) {
    const { page } = await visit('', { colorScheme });
    const weak = await page.evaluate(() => {
      const style = getComputedStyle(document.documentElement);
      const luminance = (name: string) => {
        const hex = style.getPropertyValue(name).trim();
        const [r, g, b] = [1, 3, 5].map((at) => {
          const part = parseInt(hex.slice(at, at + 2), 16) / 255;
          return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        }) as [number, number, number];
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const pairs = [
        ...['--ground', '--panel', '--sunken', '--raised'].map((ground) => ['--ink', ground]),
        ...['--ground', '--panel', '--sunken'].map((ground) => ['--quiet', ground]),
        ...['--ground', '--panel'].map((ground) => ['--accent', ground]),
        ['--good', '--good-ground'],
        ['--bad', '--bad-ground'],
        ['--wait', '--wait-ground'],
      ];
      return pairs.filter(([text, ground]) => {
        const [a, b] = [luminance(text as string), luminance(ground as string)];
        return !((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) >= 4.5);
      });
    });
    assert.deepEqual(weak, [], colorScheme);
  }
});
