// Messages that wait until the answer is complete: shown above the message box, and kept over a
// reload. Each has its id from the beginning, so that two tabs that send it send it once.

import { messageId } from './api.js';
import { attempt, keyOf } from './storage.js';

// More than anybody types ahead, and little enough for the browser's storage.
const MOST = 10;

// What waits longer than this while nobody has the page open is not sent without being asked for.
const STALE_MS = 3_600_000;

// Letters of a waiting message that are shown.
const SHOWN = 600;

// Why a message is not sent by itself.
const ENDED = 'Not sent: the answer before it did not get to its end';
const LEFT = 'Not sent yet: it was written before you left';

// `deliver` posts { text, id } and throws what was refused; `edit` takes a text back into the box,
// `stop` ends the answer, `standing` says how the conversation stands: 'busy', 'answered', or how
// else its last turn ended.
export function queue({ place, deliver, edit, stop, standing }) {
  const panel = document.getElementById('waiting');
  const list = panel.querySelector('ol');
  const words = panel.querySelector('.why');
  let items = load();
  if (items.some((item) => Date.now() - item.at > STALE_MS)) hold(LEFT);
  let delivering = false;
  let shown = '';

  addEventListener('storage', (event) => {
    if (event.key !== key()) return;
    items = load();
    look();
  });

  panel.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    const item = button && items.find(({ id }) => id === button.closest('li').dataset.id);
    if (!item) return;
    if (button.dataset.wait === 'edit') {
      remove(item);
      edit(item.text);
    }
    if (button.dataset.wait === 'remove') remove(item);
    if (button.dataset.wait === 'now') sendNow(item);
  });

  // Lets a message wait; false when too many do.
  function add(text) {
    if (items.length >= MOST) return false;
    items = [...items, { id: messageId(), text, at: Date.now() }];
    save();
    look();
    return true;
  }

  function remove(item) {
    items = items.filter(({ id }) => id !== item.id);
    save();
    look();
  }

  async function sendNow(item) {
    // What is to be sent first is first.
    const others = items.filter(({ id }) => id !== item.id);
    items = [{ ...item, now: true }, ...others].map((known) => ({ ...known, held: '' }));
    save();
    if (standing() === 'busy') await stop();
    look();
  }

  // Sends what may be sent by now, and shows what waits.
  function look() {
    const stands = standing();
    const [first] = items;
    if (first && !delivering && stands !== 'busy') {
      if (stands !== 'answered' && !first.now && !first.held) hold(ENDED);
      else if (first.now || !first.held) send(first);
    }
    show();
  }

  // Nothing of what waits is sent until somebody says so.
  function hold(why) {
    items = items.map((item) => ({ ...item, now: false, held: item.held || why }));
    save();
  }

  async function send(item) {
    delivering = true;
    try {
      await deliver(item);
      delivering = false;
      remove(item);
    } catch (error) {
      delivering = false;
      hold(`Not sent yet. ${error.words}`);
      show();
    }
  }

  function show() {
    const [first] = items;
    const busy = standing() === 'busy';
    const why = !first ? '' : reason(first);
    const now = JSON.stringify([items.map(({ id }) => id), why, busy, delivering]);
    if (now === shown) return;
    shown = now;
    const held = list.contains(document.activeElement) ? document.activeElement.dataset.wait : null;
    words.textContent = why;
    list.replaceChildren(...items.map((item, n) => row(item, n, busy)));
    panel.hidden = items.length === 0;
    if (held === null) return;
    const next = list.querySelector(`[data-wait="${held}"]`) ?? document.getElementById('message');
    next.focus();
  }

  function reason(first) {
    if (delivering) return 'Being sent…';
    if (first.held) return first.held;
    return first.now ? 'Sent as soon as the answer has stopped' : 'Waiting until the answer is complete';
  }

  function row(item, n, busy) {
    const line = document.createElement('li');
    line.dataset.id = item.id;
    const text = document.createElement('p');
    text.className = 'text';
    text.dir = 'auto';
    text.id = `waits-${item.id}`;
    text.textContent = item.text.length > SHOWN ? `${item.text.slice(0, SHOWN)}…` : item.text;
    line.append(text);
    const buttons = document.createElement('p');
    buttons.className = 'buttons';
    if (n === 0) buttons.append(button('now', busy ? 'Interrupt and ask now' : 'Ask now', '', text.id));
    buttons.append(button('edit', 'Edit', ' the waiting message', text.id));
    buttons.append(button('remove', 'Remove', ' the waiting message', text.id));
    line.append(buttons);
    return line;
  }

  function button(what, word, rest, described) {
    const made = document.createElement('button');
    made.type = 'button';
    made.className = 'second';
    made.dataset.wait = what;
    made.disabled = delivering;
    made.setAttribute('aria-describedby', described);
    made.append(word);
    if (rest === '') return made;
    const hidden = document.createElement('span');
    hidden.className = 'hidden';
    hidden.textContent = rest;
    made.append(hidden);
    return made;
  }

  function key() {
    return keyOf('queue', place);
  }

  function load() {
    const kept = attempt(() => JSON.parse(localStorage.getItem(key())));
    return Array.isArray(kept) ? kept.filter(({ id, text }) => id && text).slice(0, MOST) : [];
  }

  function save() {
    attempt(() => {
      if (items.length === 0) localStorage.removeItem(key());
      else localStorage.setItem(key(), JSON.stringify(items));
    });
  }

  return { add, look, isSending: () => delivering };
}
