/** The frame around all pages: navigation, search, what has to be said everywhere. */

import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { type AccountSummary, address, get, type Page } from './api';
import { count } from './format';
import { connection, dismiss, foundBlock, isOperator, listsAccounts, pool } from './live';
import { Account } from './pages/account';
import { Blocks } from './pages/blocks';
import { Connect } from './pages/connect';
import { Connections } from './pages/connections';
import { Miners } from './pages/miners';
import { Nodes } from './pages/nodes';
import { Overview } from './pages/overview';
import { Template } from './pages/template';
import { href, parseIdentity, route } from './route';
import { theme, toggleTheme } from './theme';
import { Logo } from './ui/logo';

interface Entry {
  path: string;
  name: string;
  /** Whether this view has it; without, every view. */
  isThere?: () => boolean;
  page: () => ComponentChildren;
}

const PAGES: Entry[] = [
  { path: '', name: 'Overview', page: () => <Overview /> },
  { path: 'miners', name: 'Miners', isThere: () => listsAccounts.value, page: () => <Miners /> },
  { path: 'blocks', name: 'Blocks', page: () => <Blocks /> },
  { path: 'template', name: 'Template', page: () => <Template /> },
  { path: 'nodes', name: 'Nodes', isThere: () => isOperator.value, page: () => <Nodes /> },
  { path: 'connections', name: 'Connections', isThere: () => isOperator.value, page: () => <Connections /> },
  { path: 'connect', name: 'Connect', page: () => <Connect /> },
];

/** What is shown at this place, and its title. */
function current(path: string[]): { title: string; content: ComponentChildren } {
  const [first = '', second] = path;
  if (first === 'account' && second !== undefined) {
    return { title: second, content: <Account key={second} name={second} /> };
  }
  const entry = PAGES.find((one) => one.path === first);
  if (entry) return { title: entry.name, content: entry.page() };
  return {
    title: 'Not found',
    content: (
      <section class="panel welcome">
        <h1>There is no such page</h1>
        <p>
          Perhaps the address is not complete. <a href="#/">The overview</a> is always there.
        </p>
      </section>
    ),
  };
}

export function App() {
  const { path } = route.value;
  const place = path.join('/');
  const { title, content } = current(path);
  const main = useRef<HTMLElement>(null);
  const isFirst = useRef(true);

  const name = pool.value?.name ?? 'Stratum';
  useEffect(() => {
    document.title = `${title} – ${name}`;
  }, [title, name]);
  useEffect(() => {
    // A reader with a keyboard or a screen reader begins at the new page, not where the old one was left.
    if (!isFirst.current) {
      main.current?.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    isFirst.current = false;
  }, [place]);

  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current?.focus();
        }}
      >
        Skip to the content
      </a>
      <Header path={path} />
      <main id="main" tabIndex={-1} ref={main}>
        {content}
      </main>
      <footer>
        <span>
          {pool.value && (
            <>
              {pool.value.name} {pool.value.version} on {pool.value.network}
            </>
          )}
        </span>
        <span>Times are those of your device.</span>
      </footer>
    </>
  );
}

function Header({ path }: { path: string[] }) {
  const state = pool.value;
  const nav = useRef<HTMLElement>(null);
  // On a phone the list of pages is wider than the screen.
  useEffect(() => nav.current?.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' }), [path[0]]);
  return (
    <>
      <header class="top">
        <div class="bar">
          <a class="brand" href="#/">
            <Logo /> <span>{state?.name ?? 'Stratum'}</span>
          </a>
          <nav aria-label="Pages" ref={nav}>
            <ul>
              {PAGES.filter((entry) => entry.isThere?.() ?? true).map((entry) => (
                <li key={entry.path}>
                  <a href={`#/${entry.path}`} aria-current={entry.path === (path[0] ?? '') ? 'page' : undefined}>
                    {entry.name}
                  </a>
                </li>
              ))}
            </ul>
          </nav>
          <Search />
          <button
            type="button"
            class="theme"
            onClick={toggleTheme}
            aria-label={theme.value === 'dark' ? 'Use light colours' : 'Use dark colours'}
          >
            <svg viewBox="0 0 20 20" width="18" height="18" aria-hidden="true">
              <circle cx="10" cy="10" r="7.25" fill="none" stroke="currentColor" stroke-width="1.5" />
              <path d="M10 2.75a7.25 7.25 0 0 1 0 14.5z" fill="currentColor" />
            </svg>
          </button>
        </div>
      </header>
      {state?.devnet && (
        <p class="strip devnet">
          <strong>Devnet.</strong> An embedded chain for demonstration: its blocks and coins have no value.
        </p>
      )}
      <div role="status">
        {connection.value === 'lost' && (
          <p class="strip lost">
            <strong>Connection lost.</strong> What you see may be out of date; it goes on by itself as soon as the pool answers.
          </p>
        )}
        {foundBlock.value && (
          <p class="strip found">
            <strong>Block found!</strong>{' '}
            <a href="#/blocks">
              Height {count(foundBlock.value.height)}
            </a>
            <button type="button" class="small" onClick={dismiss}>
              Dismiss
            </button>
          </p>
        )}
      </div>
    </>
  );
}

/** Finds an account. `/` leads here from everywhere. */
function Search() {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const from = event.target as HTMLElement;
      if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || from.matches('input, textarea, select')) return;
      event.preventDefault();
      field.current?.focus();
      field.current?.select();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);
  const submit = async (event: Event) => {
    event.preventDefault();
    const text = field.current?.value.trim() ?? '';
    if (text === '') return;
    location.hash = await find(text);
    if (field.current) field.current.value = '';
  };
  return (
    <form role="search" onSubmit={submit}>
      <input
        ref={field}
        type="search"
        name="account"
        placeholder="Find account"
        aria-label="Find an address or account"
        aria-keyshortcuts="/"
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        enterkeyhint="search"
        onKeyDown={(event) => event.key === 'Escape' && field.current?.blur()}
      />
      <kbd aria-hidden="true">/</kbd>
    </form>
  );
}

/** Where a search leads: to the account or, where accounts are listed and this is a part of several names, to the list of these. */
async function find(text: string): Promise<string> {
  const { account, worker } = parseIdentity(text);
  const page = href(['account', account], { worker });
  if (!listsAccounts.value) return page;
  try {
    const found = await get<Page<AccountSummary>>(address('accounts', { search: account, limit: 2 }));
    const only = found.items.length === 1 ? found.items[0] : undefined;
    if (only) return href(['account', only.account], { worker });
    if (found.items.length === 0 || found.items.some((one) => one.account === account)) return page;
    return href(['miners'], { search: account });
  } catch {
    return page;
  }
}
