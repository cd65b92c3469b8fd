/** What the pool tells by itself: its state every two seconds, and what happens. One connection for the whole page. */

import { batch, computed, signal } from '@preact/signals';
import { address, type BlockEvent, get, type Pool } from './api';

/** After so long without a word the connection counts as lost: the pool tells its state every two seconds. */
const SILENCE_MS = 10_000;
/** First and longest pause before it is tried again. */
const RETRY_MS = [1_000, 15_000] as const;
/** How long a found block is announced. */
const NOTICE_MS = 12_000;

/** What events are about; pages look again at what they show when its number grows. */
export type Topic = 'block' | 'tip' | 'node' | 'ledger' | 'worker';

/** The pool's state; null until it is known. */
export const pool = signal<Pool | null>(null);
export const connection = signal<'connecting' | 'live' | 'lost'>('connecting');
export const versions = signal<Record<Topic, number>>({ block: 0, tip: 0, node: 0, ledger: 0, worker: 0 });
/** A block that was found a moment ago. */
export const foundBlock = signal<BlockEvent | null>(null);
/** Grows when the connection is back: then everything may have changed. */
export const reconnects = signal(0);

export const isOperator = computed(() => pool.value?.view === 'operator');
export const listsAccounts = computed(() => pool.value?.lists_accounts ?? false);

/** How far the pool's clock is ahead of ours. */
const skew = signal(0);
const ticks = signal(Date.now());
/** The pool's time, to the second. */
export const now = computed(() => ticks.value + skew.value);

let source: EventSource | null = null;
let retry: number = RETRY_MS[0];
let silence: ReturnType<typeof setTimeout> | undefined;
let notice: ReturnType<typeof setTimeout> | undefined;

function heard(): void {
  clearTimeout(silence);
  silence = setTimeout(lost, SILENCE_MS);
}

function bump(topic: Topic): void {
  versions.value = { ...versions.value, [topic]: versions.value[topic] + 1 };
}

function take(state: Pool): void {
  batch(() => {
    pool.value = state;
    skew.value = state.now - Date.now();
  });
}

function connect(): void {
  const events = new EventSource(address('events'));
  source = events;
  const on = (name: string, act: (data: unknown) => void) =>
    events.addEventListener(name, (event) => {
      if (source !== events) return;
      heard();
      act(JSON.parse((event as MessageEvent<string>).data));
    });
  heard();
  events.addEventListener('open', () => {
    if (source === events) heard();
  });
  on('pool', (data) => {
    take(data as Pool);
    retry = RETRY_MS[0];
    if (connection.value === 'lost') reconnects.value += 1;
    connection.value = 'live';
  });
  for (const topic of ['tip', 'node', 'ledger', 'worker'] as const) on(topic, () => bump(topic));
  on('block', (data) => {
    bump('block');
    announce(data as BlockEvent);
  });
  events.addEventListener('error', () => {
    if (source === events) lost();
  });
}

/** Says so, and tries again after a pause that grows. The browser's own way gives up on answers such as 503. */
function lost(): void {
  clearTimeout(silence);
  source?.close();
  source = null;
  connection.value = 'lost';
  setTimeout(connect, retry * (0.75 + Math.random() / 2));
  retry = Math.min(retry * 2, RETRY_MS[1]);
}

function announce(block: BlockEvent): void {
  if (block.state !== 'found') return;
  foundBlock.value = block;
  clearTimeout(notice);
  notice = setTimeout(dismiss, NOTICE_MS);
}

export function dismiss(): void {
  foundBlock.value = null;
}

/** Begins to listen. */
export function startLive(): void {
  setInterval(() => (ticks.value = Date.now()), 1000);
  // Sooner than the first event.
  get<Pool>(address('pool')).then(
    (state) => pool.value ?? take(state),
    () => undefined,
  );
  connect();
}
