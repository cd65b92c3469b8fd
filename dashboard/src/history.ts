/** Hashrate over time: which periods there are to choose, and how the pool's sums become a curve. */

import type { HistoryPoint, Period } from './api';

export interface Range {
  id: string;
  name: string;
  seconds: number;
  /** Which sums are asked for. */
  period: Period;
  /** Seconds of one point of the curve: several sums together, as few shares make a ragged line. */
  bucket: number;
}

const HOUR = 3600;
const DAY = 24 * HOUR;

export const RANGES: [Range, ...Range[]] = [
  { id: '3h', name: '3 hours', seconds: 3 * HOUR, period: 'minute', bucket: 60 },
  { id: '1d', name: '24 hours', seconds: DAY, period: 'minute', bucket: 600 },
  { id: '7d', name: '7 days', seconds: 7 * DAY, period: 'hour', bucket: HOUR },
  { id: '30d', name: '30 days', seconds: 30 * DAY, period: 'hour', bucket: 4 * HOUR },
  { id: '1y', name: '1 year', seconds: 365 * DAY, period: 'day', bucket: DAY },
];

/** From when to when to ask, in milliseconds: whole buckets, so that no point is half a sum. */
export function span(range: Range, now: number): { from: number; to: number } {
  const bucket = range.bucket * 1000;
  const to = Math.floor(now / bucket) * bucket;
  return { from: to - Math.ceil(range.seconds / range.bucket) * bucket, to };
}

export interface Curve {
  /** Starts of the buckets, in unix seconds. */
  times: number[];
  /** Hashes per second. */
  rates: number[];
}

/** With fewer buckets than this, the one that is not over yet is shown, too: a new miner wants to see something. */
const FEW = 10;
/** Work of a shorter time says little, in seconds. */
const SHORTEST = 10;

/**
 * The curve from `from` to `to`, but not from before `since`, or where that is not known before the first share: what did not exist has no
 * hashrate, not none. Sums that are missing after that had no shares.
 */
export function curve(points: HistoryPoint[], range: Range, from: number, to: number, since: number | null, now: number): Curve {
  const bucket = range.bucket * 1000;
  const first = points.find((point) => point.shares > 0)?.start ?? null;
  const beginning = Math.max(from, since ?? first ?? from);
  const begin = from + Math.floor((beginning - from) / bucket) * bucket;
  const over = Math.max(0, Math.round((to - begin) / bucket));
  const length = over < FEW && now > to ? over + 1 : over;
  const work = new Array<number>(length).fill(0);
  for (const point of points) {
    const at = Math.floor((point.start - begin) / bucket);
    if (at >= 0 && at < length) work[at] = (work[at] as number) + point.work;
  }
  const passed = (at: number) => (at < over ? range.bucket : Math.max(SHORTEST, (now - to) / 1000));
  return {
    times: work.map((_, at) => (begin + at * bucket) / 1000),
    rates: work.map((sum, at) => sum / passed(at)),
  };
}
