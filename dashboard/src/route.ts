/** Where the reader is: the part of the address after `#`. It can be bookmarked, and needs nothing of the server. */

import { signal } from '@preact/signals';

export interface Route {
  /** The parts of the path: `#/account/NAME` is ['account', 'NAME']. */
  path: string[];
  query: URLSearchParams;
}

export function parseRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#?\/?/, '').split(/\?(.*)/s);
  const parts = path.split('/').filter((part) => part !== '');
  return { path: parts.map(decode), query: new URLSearchParams(query) };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The address of a page. */
export function href(path: string[], query: Record<string, string | number | undefined> = {}): string {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
  const search = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
  return `#/${path.map(encodeURIComponent).join('/')}${search === '' ? '' : `?${search}`}`;
}

export const route = signal<Route>(parseRoute(''));

/** Changes the query of this page, without a step in the reader's history. */
export function replaceQuery(changes: Record<string, string | number | undefined>): void {
  const { path, query } = route.value;
  history.replaceState(null, '', href(path, { ...Object.fromEntries(query), ...changes }));
  route.value = parseRoute(location.hash);
}

/** Follows the address. */
export function startRouting(): void {
  const read = () => (route.value = parseRoute(location.hash));
  addEventListener('hashchange', read);
  read();
}

/**
 * The account and worker of a user identity as a miner has it in its set-up: `pool:alice.rig;donate=1`. `%` and two hexadecimal digits
 * stand for a byte.
 */
export function parseIdentity(text: string): { account: string; worker: string } {
  const plain = text
    .trim()
    .replace(/^(pool|solo):/i, '')
    .replace(/;.*$/s, '');
  const dot = plain.indexOf('.');
  const account = decode(dot < 0 ? plain : plain.slice(0, dot));
  const worker = dot < 0 ? '' : decode(plain.slice(dot + 1));
  // Upper and lower case of such an address are one account.
  return { account: /^(bc|tb|bcrt)1[a-z0-9]+$/i.test(account) ? account.toLowerCase() : account, worker };
}
