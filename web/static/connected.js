// The tab that was opened to connect an account: tells the other tabs how it went, and closes when
// it went well.

import { tell } from './accounts.js';

const CLOSES_MS = 1500;

const { server, outcome, quoted } = document.body.dataset;

// What Pomerium said is on the page: a reload or a bookmark must not say it again.
const url = new URL(location.href);
url.searchParams.delete('connect_error');
history.replaceState(null, '', url);

if (server !== '') tell({ server, outcome });
// What came with words is left to be read.
if (outcome === 'ready' && quoted === undefined) setTimeout(() => close(), CLOSES_MS);
