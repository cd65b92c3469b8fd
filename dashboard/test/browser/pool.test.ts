/** The dashboard of a real pool with real miners. The tests follow one day of a pool: each begins where the one before ended. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { launch, open, overflow, painted, type Watched } from './browser';
import { differences } from './openapi';
import { mine, type Miner, Pool } from './processes';

const PAGES = ['', 'miners', 'blocks', 'template', 'nodes', 'connections', 'connect', 'account/alice', 'account/alice?worker=rig1'];

const pool = new Pool();
const miners: Miner[] = [];
let browser: Browser;
let operator: Watched;
let page: Page;

const go = (to: string) => page.evaluate((hash) => (location.hash = hash), `#/${to}`);
const loaded = () => page.waitForFunction(() => !document.querySelector('main .loading, main [aria-busy]') && document.querySelector('main :is(h1, h2)'));

before(async () => {
  await pool.start();
  browser = await launch();
  operator = await open(browser, pool.operator);
  page = operator.page;
});

after(async () => {
  await browser?.close();
  for (const miner of miners) await miner.end();
  await pool.remove();
});

test('a pool without miners tells an address, and miners that take it appear', async () => {
  await page.getByRole('heading', { name: 'No miner yet' }).waitFor();
  await page.getByText('Devnet.').waitFor();
  const url = await page.locator('code', { hasText: 'stratum2+tcp://' }).first().textContent();
  assert.ok(url);
  await page.evaluate(() => ((window as unknown as { kept: boolean }).kept = true));
  miners.push(mine(url, 'alice.rig1', 'standard'), mine(url, 'alice.rig2', 'extended'), mine(url, 'bob.shed', 'extended'));
  await page.locator('.stat', { hasText: /^Workers3of 2 accounts/ }).waitFor();
  await page.getByRole('heading', { name: 'No miner yet' }).waitFor({ state: 'detached' });
  await page.locator('.stat', { hasText: /^Accepted shares[1-9]/ }).waitFor();
  await page.locator('.rates dd', { hasText: /[1-9].*H\/s/ }).first().waitFor();
  assert.ok(await page.evaluate(() => (window as unknown as { kept: boolean }).kept), 'the page was loaded again');
  operator.quiet();
});

test('a block is announced, listed, and has a life', async () => {
  await page.getByRole('status').getByText('Block found!').waitFor();
  await page.getByRole('status').getByRole('link', { name: /^Height \d+/ }).click();
  await page.getByRole('button', { name: /^Life of block/ }).first().click();
  const steps = page.locator('.steps');
  await steps.getByText('Found').waitFor();
  await steps.getByText(/^Submitted to/).waitFor();
  await steps.getByText(/^Accepted by/).waitFor();
  await page.getByRole('link', { name: /^(alice|bob)\./ }).first().waitFor();
  operator.quiet();
});

test('every page shows what the pool tells', async () => {
  await go('miners');
  await page.getByRole('row', { name: /^alice 2 of 2/ }).waitFor();
  await page.getByRole('row', { name: /^bob 1 of 1/ }).waitFor();
  await go('template');
  await page.locator('.stat', { hasText: /^Value\d.*\sBTC/ }).waitFor();
  await page.locator('.stat', { hasText: /^Height\d/ }).waitFor();
  await page.getByRole('table', { name: 'Outputs of the coinbase' }).getByRole('row', { name: /BTC.*100/ }).waitFor();
  await go('nodes');
  await page.getByRole('row', { name: /devnet.*Up.*Active/i }).waitFor();
  await go('connections');
  await page.getByRole('link', { name: 'bob.shed' }).waitFor();
  assert.equal(await page.locator('tbody tr').count(), 3);
  await go('connect');
  await page.getByText('stratum2+tcp://127.0.0.1:').waitFor();
  await page.getByText('/dashboard/', { exact: true }).waitFor();
  operator.quiet();
});

test('search leads to an account, which shows its workers', async () => {
  await page.locator('body').press('/');
  await page.keyboard.type('alice.rig1');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Hashrate of rig1' }).waitFor();
  await page.getByRole('link', { name: 'All workers' }).click();
  for (const name of ['rig1', 'rig2']) {
    const row = page.getByRole('row', { name: new RegExp(`^${name} `) });
    await row.getByText('Online').waitFor();
    await row.getByText(/H\/s/).first().waitFor();
    await row.getByText('Stratum V2').waitFor();
  }
  await page.getByRole('img', { name: /^Hashrate over 3 hours/ }).waitFor();
  await page.waitForFunction(painted);
  operator.quiet();
});

test('a worker that goes is offline without a reload, and online when it is back', async () => {
  const row = page.getByRole('row', { name: /^rig2 / });
  const url = await page.evaluate(async () => {
    const state = await (await fetch('/api/v1/pool')).json();
    return `stratum2+tcp://${state.listeners[0].address}/${state.authority_key}`;
  });
  await miners[1]?.end();
  await row.getByText('Offline').waitFor();
  miners[1] = mine(url, 'alice.rig2', 'extended');
  await row.getByText('Online').waitFor();
  operator.quiet();
});

for (const colorScheme of ['light', 'dark'] as const) {
  test(`every page fits a phone, ${colorScheme}`, async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    await page.emulateMedia({ colorScheme });
    for (const path of PAGES) {
      await go(path);
      await loaded();
      assert.equal(await overflow(page), 0, `#/${path} is too wide`);
    }
    await page.setViewportSize({ width: 1280, height: 800 });
    operator.quiet();
  });
}

test('the public view has an account for who knows its name, and nothing of others', async () => {
  const shown = await open(browser, `${pool.public}#/account/bob`);
  await shown.page.getByRole('row', { name: /^shed .*Online/ }).waitFor();
  const names = await shown.page.locator('nav[aria-label=Pages] a').allTextContents();
  assert.deepEqual(names, ['Overview', 'Blocks', 'Template', 'Connect']);
  for (const name of names) {
    await shown.page.getByRole('link', { name, exact: true }).click();
    await shown.page.waitForFunction((begin) => document.title.startsWith(begin), name);
    await shown.page.waitForFunction(() => !document.querySelector('main .loading, main [aria-busy]'));
  }
  shown.quiet();
  for (const path of ['accounts', 'nodes', 'connections']) {
    const status = await shown.page.evaluate(async (of) => (await fetch(`/api/v1/${of}`)).status, path);
    assert.ok(status === 403 || status === 404, `${path}: ${status}`);
  }
  await shown.close();
});

test('answers forbid what is inline or from elsewhere', async () => {
  const answer = await fetch(pool.operator);
  const policy = answer.headers.get('content-security-policy') ?? '';
  assert.match(policy, /default-src 'self'/);
  assert.doesNotMatch(policy, /unsafe-inline|unsafe-eval/);
  assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
  const script = /src="([^"]+\.js)"/.exec(await answer.text())?.[1];
  const asset = await fetch(new URL(script ?? '', pool.operator));
  assert.match(asset.headers.get('cache-control') ?? '', /immutable/);
  assert.match(asset.headers.get('content-encoding') ?? '', /br|gzip/);
});

test('the types that the pages are written with are those of the pool', async () => {
  const document = await (await fetch(new URL('openapi.json', pool.operator))).json();
  assert.deepEqual(differences(document), []);
  // A difference is noticed.
  document.paths['/api/v1/pool'].get.responses['200'].content['application/json'].schema = {
    type: 'object',
    properties: { name: { type: ['string', 'null'] }, version: { type: 'integer' }, view: { type: 'string', enum: ['secret'] } },
    required: ['name', 'version'],
  };
  const found = differences(document).join('\n');
  assert.match(found, /pool.name: may be null/);
  assert.match(found, /pool.version: integer/);
  assert.match(found, /pool.view: may be absent/);
  assert.match(found, /pool.network: not in the document/);
});

test('an account that nobody has is no error', async () => {
  await go('account/nobody');
  await page.getByRole('heading', { name: 'The pool does not know this account' }).waitFor();
  operator.quiet(/404/);
});

test('a pool that is started anew is there again by itself', async () => {
  await go('');
  await page.locator('.stat', { hasText: /^Workers3/ }).waitFor();
  await pool.stop();
  await page.getByRole('status').getByText('Connection lost.').waitFor();
  await pool.start();
  await page.getByText('Connection lost.').waitFor({ state: 'detached' });
  await page.locator('.stat', { hasText: /^Workers3/ }).waitFor();
  operator.quiet(/ERR_|50\d/);
});
