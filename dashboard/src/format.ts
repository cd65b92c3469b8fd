/** Numbers and times as people read them. Every function is pure; the texts are English, in any browser. */

const PREFIXES = ['', 'k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'];
const MINUS = '−';
/** Between a number and its unit: they stay on one line. */
const GAP = '\u00a0';

const COUNT = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 0 });
const DATE_TIME = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric',
  month: 'short',
  year: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
});

/** What stands where there is nothing to say. */
export const NONE = '–';

/** A whole number with separators: 1,234,567. */
export function count(value: number): string {
  return COUNT.format(value).replace('-', MINUS);
}

/** Three significant digits: 1.23, 12.3, 123. */
function short(value: number): string {
  if (value === 0) return '0';
  const digits = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return value.toFixed(digits);
}

/** A number with three significant digits and a prefix by thousands: [1.23, 'T']. */
function scaled(value: number): [string, string] {
  let step = 0;
  let rest = value;
  // 999.5 would be shown as 1000.
  while (rest >= 999.5 && step < PREFIXES.length - 1) {
    rest /= 1000;
    step += 1;
  }
  return [short(rest), PREFIXES[step] as string];
}

/** Number and unit of a hashrate: ['1.23', 'TH/s']. */
export function hashrateParts(perSecond: number): [string, string] {
  if (!Number.isFinite(perSecond) || perSecond < 0) return [NONE, ''];
  const [number, prefix] = scaled(perSecond);
  return [number, `${prefix}H/s`];
}

/** A hashrate: 1.23 TH/s. */
export function hashrate(perSecond: number): string {
  return hashrateParts(perSecond).filter(Boolean).join(GAP);
}

/** A hashrate at an axis, where a zero after the point says nothing: 15 PH/s. */
export function axisRate(perSecond: number): string {
  const [number, unit] = hashrateParts(perSecond);
  return perSecond === 0 ? '0' : `${number.replace(/\.?0+$/, (zeros) => (number.includes('.') ? '' : zeros))}${GAP}${unit}`;
}

/** A difficulty, or another large number: 1.23 M. Below one, as many digits as tell something. */
export function difficulty(value: number): string {
  if (!Number.isFinite(value) || value < 0) return NONE;
  if (value > 0 && value < 0.995) return Number(value.toPrecision(2)).toString();
  const [number, prefix] = scaled(value);
  // Small whole ones are thresholds that somebody has set: 4, 512.
  if (prefix === '' && Number.isInteger(value)) return String(value);
  return prefix === '' ? number : `${number}${GAP}${prefix}`;
}

/** An amount, in full: 3.12500000 BTC. */
export function bitcoin(sats: number): string {
  return `${(sats / 1e8).toFixed(8)}${GAP}BTC`;
}

/** An amount in the unit that suits it: 12,345 sats; 3.125 BTC. */
export function amount(sats: number): string {
  if (sats < 1e6) return `${count(sats)}${GAP}${sats === 1 ? 'sat' : 'sats'}`;
  return `${(sats / 1e8).toFixed(4).replace(/\.?0+$/, '')}${GAP}BTC`;
}

/** A share of a whole: 0.42 %. What is there is never shown as nothing. */
export function percent(part: number, whole: number): string {
  if (whole <= 0 || part <= 0) return `0${GAP}%`;
  const value = (100 * part) / whole;
  if (value < 0.01) return `<${GAP}0.01${GAP}%`;
  if (value > 99.99 && value < 100) return `>${GAP}99.99${GAP}%`;
  return `${value >= 99.95 ? value.toFixed(value < 100 ? 2 : 0) : short(value)}${GAP}%`;
}

const UNITS: [number, string][] = [
  [365.25 * 86_400, 'year'],
  [86_400, 'day'],
  [3600, 'h'],
  [60, 'min'],
  [1, 's'],
];

function unit(number: number, name: string): string {
  const plural = name === 'year' || name === 'day' ? (number === 1 ? '' : 's') : '';
  return `${number >= 10_000 ? difficulty(number) : count(number)}${GAP}${name}${plural}`;
}

/** A span of time by its two largest units: 2 h 5 min. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return NONE;
  let rest = Math.max(0, Math.round(seconds));
  // Over two days nobody counts minutes, over two minutes nobody seconds.
  if (rest >= 2 * 86_400) rest = Math.round(rest / 3600) * 3600;
  else if (rest >= 120) rest = Math.round(rest / 60) * 60;
  const at = UNITS.findIndex(([size]) => rest >= size);
  if (at < 0) return `0${GAP}s`;
  const [size, name] = UNITS[at] as [number, string];
  const first = Math.floor(rest / size);
  const next = UNITS[at + 1];
  // Ten or more of a unit are exact enough.
  if (first >= 10 || next === undefined) return unit(name === 'year' ? Math.round(rest / size) : first, name);
  const second = Math.floor((rest - first * size) / next[0]);
  return second === 0 ? unit(first, name) : `${unit(first, name)} ${unit(second, next[1])}`;
}

/** How long ago: just now; 12 s ago; 3 min ago. */
export function ago(at: number, now: number): string {
  const seconds = (now - at) / 1000;
  if (seconds < 2) return 'just now';
  if (seconds < 60) return `${Math.floor(seconds)}${GAP}s ago`;
  for (const [size, name] of UNITS) {
    if (seconds >= size) return `${unit(Math.floor(seconds / size), name)} ago`;
  }
  return 'just now';
}

/** A moment in full, in the reader's time zone: 24 Nov 2026, 17:25:03. */
export function moment(at: number): string {
  return DATE_TIME.format(at);
}

/** Beginning and end of a hash. Leading zeros of a block's hash say nothing, so they are left out. */
export function shortHash(hash: string): string {
  const rest = hash.replace(/^0+/, '');
  return rest.length <= 16 ? hash : `${rest.length < hash.length ? '…' : ''}${rest.slice(0, 8)}…${rest.slice(-8)}`;
}

/** An account as it fits a column: addresses are long, and both ends tell them apart. */
export function shortName(name: string): string {
  return name.length <= 22 ? name : `${name.slice(0, 10)}…${name.slice(-8)}`;
}

const PROTOCOLS: Record<string, string> = { v1: 'Stratum V1', v2: 'Stratum V2' };

/** A device and what it speaks, as far as they are known. */
export function device(name: string | null, protocol: string | null): string {
  const spoken = protocol === null ? null : (PROTOCOLS[protocol] ?? protocol);
  return [name, spoken].filter(Boolean).join(', ') || NONE;
}

/** A reason as the pool counts it, for people: `stale-share` is Stale share. */
export function reason(code: string): string {
  const text = code.replace(/[-_]/g, ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Bytes or weight units with a prefix: 1.23 MB, 3.99 MWU. */
export function size(value: number, name: string): string {
  const [number, prefix] = scaled(value);
  return `${number}${GAP}${prefix}${name}`;
}
