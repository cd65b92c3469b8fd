/**
 * The pool's HTTP API, as far as the dashboard uses it. `test/browser/pool.test.ts` holds it against the pool's own
 * description.
 *
 * Times are unix milliseconds, hashrates hashes per second, amounts satoshis, hashes hexadecimal in display order.
 */

/** Averages over a minute, ten minutes, an hour and a day. */
export interface Hashrates {
  m1: number;
  m10: number;
  h1: number;
  h24: number;
}

export interface RejectCount {
  reason: string;
  count: number;
}

export interface Listener {
  name: string;
  address: string;
  noise: boolean;
  v1: boolean;
}

export interface Best {
  difficulty: number;
  /** Null where the view lists no accounts. */
  account: string | null;
  worker: string | null;
}

export interface Tip {
  /** Of the block that miners build on. */
  height: number;
  prev_hash: string;
  network_difficulty: number;
  since: number;
}

export interface Pool {
  name: string;
  version: string;
  network: string;
  devnet: boolean;
  started_at: number;
  now: number;
  coinbase_tag: string;
  authority_key: string | null;
  listeners: Listener[];
  hashrate: Hashrates;
  connections: number;
  channels: number;
  workers_active: number;
  accounts_active: number;
  shares: { accepted: number; work: number; rejected: RejectCount[] };
  best: Best | null;
  last_share_at: number | null;
  tip: Tip | null;
  blocks: { found: number; accepted: number; confirmed: number; orphaned: number; last_found_at: number | null };
  ledger: { ok: boolean; problem: string | null; index_problem: string | null };
  /** `public` or `operator`. */
  view: string;
  /** Whether this view lists all accounts. */
  lists_accounts: boolean;
}

export type Period = 'minute' | 'hour' | 'day';

export interface HistoryPoint {
  /** Start of the period. */
  start: number;
  shares: number;
  work: number;
  hashrate: number;
  best: number;
}

export interface History {
  period_seconds: number;
  points: HistoryPoint[];
  rejects: { start: number; reason: string; count: number }[];
}

export interface AccountSummary {
  account: string;
  workers: number;
  workers_online: number;
  hashrate: Hashrates;
  shares: number;
  work: number;
  best: number;
  best_at: number | null;
  last_share_at: number | null;
  since: number;
}

export interface Worker {
  worker: string;
  online: boolean;
  hashrate: Hashrates;
  difficulty: number | null;
  device: string | null;
  protocol: string | null;
  shares: number;
  work: number;
  best: number;
  best_at: number | null;
  last_share_at: number | null;
  /** Of the last 24 hours. */
  rejected: RejectCount[];
}

export interface Account extends Omit<AccountSummary, 'workers'> {
  /** The part that was asked for. */
  workers: Worker[];
  workers_total: number;
  /** Of the last 24 hours. */
  rejected: RejectCount[];
  blocks: Block[];
}

export interface BlockStep {
  at: number;
  step: string;
  node: string | null;
  detail: string | null;
}

export interface Block {
  hash: string;
  height: number;
  state: string;
  depth: number;
  confirmations_needed: number;
  finder: { account: string; worker: string } | null;
  value: number | null;
  difficulty: number | null;
  found_at: number | null;
  life: BlockStep[];
}

export interface CoinbaseOutput {
  script: string;
  address: string | null;
  sats: number;
}

export interface Template {
  height: number;
  prev_hash: string;
  template_id: number;
  job_id: number;
  source: string;
  fees_sats: number | null;
  value_sats: number;
  transactions: number | null;
  size: number | null;
  weight: number | null;
  sigops: number | null;
  min_ntime: number;
  nbits: string;
  network_difficulty: number;
  received_at: number;
  job_at: number;
  coinbase_outputs: CoinbaseOutput[];
  empty: boolean;
}

export interface Node {
  index: number;
  kind: string;
  description: string;
  state: string;
  active: boolean;
  height: number | null;
  since: number;
  problem: string | null;
  raw_blocks: boolean;
  solutions: boolean;
}

export interface Channel {
  id: number;
  kind: string;
  account: string;
  worker: string;
  policy: string;
  difficulty: number;
  hashrate: { m1: number; m10: number; h1: number };
  shares: number;
  rejected: RejectCount[];
  best: number;
  last_share_at: number | null;
}

export interface Connection {
  id: number;
  address: string;
  listener: string;
  protocol: string;
  /** May be empty. */
  device: string;
  connected_at: number;
  /** The first hundred. */
  channels: Channel[];
  channels_total: number;
}

export interface Page<T> {
  items: T[];
  total: number | null;
  offset: number;
}

/** A block that was found, or has a new state. */
export interface BlockEvent {
  hash: string;
  height: number;
  state: string;
}

/** Why there is no answer. */
export class ApiFailure extends Error {
  constructor(
    /** Status of the answer; 0 when there was none. */
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** Query parameters; those that are undefined or empty are left out. */
export type Query = Record<string, string | number | undefined>;

/** The address of something in the API. */
export function address(path: string, query: Query = {}): string {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
  const search = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
  return `/api/v1/${path}${search === '' ? '' : `?${search}`}`;
}

/** Asks the pool. */
export async function get<T>(url: string, signal?: AbortSignal): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(url, { headers: { accept: 'application/json' }, signal: signal ?? null });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiFailure(0, 'The pool does not answer.');
  }
  if (answer.ok) return (await answer.json()) as T;
  const body = (await answer.json().catch(() => null)) as { error?: { message?: string } } | null;
  throw new ApiFailure(answer.status, body?.error?.message ?? `The pool answered with status ${answer.status}.`);
}
