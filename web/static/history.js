// A long conversation: the page begins with its newest turns, and fetches what came before them when
// its reader comes near.

import { fragment } from './api.js';

// How far above the window the beginning of the page may be.
const NEAR = '1500px 0px';

export function earlier(place) {
  const scroller = document.getElementById('scroller');
  const near = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) load();
  }, { root: scroller, rootMargin: NEAR });
  let loading = false;

  scroller.addEventListener('click', (event) => {
    if (event.target !== link()) return;
    event.preventDefault();
    load();
  });

  function link() {
    return document.querySelector('#earlier a[href*="before="]');
  }

  // Looks out for the beginning of what is on the page now.
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
      if (link() === from) show(part);
      look();
    } catch (error) {
      // The link is still there to be pressed.
      console.warn('the earlier messages did not come', error);
    } finally {
      loading = false;
    }
  }

  function show(part) {
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
  }

  // Where the address leads to in the conversation: an element of the page, or null for its end.
  function target() {
    const asked = place.through || location.hash.replace(/^#t-/, '');
    return asked ? document.getElementById(`t-${asked}`) : null;
  }

  return { look, target };
}

// Goes to the page that shows what the address asks for and this one does not.
export function elsewhere(place) {
  const { cut } = document.body.dataset;
  const named = location.hash.startsWith('#t-') && !document.getElementById(location.hash.slice(1));
  const last = document.querySelector('.turn:last-child')?.dataset.turn;
  const turn = cut === undefined ? named && location.hash.slice(3) : last;
  if (!turn || turn === place.through || !place.conversation) return;
  location.replace(`/c/${place.conversation}?turn=${encodeURIComponent(turn)}#t-${turn}`);
}
