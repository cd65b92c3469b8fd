import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as format from '../../src/format';

/** Spaces that do not break look like others in an editor. */
const plain = (text: string) => text.replace(/\u00a0/g, ' ');

function table<T>(name: string, act: (value: T) => string, rows: [T, string][]): void {
  test(name, () => {
    for (const [value, expected] of rows) assert.equal(plain(act(value)), expected, String(value));
  });
}

table('hashrate', format.hashrate, [
  [0, '0 H/s'],
  [1, '1.00 H/s'],
  [999.4, '999 H/s'],
  [999.5, '1.00 kH/s'],
  [9_994, '9.99 kH/s'],
  [9_996, '10.0 kH/s'],
  [99_960, '100 kH/s'],
  [1_234_567, '1.23 MH/s'],
  [1.2e12, '1.20 TH/s'],
  [999_499_999_999_999, '999 TH/s'],
  [8.76e20, '876 EH/s'],
  [1e30, '1000000 YH/s'],
  [Number.NaN, '–'],
  [Infinity, '–'],
  [-1, '–'],
]);

table('axis', format.axisRate, [
  [0, '0'],
  [15e15, '15 PH/s'],
  [2.5e6, '2.5 MH/s'],
  [200e12, '200 TH/s'],
]);

table('difficulty', format.difficulty, [
  [0, '0'],
  [0.0012345, '0.0012'],
  [0.5, '0.5'],
  [1, '1'],
  [512, '512'],
  [1.5, '1.50'],
  [1024, '1.02 k'],
  [142_342_602_928_674, '142 T'],
  [Number.NaN, '–'],
]);

table('count', format.count, [
  [0, '0'],
  [999, '999'],
  [1_234_567, '1,234,567'],
]);

table('amount', format.amount, [
  [0, '0 sats'],
  [1, '1 sat'],
  [12_345, '12,345 sats'],
  [999_999, '999,999 sats'],
  [1_000_000, '0.01 BTC'],
  [312_500_000, '3.125 BTC'],
  [5_000_000_000, '50 BTC'],
  [314_820_417, '3.1482 BTC'],
]);

table('bitcoin', format.bitcoin, [
  [0, '0.00000000 BTC'],
  [312_500_001, '3.12500001 BTC'],
  [2_100_000_000_000_000, '21000000.00000000 BTC'],
]);

table('percent', ([part, whole]: [number, number]) => format.percent(part, whole), [
  [[0, 10], '0 %'],
  [[1, 0], '0 %'],
  [[1, 1e9], '< 0.01 %'],
  [[42, 10_000], '0.42 %'],
  [[1, 8], '12.5 %'],
  [[1, 1], '100 %'],
  [[999_999, 1_000_000], '> 99.99 %'],
  [[9_997, 10_000], '99.97 %'],
]);

table('duration', format.duration, [
  [0, '0 s'],
  [0.4, '0 s'],
  [59, '59 s'],
  [61, '1 min 1 s'],
  [119.6, '2 min'],
  [725, '12 min'],
  [7_500, '2 h 5 min'],
  [86_399, '1 day'],
  [90_000, '1 day 1 h'],
  [3 * 86_400, '3 days'],
  [40 * 86_400, '40 days'],
  [400 * 86_400, '1 year 34 days'],
  [31_557_600 * 12.4, '12 years'],
  [31_557_600 * 5_321, '5,321 years'],
  [31_557_600 * 3.2e7, '32.0 M years'],
  [Infinity, '–'],
]);

test('ago', () => {
  const now = 1_800_000_000_000;
  const rows: [number, string][] = [
    [-5, 'just now'],
    [0, 'just now'],
    [2, '2 s ago'],
    [59.9, '59 s ago'],
    [60, '1 min ago'],
    [3_599, '59 min ago'],
    [3_600, '1 h ago'],
    [86_400, '1 day ago'],
    [86_400 * 364, '364 days ago'],
    [86_400 * 800, '2 years ago'],
  ];
  for (const [seconds, expected] of rows) assert.equal(plain(format.ago(now - seconds * 1000, now)), expected);
});

test('names and hashes keep both ends', () => {
  const zeros = '0'.repeat(19);
  assert.equal(format.shortHash(`${zeros}123456789abcdef0${'a'.repeat(21)}12345678`), '…12345678…12345678');
  assert.equal(format.shortHash('abc'), 'abc');
  assert.equal(format.shortName('alice'), 'alice');
  assert.equal(format.shortName('bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq'), 'bc1qar0srr…wf5mdq'.replace('wf5mdq', 'zzwf5mdq'));
  assert.equal(format.device('Bitaxe', 'v2'), 'Bitaxe, Stratum V2');
  assert.equal(format.device(null, 'v3'), 'v3');
  assert.equal(format.device('', null), '–');
  assert.equal(format.reason('stale-share'), 'Stale share');
});
