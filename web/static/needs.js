// What waits for the user, here or in another conversation: in the tab's title, and if they allowed
// it, on their desk while they look elsewhere.

import { announce } from './announce.js';
import { anySeen, isSeen } from './tabs.js';
import { forget as untold, notifies, notify } from './notify.js';

const WORDS = {
  approval: 'A call needs your approval.',
  account: 'A call waits until your account is connected.',
  token: 'An answer waits for you to come back.',
  session: 'Your session has ended. Sign in again, and the answer goes on.',
};

// `title` is the tab's without a mark.
export function needs(title) {
  let known = new Set();
  let signedOut = false;

  // What the page shows at once is known already to whoever opened it.
  function forget() {
    known = new Set(entries().map(({ key }) => key));
  }

  function entries() {
    return [...document.querySelectorAll('#needs > li')].map((entry) => ({
      key: entry.dataset.key,
      what: entry.dataset.what,
      link: entry.querySelector('a'),
    }));
  }

  function look() {
    const now = entries();
    for (const { key, what, link } of now) {
      if (known.has(key)) continue;
      known.add(key);
      const news = { key, words: WORDS[what], title: link.textContent, url: link.href };
      if (link.pathname !== location.pathname) say(news);
      call(news);
    }
    const count = now.length + (signedOut ? 1 : 0);
    const words = (count > 0 ? `(${count}) ` : '') + title;
    if (document.title !== words) document.title = words;
  }

  function rename(to) {
    title = to;
    look();
  }

  // The session has ended, or lives again; `open` says whether an answer waits for it.
  function session(ended, open) {
    if (ended === signedOut) return;
    signedOut = ended;
    look();
    if (!ended) untold('session');
    if (ended && open) call({ key: 'session', words: WORDS.session, title: 'Toolgate', url: location.href });
  }

  // What happens here, the page itself says.
  function say({ title, words }) {
    announce(`${title}: ${words}`);
  }

  async function call(news) {
    if (!notifies() || isSeen() || (await anySeen())) return;
    notify(news);
  }

  forget();
  return { look, forget, rename, session };
}
