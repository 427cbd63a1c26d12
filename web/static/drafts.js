// What was typed, and what is being sent, in the browser's storage: nothing typed is ever lost.

import { attempt, keyOf } from './storage.js';

// `place` is where the page is.
export function drafts(place) {
  let last = null;

  // What was typed in this tab, else in another one.
  function read() {
    return attempt(() => sessionStorage.getItem(key()) ?? localStorage.getItem(key())) ?? '';
  }

  function keep(text) {
    attempt(() => {
      if (text === '') {
        forget(localStorage.getItem(key()));
      } else {
        sessionStorage.setItem(key(), text);
        localStorage.setItem(key(), text);
      }
    });
  }

  // Forgets a text that was sent; what another tab typed is not it.
  function forget(text) {
    attempt(() => {
      sessionStorage.removeItem(key());
      if (localStorage.getItem(key()) === text) localStorage.removeItem(key());
    });
  }

  // The message that this tab tried to send last and that may not have arrived: { text, id, edits,
  // flying }, `flying` while nobody knows how it went.
  function sending() {
    return last ?? attempt(() => JSON.parse(sessionStorage.getItem(`sending:${key()}`)));
  }

  function keepSending(message) {
    last = message;
    attempt(() => sessionStorage.setItem(`sending:${key()}`, JSON.stringify(message)));
  }

  function forgetSending() {
    last = null;
    attempt(() => sessionStorage.removeItem(`sending:${key()}`));
  }

  function key() {
    return keyOf('draft', place);
  }

  return { key, read, keep, forget, sending, keepSending, forgetSending };
}
