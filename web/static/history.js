// A long conversation: the page begins with its newest turns or those around one, and fetches what
// came before and after them when its reader comes near.

import { fragment } from './api.js';

// How far out of the window the end of what is on the page may be.
const NEAR = '1500px 0px';

// What came before the turns of the page.
export function earlier(place) {
  const scroller = document.getElementById('scroller');
  const { look } = reaching('#earlier a[href*="before="]', (part, link) => {
    const turns = document.getElementById('turns');
    const first = turns.firstElementChild;
    const before = first?.getBoundingClientRect().top ?? 0;
    const hadFocus = document.activeElement === link();
    document.getElementById('earlier').replaceWith(part.getElementById('earlier'));
    // What its reader sees stays where it is.
    scroller.style.overflowAnchor = 'none';
    turns.prepend(part);
    scroller.scrollTop += (first?.getBoundingClientRect().top ?? 0) - before;
    scroller.style.overflowAnchor = '';
    if (hadFocus) link()?.focus({ preventScroll: true });
  });

  // Where the address leads to in the conversation: an element of the page, or null for its end.
  function target() {
    const asked = place.through || location.hash.replace(/^#t-/, '');
    return asked ? document.getElementById(`t-${asked}`) : null;
  }

  return { look, target };
}

// What comes after them, on a page in the middle of a branch. `ended` is told the last event on the
// page when its branch has no more.
export function later(ended) {
  const { look } = reaching('#later a', (part, link) => {
    const hadFocus = document.activeElement === link();
    const way = part.getElementById('later');
    const next = part.querySelector('.turn');
    document.getElementById('later').replaceWith(way);
    document.getElementById('turns').append(part);
    if (hadFocus) (link() ?? next?.querySelector('a, button'))?.focus({ preventScroll: true });
    if (!isCut()) ended(way.dataset.after);
  });

  // Makes the page one of the end of its branch, which its stream then brings.
  function leave() {
    const way = document.getElementById('later');
    way.replaceChildren();
    way.hidden = true;
    delete way.dataset.last;
    look();
  }

  return { look, leave };
}

// Whether the branch goes on after what the page shows of it.
export function isCut() {
  return document.querySelector('#later[data-last]') !== null;
}

// Goes to the page that shows what the address asks for and this one does not.
export function elsewhere(place) {
  const named = location.hash.startsWith('#t-') && !document.getElementById(location.hash.slice(1));
  const turn = named && location.hash.slice(3);
  if (!turn || turn === place.through || !place.conversation) return;
  location.replace(`/c/${place.conversation}?turn=${encodeURIComponent(turn)}#t-${turn}`);
}

// Fetches what a link leads to when its reader comes near it or presses it, and has it shown.
function reaching(selector, show) {
  const scroller = document.getElementById('scroller');
  const near = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) load();
  }, { root: scroller, rootMargin: NEAR });
  let loading = false;

  scroller.addEventListener('click', (event) => {
    if (!event.target.matches(selector)) return;
    event.preventDefault();
    load();
  });

  function link() {
    return document.querySelector(selector);
  }

  // Looks out for the end of what is on the page now.
  function look() {
    near.disconnect();
    if (link()) near.observe(link());
  }

  async function load() {
    const from = link();
    if (loading || !from) return;
    loading = true;
    near.disconnect();
    try {
      const part = await fragment(`${from.href}&part`);
      // Meanwhile the page may have come to show something else.
      if (link() === from) show(part, link);
      look();
    } catch (error) {
      // The link is still there to be pressed.
      console.warn('a part of the conversation did not come', error);
    } finally {
      loading = false;
    }
  }

  return { look };
}
