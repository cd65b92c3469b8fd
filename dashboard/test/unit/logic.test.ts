import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HistoryPoint } from '../../src/api';
import { address } from '../../src/api';
import { chanceWithin, secondsToBlock } from '../../src/chance';
import { curve, RANGES, type Range, span } from '../../src/history';
import { miningUrls } from '../../src/pages/connect';
import { href, parseIdentity, parseRoute } from '../../src/route';

test('a route survives its address, whatever is in it', () => {
  for (const name of ['alice', 'a/b', 'a?b=c&d', '50 %', '%zz', 'ä#ö', '..']) {
    const { path, query } = parseRoute(href(['account', name], { worker: name, none: undefined, empty: '' }));
    assert.deepEqual(path, ['account', name]);
    assert.deepEqual([...query], [['worker', name]]);
  }
});

test('any text is some route', () => {
  assert.deepEqual(parseRoute('').path, []);
  assert.deepEqual(parseRoute('#/').path, []);
  assert.deepEqual(parseRoute('#//account//x').path, ['account', 'x']);
  assert.deepEqual(parseRoute('#/account/%E0%A4%A').path, ['account', '%E0%A4%A']);
});

test('a user identity names account and worker', () => {
  const rows: [string, string, string][] = [
    ['alice', 'alice', ''],
    [' alice.rig ', 'alice', 'rig'],
    ['alice.rig.2', 'alice', 'rig.2'],
    ['pool:alice.rig', 'alice', 'rig'],
    ['solo:BC1QAR0SRRR7XFKVY5L643LYDNW9RE59GTZZWF5MDQ.x;donate=2', 'bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq', 'x'],
    ['a%2Eb.c', 'a.b', 'c'],
    ['Alice', 'Alice', ''],
    ['3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy', '3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy', ''],
  ];
  for (const [text, account, worker] of rows) assert.deepEqual(parseIdentity(text), { account, worker }, text);
});

test('an address of the API has no empty parameters', () => {
  assert.equal(address('accounts', { search: '', order: undefined, offset: 0 }), '/api/v1/accounts?offset=0');
  assert.equal(address('pool'), '/api/v1/pool');
});

test('every range is whole buckets, and within what one answer may have', () => {
  const sums = { minute: 60, hour: 3600, day: 86_400 };
  for (const range of RANGES) {
    const { from, to } = span(range, 1_800_000_123_456);
    assert.equal(from % (range.bucket * 1000), 0);
    assert.ok(to <= 1_800_000_123_456 && 1_800_000_123_456 - to < range.bucket * 1000);
    assert.ok(to - from >= range.seconds * 1000);
    assert.equal(range.bucket % sums[range.period], 0);
    assert.ok((to - from) / 1000 / sums[range.period] <= 2000, range.id);
  }
});

const RANGE: Range = { id: '', name: '', seconds: 240, period: 'minute', bucket: 120 };
const point = (start: number, work: number): HistoryPoint => ({ start, work, shares: 1, hashrate: work / 60, best: 1 });

test('a curve keeps all work, and shows what is not there as nothing', () => {
  const points = [point(-60_000, 9), point(0, 120), point(60_000, 240), point(240_000, 9)];
  const { times, rates } = curve(points, RANGE, 0, 240_000, 0, 240_000);
  assert.deepEqual(times, [0, 120]);
  assert.deepEqual(rates, [3, 0]);
  assert.deepEqual(curve([], RANGE, 0, 0, null, 0), { times: [], rates: [] });
});

test('a curve begins with its subject, and of a short one the running bucket is shown', () => {
  // The first share is known by its own, or by when the account was made.
  const points = [point(1_260_000, 120)];
  assert.deepEqual(curve(points, RANGE, 0, 1_320_000, null, 1_320_000).times, [1200]);
  assert.deepEqual(curve(points, RANGE, 0, 1_320_000, 1_100_000, 1_320_000).times, [1080, 1200]);
  assert.deepEqual(curve([...points, point(1_320_000, 120)], RANGE, 0, 1_320_000, null, 1_350_000).rates, [1, 4]);
  // Work of its first moments is not blown up.
  assert.deepEqual(curve([...points, point(1_320_000, 120)], RANGE, 0, 1_320_000, null, 1_321_000).rates, [1, 12]);
  assert.equal(curve(points, RANGE, 0, 1_320_000, 0, 1_321_000).times.length, 11);
});

test('a block takes difficulty · 2^32 / hashrate on average', () => {
  assert.ok(Math.abs(secondsToBlock(1, 2 ** 32) - 1) < 1e-4);
  assert.equal(secondsToBlock(1, 0), Infinity);
  assert.ok(Math.abs(chanceWithin(600, 600) - (1 - 1 / Math.E)) < 1e-12);
  assert.ok(chanceWithin(1, 1e15) > 0);
  assert.equal(chanceWithin(1, Infinity), 0);
});

test('a miner is told addresses that lead to the pool', () => {
  const on = (address: string, noise: boolean, v1: boolean) => miningUrls({ name: '', address, noise, v1 }, 'KEY', 'pool.example').map(({ url }) => url);
  assert.deepEqual(on('0.0.0.0:34254', true, true), ['stratum2+tcp://pool.example:34254/KEY', 'stratum+tcp://pool.example:34254']);
  assert.deepEqual(on('[::]:1', false, false), ['stratum2+tcp://pool.example:1']);
  assert.deepEqual(on('10.0.0.2:1', true, false), ['stratum2+tcp://10.0.0.2:1/KEY']);
  assert.deepEqual(miningUrls({ name: '', address: '10.0.0.2:1', noise: true, v1: false }, null, 'x'), []);
});
