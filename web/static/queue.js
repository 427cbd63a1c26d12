// Messages that wait until the answer is complete: shown above the message box, and kept over a
// reload. Each has its id from the beginning, so that two tabs that send it send it once. Each
// belongs to the branch that was shown where it was written: only there it is sent.

import { attempt, keyOf } from './storage.js';

// More than anybody types ahead, and little enough for the browser's storage.
const MOST = 10;

// What waits longer than this while nobody has the page open is not sent without being asked for.
const STALE_MS = 3_600_000;

// Letters of a waiting message that are shown.
const SHOWN = 600;

// A message that is on its way for longer is shown, milliseconds.
const FLIES_MS = 400;

// Why a message is not sent by itself.
const ENDED = 'Not sent: the answer before it did not get to its end';
const UNSENT = 'Not sent: the message before it was not';
const GONE = 'Not sent: the conversation was deleted';
const LEFT = 'Not sent yet: it was written before you left';

// The same by how the conversation stands.
const NOT_SENT = { none: UNSENT, gone: GONE };

// `deliver` posts { text, id, edits } and throws what was refused; `edit` takes a text back into the
// box, `stop` ends the answer, `standing` says how the conversation stands: 'busy', 'answered', or how
// else its last turn ended; `flying` gives the message that is on its way without having waited.
export function queue({ place, deliver, edit, stop, standing, flying }) {
  const panel = document.getElementById('waiting');
  const list = panel.querySelector('ol');
  const words = panel.querySelector('.why');
  const others = panel.querySelector('.others');
  let items = load();
  if (items.some((item) => Date.now() - item.at > STALE_MS)) hold(LEFT);
  let delivering = false;
  let shown = '';

  addEventListener('storage', (event) => {
    if (event.key !== key() || !place.conversation) return;
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
  function add({ text, id, edits }) {
    if (items.length >= MOST) return false;
    items = [...items, { id, text, edits, through: place.through, at: Date.now() }];
    save();
    look();
    return true;
  }

  // Those of the branch that is shown.
  function here() {
    return items.filter(isHere);
  }

  function isHere({ through = '' }) {
    return through === (place.through ?? '');
  }

  function remove(item) {
    items = items.filter(({ id }) => id !== item.id);
    save();
    look();
  }

  async function sendNow(item) {
    // What is to be sent first is first.
    const rest = items.filter(({ id }) => id !== item.id);
    items = [{ ...item, now: true }, ...rest].map((known) => (isHere(known) ? { ...known, held: '' } : known));
    save();
    if (standing() === 'busy') await stop();
    look();
  }

  // Sends what may be sent by now, and shows what waits.
  function look() {
    const stands = standing();
    const [first] = here();
    if (first && !delivering && stands !== 'busy') {
      if (stands !== 'answered' && !first.now && !first.held) hold(NOT_SENT[stands] ?? ENDED);
      else if (first.now || !first.held) send(first);
    }
    show();
  }

  // Nothing of what waits here is sent until somebody says so, or, if that is all there is to it,
  // until Toolgate is there again.
  function hold(why, passing = false) {
    items = items.map((item) => (isHere(item) && !item.held ? { ...item, now: false, held: why, passing } : item));
    save();
  }

  // The message before them was refused.
  function keepBack() {
    if (items.some(isHere)) hold(UNSENT);
  }

  // Toolgate is there again.
  function isBack() {
    if (!items.some(({ passing }) => passing)) return;
    items = items.map((item) => (item.passing ? { ...item, held: '', passing: false } : item));
    save();
    look();
  }

  // The new chat becomes a conversation by `move`: what waits goes with it.
  function follow(move) {
    attempt(() => storage().removeItem(key()));
    move();
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
      // Of another tab's answer it is told.
      if (!error.isBusy) hold(`Not sent yet. ${error.words}`, error.isPassing);
      show();
    }
  }

  function show() {
    const mine = here();
    const busy = standing() === 'busy';
    const before = sent(mine);
    const why = before ? 'Being sent…' : mine.length > 0 ? reason(mine[0]) : '';
    const there = items.filter((item) => !isHere(item));
    const now = JSON.stringify([before, mine.map(({ id }) => id), why, busy, delivering, there.map(({ id }) => id)]);
    if (now === shown) return;
    shown = now;
    const held = list.contains(document.activeElement) ? document.activeElement.dataset.wait : null;
    words.textContent = why;
    const rows = mine.map((item, n) => row(item, n === 0 && !before, busy));
    list.replaceChildren(...(before ? [line(before)] : []), ...rows);
    showOthers(there);
    panel.hidden = rows.length === 0 && !before && there.length === 0;
    if (held === null) return;
    const next = list.querySelector(`[data-wait="${held}"]`) ?? document.getElementById('message');
    next.focus();
  }

  function reason(first) {
    if (delivering) return 'Being sent…';
    if (first.held) return first.held;
    return first.now ? 'Sent as soon as the answer has stopped' : 'Waiting until the answer is complete';
  }

  // The text of the message that those behind it wait for, or that is on its way for long.
  function sent(mine) {
    const message = flying();
    const long = message && Date.now() - message.since >= FLIES_MS;
    return message && (long || mine.length > 0) ? message.text : '';
  }

  // What waits in other branches is sent there.
  function showOthers(there) {
    const [first] = there;
    others.hidden = !first;
    if (!first) return;
    const count = there.length === 1 ? '1 message waits' : `${there.length} messages wait`;
    others.querySelector('span').textContent = `${count} in another branch of this conversation.`;
    const through = first.through ? `?turn=${encodeURIComponent(first.through)}` : '';
    others.querySelector('a').href = `/c/${place.conversation}${through}`;
  }

  function line(text) {
    const made = document.createElement('li');
    const words = document.createElement('p');
    words.className = 'text';
    words.dir = 'auto';
    words.textContent = text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
    made.append(words);
    return made;
  }

  function row(item, isNext, busy) {
    const made = line(item.text);
    made.dataset.id = item.id;
    const described = `waits-${item.id}`;
    made.firstChild.id = described;
    const buttons = document.createElement('p');
    buttons.className = 'buttons';
    if (isNext) buttons.append(button('now', busy ? 'Interrupt and ask now' : 'Ask now', '', described));
    buttons.append(button('edit', 'Edit', ' what waits', described));
    buttons.append(button('remove', 'Remove', ' what waits', described));
    made.append(buttons);
    return made;
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

  // A new chat is this tab's alone.
  function storage() {
    return place.conversation ? localStorage : sessionStorage;
  }

  function load() {
    const kept = attempt(() => JSON.parse(storage().getItem(key())));
    return Array.isArray(kept) ? kept.filter(({ id, text }) => id && text).slice(0, MOST) : [];
  }

  function save() {
    attempt(() => {
      if (items.length === 0) storage().removeItem(key());
      else storage().setItem(key(), JSON.stringify(items));
    });
  }

  return { add, look, keepBack, isBack, follow, most: MOST, isSending: () => delivering };
}
