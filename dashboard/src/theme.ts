/** Light or dark: as the system has it, unless the reader has chosen. */

import { signal } from '@preact/signals';

export type Theme = 'light' | 'dark';

const KEY = 'theme';
const system = matchMedia('(prefers-color-scheme: dark)');

export const theme = signal<Theme>('light');

function chosen(): Theme | null {
  // A browser may refuse storage.
  try {
    const kept = localStorage.getItem(KEY);
    return kept === 'light' || kept === 'dark' ? kept : null;
  } catch {
    return null;
  }
}

function apply(): void {
  theme.value = chosen() ?? (system.matches ? 'dark' : 'light');
  document.documentElement.dataset['theme'] = theme.value;
}

export function startTheme(): void {
  system.addEventListener('change', apply);
  apply();
}

/** The other one. Choosing what the system has is no choice: it follows the system again. */
export function toggleTheme(): void {
  const next: Theme = theme.value === 'dark' ? 'light' : 'dark';
  try {
    if (next === (system.matches ? 'dark' : 'light')) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, next);
  } catch {
    // Then it holds until the page is left.
    theme.value = next;
    document.documentElement.dataset['theme'] = next;
    return;
  }
  apply();
}
