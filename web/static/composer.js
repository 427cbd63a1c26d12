// The message box: sends, stops, and never loses what was typed.

import { post } from './api.js';

const RETRIES = 2;
const RETRY_MS = 700;

// `place` is where the page is; `moved` is told of a conversation that has begun, `sent` when a
// message was accepted.
export function composer({ place, moved, sent }) {
  const form = document.getElementById('composer');
  const box = document.getElementById('message');
  const send = document.getElementById('send');
  const stop = document.getElementById('stop');
  const trouble = document.getElementById('trouble');
  const limit = Number(document.body.dataset.messageBytes);
  let sending = false;
  // The same text again after a failure is the same message: it keeps its id.
  let kept = { text: '', id: '' };

  box.value = box.value || draft();
  grow();

  box.addEventListener('input', () => {
    remember();
    grow();
    look();
    if (trouble.dataset.about === 'text') complain('');
  });
  box.addEventListener('keydown', (event) => {
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === 'Enter' && !event.shiftKey && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      submit();
    }
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    submit();
  });
  stop.addEventListener('click', cancel);
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || event.defaultPrevented || event.isComposing) return;
    // Whoever types a reason means the field, and who sees a dialog means that: not the turn.
    if (event.target instanceof HTMLInputElement || document.querySelector('dialog[open]')) return;
    if (!document.body.classList.contains('drawn') && running()) cancel();
  });
  addEventListener('storage', (event) => {
    // Another tab of this conversation typed or sent. What was typed here stays.
    if (event.key !== key() || !place.conversation || document.activeElement === box) return;
    const sentThere = event.newValue === null && box.value === event.oldValue;
    if (box.value !== '' && !sentThere) return;
    box.value = event.newValue ?? '';
    grow();
    look();
  });

  function submit() {
    if (running()) return;
    say(box.value, true);
  }

  // Posts a message; `typed` if it is what stands in the box.
  async function say(text, typed) {
    if (sending || text.trim() === '') return;
    if (new TextEncoder().encode(text).length > limit) {
      complain(`The message is longer than ${limit / 1024} KiB.`, 'Shorten it, or split it into several messages.');
      trouble.dataset.about = 'text';
      return;
    }
    if (kept.text !== text) kept = { text, id: uuid() };
    sending = true;
    complain('');
    look();
    try {
      const posted = await deliver(text);
      kept = { text: '', id: '' };
      if (typed) clear(text);
      document.getElementById('hero').hidden = true;
      if (place.conversation !== posted.conversation) {
        forget(text);
        moved(posted.conversation);
        remember();
      }
      sent();
    } catch (error) {
      complain(error.message, error.advice, error);
    } finally {
      sending = false;
      look();
    }
  }

  async function deliver(text) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const body = { message_id: kept.id, message: text };
        if (place.conversation) body.conversation = place.conversation;
        return await post('/api/messages', body);
      } catch (error) {
        // Only what may not have arrived is sent again; by its id it counts once.
        if (error.status !== 0 || attempt === RETRIES) throw error;
        await new Promise((done) => setTimeout(done, RETRY_MS * (attempt + 1)));
      }
    }
  }

  async function cancel() {
    const turn = running();
    if (!turn) return;
    // A disabled button lets the focus go.
    if (document.activeElement === stop) box.focus();
    stop.disabled = true;
    try {
      await post(`/api/turns/${turn}/cancel`, {});
    } catch (error) {
      // One that has ended meanwhile needs no stopping.
      if (error.status !== 409) complain(error.message, error.advice, error);
      stop.disabled = false;
    }
  }

  // Puts a text in the box, before what stands there.
  function fill(text) {
    box.value = box.value.trim() === '' ? text : `${text}\n\n${box.value}`;
    remember();
    grow();
    look();
    box.focus();
  }

  // Shows what can be done now.
  function look() {
    const turn = running();
    if (stop.dataset.turn !== (turn ?? '')) {
      stop.dataset.turn = turn ?? '';
      stop.disabled = false;
    }
    const focused = document.activeElement;
    stop.hidden = !turn;
    send.hidden = Boolean(turn);
    send.disabled = sending || box.value.trim() === '';
    if ((focused === stop || focused === send) && focused.hidden) box.focus();
    document.getElementById('hero').hidden = document.querySelector('.turn') !== null;
    for (const button of document.querySelectorAll('[data-do="say"]')) button.disabled = Boolean(turn) || sending;
  }

  function clear(text) {
    forget(text);
    // What was typed while the message was on its way stays.
    box.value = box.value.startsWith(text) ? box.value.slice(text.length).trimStart() : box.value;
    if (box.value !== '') remember();
    grow();
  }

  function complain(words, advice = '', error = {}) {
    trouble.replaceChildren();
    delete trouble.dataset.about;
    trouble.hidden = words === '';
    if (words === '') return;
    const traced = error.requestId ? `Pomerium request id ${error.requestId}` : '';
    for (const line of [words, advice, traced].filter((line) => line !== '')) {
      const paragraph = document.createElement('p');
      paragraph.textContent = line;
      trouble.append(paragraph);
    }
    if (error.status !== 401) return;
    // Said here, it need not be said of the stream as well.
    trouble.dataset.about = 'session';
    const link = document.createElement('a');
    link.href = location.pathname;
    link.textContent = 'Sign in again';
    trouble.append(link);
  }

  // The page has its stream again, so the session lives.
  function signedIn() {
    if (trouble.dataset.about === 'session') complain('');
  }

  // Of this user: another one may sign in at the same browser.
  function key() {
    return `draft:${document.body.dataset.user}:${place.conversation || 'new'}`;
  }

  // What was typed in this tab, else in another one.
  function draft() {
    try {
      return sessionStorage.getItem(key()) ?? localStorage.getItem(key()) ?? '';
    } catch {
      return '';
    }
  }

  function remember() {
    try {
      if (box.value === '') {
        forget(localStorage.getItem(key()));
      } else {
        sessionStorage.setItem(key(), box.value);
        localStorage.setItem(key(), box.value);
      }
    } catch {
      // Without storage the text lives as long as the page.
    }
  }

  // Forgets a text that was sent; what another tab typed is not it.
  function forget(text) {
    try {
      sessionStorage.removeItem(key());
      if (localStorage.getItem(key()) === text) localStorage.removeItem(key());
    } catch {
      // See above.
    }
  }

  function grow() {
    box.style.height = 'auto';
    box.style.height = `${box.scrollHeight}px`;
  }

  return { look, say: (text) => say(text, false), fill, complain, signedIn };
}

// The turn that runs in the conversation, if one does.
export function running() {
  const foot = document.querySelector('.turn:last-child .foot[data-standing="runs"], .turn:last-child .foot[data-standing="waits"]');
  return foot?.dataset.turn ?? null;
}

function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
