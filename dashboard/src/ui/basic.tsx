/** The small parts that all pages are made of. */

import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { ApiFailure, Hashrates, RejectCount } from '../api';
import { ago, count, hashrate, hashrateParts, moment, NONE, percent, reason, shortName } from '../format';
import { now } from '../live';
import { href } from '../route';

/** How long ago; the moment itself on hover. */
export function Time({ at }: { at: number | null }) {
  if (at === null) return <>{NONE}</>;
  return (
    <time dateTime={new Date(at).toISOString()} title={moment(at)}>
      {ago(at, now.value)}
    </time>
  );
}

/** A figure with its name and, below it, what explains it. */
export function Stat({ name, children, note }: { name: string; children: ComponentChildren; note?: ComponentChildren }) {
  return (
    <div class="stat">
      <dt>{name}</dt>
      <dd>
        <span class="value">{children}</span>
        {note !== undefined && <span class="note">{note}</span>}
      </dd>
    </div>
  );
}

/** A hashrate with its unit set smaller. */
export function Rate({ value }: { value: number }) {
  const [number, unit] = hashrateParts(value);
  return (
    <>
      {number} <span class="unit">{unit}</span>
    </>
  );
}

/** One main average, and the others beside it. */
export function Rates({ value }: { value: Hashrates }) {
  return (
    <dl class="rates">
      <div class="main">
        <dt>10 minutes</dt>
        <dd>
          <Rate value={value.m10} />
        </dd>
      </div>
      {(
        [
          ['1 minute', value.m1],
          ['1 hour', value.h1],
          ['24 hours', value.h24],
        ] as const
      ).map(([name, rate]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{hashrate(rate)}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A part of a page with a heading. */
export function Panel({ title, aside, children }: { title: string; aside?: ComponentChildren; children: ComponentChildren }) {
  const id = `panel-${title.toLowerCase().replace(/[^a-z]+/g, '-')}`;
  return (
    <section class="panel" aria-labelledby={id}>
      <header>
        <h2 id={id}>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  );
}

/** The state of something: a word with a colour, never a colour alone. */
export function Badge({ kind, children }: { kind: 'good' | 'bad' | 'wait' | 'plain'; children: ComponentChildren }) {
  return <span class={`badge ${kind}`}>{children}</span>;
}

/** A link to an account's page. */
export function AccountLink({ account, worker }: { account: string; worker?: string }) {
  return (
    <a class="mono" href={href(['account', account], { worker })} title={worker ? `${account}.${worker}` : account}>
      {shortName(account)}
      {worker ? `.${worker}` : ''}
    </a>
  );
}

/** Copies a text; where the browser gives no clipboard (plain HTTP), it is selected to be copied by hand. */
export function Copy({ text, what }: { text: string; what: string }) {
  const [done, setDone] = useState(false);
  const copy = async (event: Event) => {
    const button = event.currentTarget as HTMLElement;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const source = button.parentElement?.querySelector('[data-copy]');
      if (!source) return;
      getSelection()?.selectAllChildren(source);
      if (!document.execCommand('copy')) return;
    }
    setDone(true);
    setTimeout(() => setDone(false), 2000);
  };
  return (
    <button type="button" class="small" onClick={copy} aria-label={done ? `Copied ${what}` : `Copy ${what}`}>
      {done ? 'Copied' : 'Copy'}
    </button>
  );
}

/** How many shares were refused. */
export function total(rejected: RejectCount[]): number {
  return rejected.reduce((sum, one) => sum + one.count, 0);
}

/** Refused shares by reason, the most frequent first; with their part of all shares where it is known how many were accepted. */
export function Rejects({ rejected, accepted }: { rejected: RejectCount[]; accepted?: number }) {
  const refused = total(rejected);
  if (refused === 0) return <p class="quiet">None.</p>;
  const sorted = rejected.filter((one) => one.count > 0).sort((a, b) => b.count - a.count);
  return (
    <table class="rejects">
      <thead>
        <tr>
          <th scope="col">Reason</th>
          <th scope="col" class="number">
            Shares
          </th>
          {accepted !== undefined && (
            <th scope="col" class="number">
              Of all
            </th>
          )}
        </tr>
      </thead>
      <tbody>
        {sorted.map((one) => (
          <tr key={one.reason}>
            <th scope="row" title={one.reason}>
              {reason(one.reason)}
            </th>
            <td class="number">{count(one.count)}</td>
            {accepted !== undefined && <td class="number">{percent(one.count, accepted + refused)}</td>}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** In place of what could not be had, or above what is no longer fresh. */
export function Failure({ failure, stale }: { failure: ApiFailure; stale: boolean }) {
  return (
    <p class="failure" role="alert">
      {stale ? 'This may be out of date: ' : ''}
      {failure.message}
    </p>
  );
}

/** While the first answer is awaited. */
export function Loading() {
  return <p class="quiet loading">Loading …</p>;
}
