// The page's event stream. The server ends it every two minutes or so, and the browser comes back
// by itself; when it gives up, this asks whether the session still lives.

import { sessionLives } from './api.js';
import { isCut } from './history.js';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;

// How often a page whose session has ended looks whether somebody signed in again in another tab.
const SIGNED_IN_MS = 5_000;

// Follows the place and hands patches on; `works` is told whenever the stream is there. Gives
// { open }: connects anew, to where the place is now; and { again }: for another list beside it.
export function connect(place, patched, works) {
  let source = null;
  let wait = FIRST_WAIT_MS;
  let timer = 0;
  let last = '';

  function open() {
    clearTimeout(timer);
    source?.close();
    const query = new URLSearchParams();
    if (place.conversation) query.set('conversation', place.conversation);
    if (place.through) query.set('turn', place.through);
    if (isCut()) query.set('cut', '');
    if (place.search) query.set('search', place.search);
    if (place.older) query.set('older', place.older);
    if (last || place.after) query.set('after', last || place.after);
    const opened = new EventSource(`/api/events?${query}`);
    source = opened;
    const take = (reset) => (event) => {
      if (source !== opened) return;
      if (event.lastEventId) last = event.lastEventId;
      wait = FIRST_WAIT_MS;
      show('');
      patched(JSON.parse(event.data), reset);
    };
    opened.addEventListener('patch', take(false));
    opened.addEventListener('reset', take(true));
    opened.addEventListener('open', () => {
      show('');
      works();
      tell('lives');
    });
    opened.addEventListener('error', () => {
      if (source !== opened) return;
      // CONNECTING: the browser comes back by itself.
      if (opened.readyState === EventSource.CLOSED) lost();
      else later(() => opened.readyState !== EventSource.OPEN && show('Connecting again…'), 4000);
    });
  }

  async function lost() {
    clearTimeout(timer);
    const lives = await sessionLives();
    if (lives === 'no') {
      show('Your session has ended. ', true);
      tell('ended');
      later(lost, SIGNED_IN_MS);
      return;
    }
    show(lives === 'yes' ? 'Connecting again…' : 'Toolgate cannot be reached. Trying again…');
    later(open, wait * (0.5 + Math.random()));
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }

  function later(what, ms) {
    clearTimeout(timer);
    timer = setTimeout(what, ms);
  }

  function forgetPosition() {
    last = '';
    open();
  }

  addEventListener('online', () => source?.readyState === EventSource.CLOSED && lost());
  // A page that the browser keeps for going back must not keep one of its few connections.
  addEventListener('pagehide', () => source?.close());
  addEventListener('pageshow', (event) => event.persisted && open());
  open();
  return { open: forgetPosition, again: open };
}

// Tells the page's parts whether the session 'lives' or has 'ended'.
function tell(how) {
  document.dispatchEvent(new CustomEvent('session', { detail: how }));
}

function show(words, signIn = false) {
  const line = document.getElementById('connection');
  // Not every page has a line for it.
  if (!line) return;
  if (line.dataset.words === words) return;
  line.dataset.words = words;
  line.hidden = words === '';
  line.textContent = words;
  if (!signIn) return;
  const link = document.createElement('a');
  link.href = location.pathname;
  link.textContent = 'Sign in again';
  line.append(link);
}
