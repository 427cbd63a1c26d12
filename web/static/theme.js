// Light or dark. The choice is kept in a cookie, which the server knows when it makes a page: so the
// first paint is right.

import { hear, tell } from './tabs.js';

const COOKIE = 'toolgate-theme';
const YEAR_S = 365 * 24 * 60 * 60;
const SCHEMES = { system: 'light dark', light: 'light', dark: 'dark' };

export function theme() {
  const chooser = document.getElementById('theme');
  hear('theme', show);
  if (!chooser) return;
  chooser.value = document.documentElement.dataset.theme;
  chooser.addEventListener('change', () => {
    const secure = location.protocol === 'https:' ? '; Secure' : '';
    document.cookie = `${COOKIE}=${chooser.value}; Path=/; Max-Age=${YEAR_S}; SameSite=Lax${secure}`;
    show(chooser.value);
    tell('theme', chooser.value);
  });

  function show(name) {
    if (!Object.hasOwn(SCHEMES, name)) return;
    document.documentElement.dataset.theme = name;
    document.querySelector('meta[name="color-scheme"]').content = SCHEMES[name];
    if (chooser) chooser.value = name;
  }
}
