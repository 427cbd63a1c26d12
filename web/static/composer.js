// The message box: sends, stops, and never loses what was typed.

import { announce } from './announce.js';
import { messageId, post } from './api.js';
import { drafts } from './drafts.js';
import { grow } from './grow.js';
import { queue } from './queue.js';
import { isGone, isShown, lastEnd, lastTurn, running, runningHere } from './standing.js';
import { troubles } from './trouble.js';

const RETRIES = 2;
const RETRY_MS = 700;

// A message that is on its way for longer is shown.
const FLIES_MS = 400;

// How long a turn that was begun may take to show on the page before the next message is tried.
const SHOWS_WITHIN_MS = 10_000;

// `place` is where the page is; `chosen` gives the model and what is switched off, as a post takes
// them; `moved` is told of a conversation that has begun, `resent` when a turn was asked again,
// `sent` when a message was accepted.
export function composer({ place, chosen, moved, resent, sent }) {
  const form = document.getElementById('composer');
  const box = document.getElementById('message');
  const send = document.getElementById('send');
  const stop = document.getElementById('stop');
  const limit = Number(document.body.dataset.messageBytes);
  const kept = drafts(place);
  const trouble = troubles();
  // The message that is on its way: { text, since }.
  let flying = null;
  // The turn that was begun last, or is in the way of a message, while the page does not show it.
  let begun = null;
  // Whether a finger was the last to press anything.
  let touched = false;

  box.value = box.value || kept.read();
  grow(box);

  const waiting = queue({ place, deliver: sendWaiting, edit, stop: cancel, standing, flying: () => flying });

  box.addEventListener('input', () => {
    kept.keep(box.value);
    grow(box);
    look();
    trouble.over('text');
  });
  box.addEventListener('keydown', (event) => {
    // Enter while a word is being composed chooses the word.
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
    // What runs in another branch only the button stops.
    if (!document.body.classList.contains('drawn') && (runningHere() ?? begun)) cancel();
  });
  addEventListener('storage', (event) => {
    // Another tab of this conversation typed or sent. What was typed here stays.
    if (event.key !== kept.key() || !place.conversation || document.activeElement === box) return;
    const sentThere = event.newValue === null && box.value === event.oldValue;
    if (box.value !== '' && !sentThere) return;
    box.value = event.newValue ?? '';
    grow(box);
    look();
  });
  addEventListener('online', isBack);
  addEventListener('pointerdown', ({ pointerType }) => { touched = pointerType === 'touch'; }, true);
  addEventListener('keydown', () => { touched = false; }, true);

  function submit() {
    say(box.value, { typed: true });
  }

  // Asks, at once or when what is being answered is complete. `typed` if it is what stands in the
  // box, `edits` the turn whose place it takes. Gives whether it is on its way.
  async function say(text, { typed = false, edits } = {}) {
    if (text.trim() === '' || isGone() || isTooLong(text)) return false;
    const before = kept.sending();
    // The same text again after a failure is the same message: it keeps its id.
    const same = before && !before.flying && before.text === text && before.edits === edits;
    const message = { text, edits, id: same ? before.id : messageId() };
    if (standing() !== 'busy' && !waiting.isSending()) return fly(message, typed);
    if (!wait(message)) return false;
    if (typed) empty(text);
    return true;
  }

  // The message waits until the answer is complete; false when too many do.
  function wait(message) {
    if (!waiting.add(message)) {
      trouble.tell([`${waiting.most} messages wait already.`, 'Remove one, or wait for the answer.']);
      return false;
    }
    announce('Your message waits until the answer is complete.');
    return true;
  }

  // Posts a message. Gives whether it is on its way; what was typed and refused is in the box again.
  async function fly(message, typed) {
    // A page that is loaded anew meanwhile sends it again, under this id.
    kept.keepSending({ ...message, typed, flying: true });
    flying = { text: message.text, since: Date.now() };
    setTimeout(look, FLIES_MS);
    trouble.forget();
    if (typed && box.value === message.text) {
      // In the browser's storage it stays until it has arrived.
      box.value = '';
      grow(box);
    }
    look();
    try {
      const posted = await deliver(message);
      if (typed) kept.forget(message.text);
      kept.forgetSending();
      arrived(posted, message);
      return true;
    } catch (error) {
      return missed(message, typed, error);
    } finally {
      flying = null;
      look();
    }
  }

  // What becomes of a message that was not taken.
  function missed(message, typed, error) {
    if (error.isBusy && wait(message)) {
      kept.forgetSending();
      if (typed) kept.forget(message.text);
      kept.keep(box.value);
      expect(error.turn);
      return true;
    }
    kept.keepSending(message);
    waiting.keepBack();
    if (typed || (!message.edits && box.value === '')) fill(message.text);
    trouble.refused(error);
    return false;
  }

  // Posts a message that has waited; throws Refused.
  async function sendWaiting(message) {
    try {
      arrived(await deliver(message), message);
    } catch (error) {
      if (error.isBusy) expect(error.turn);
      throw error;
    }
  }

  function arrived(posted, message) {
    expect(posted.turn);
    document.getElementById('hero').hidden = true;
    if (place.conversation !== posted.conversation) {
      // What is typed and what waits goes with it.
      kept.forget(box.value);
      waiting.follow(() => moved(posted.conversation));
      kept.keep(box.value);
    }
    if (message.edits) resent();
    sent();
  }

  // The page will show this turn; until then the conversation is busy.
  function expect(turn) {
    begun = turn;
    setTimeout(() => {
      if (begun === turn) begun = null;
      look();
    }, SHOWS_WITHIN_MS);
  }

  async function deliver({ text, id, edits }) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const body = { message_id: id, message: text, edits, ...chosen() };
        if (place.conversation) body.conversation = place.conversation;
        // On an older branch the question follows what is shown.
        if (place.through && !edits) body.after = lastTurn();
        return await post('/api/messages', body);
      } catch (error) {
        // Only what may not have arrived is sent again; by its id it counts once.
        if (error.status !== 0 || attempt === RETRIES) throw error;
        await new Promise((done) => setTimeout(done, RETRY_MS * (attempt + 1)));
      }
    }
  }

  function isTooLong(text) {
    if (new TextEncoder().encode(text).length <= limit) return false;
    const advice = 'Shorten it, or split it into several messages.';
    trouble.tell([`The message is longer than ${limit / 1024} KiB.`, advice], 'text');
    return true;
  }

  // How the conversation stands: 'gone' if it was deleted, 'busy' while a turn runs, else how the
  // last turn that is shown ended.
  function standing() {
    if (begun && isShown(begun)) begun = null;
    if (isGone()) return 'gone';
    return flying || begun || running() ? 'busy' : lastEnd();
  }

  async function cancel() {
    const turn = running() ?? begun;
    if (!turn) return;
    // A disabled button lets the focus go.
    if (document.activeElement === stop && !touched) box.focus();
    stop.disabled = true;
    try {
      await post(`/api/turns/${turn}/cancel`, {});
    } catch (error) {
      // One that has ended meanwhile needs no stopping.
      if (error.status !== 409) trouble.refused(error);
      stop.disabled = false;
    }
  }

  // Puts a text in the box, before what stands there.
  function fill(text) {
    box.value = box.value.trim() === '' ? text : `${text}\n\n${box.value}`;
    kept.keep(box.value);
    grow(box);
    look();
  }

  // The same, to be gone on with.
  function edit(text) {
    fill(text);
    box.focus();
  }

  // Takes a text that waits now out of the box.
  function empty(text) {
    kept.forget(text);
    if (box.value === text) box.value = '';
    kept.keep(box.value);
    grow(box);
    look();
  }

  // Shows what can be done now.
  function look() {
    const busy = standing() === 'busy';
    const turn = running() ?? begun;
    if (stop.dataset.turn !== (turn ?? '')) {
      stop.dataset.turn = turn ?? '';
      stop.disabled = false;
    }
    const focused = document.activeElement;
    stop.hidden = !turn;
    stop.title = turn && turn === running() && !runningHere() ? 'Ends the answer in the other branch' : 'Stop (Esc)';
    const nothing = box.value.trim() === '';
    send.hidden = Boolean(turn) && nothing;
    send.disabled = nothing || isGone();
    send.title = busy ? 'Sent when the answer is complete' : '';
    // Who pressed it goes on typing; on a touchscreen a keyboard would come up.
    const gone = (focused === stop || focused === send) && (focused.hidden || focused.disabled);
    if (gone && !touched) box.focus();
    document.getElementById('hero').hidden = document.querySelector('.turn') !== null;
    for (const button of document.querySelectorAll('[data-do="say"]')) button.disabled = busy;
    waiting.look();
  }

  // The page has its stream again: the session lives, and Toolgate is there.
  function isBack() {
    trouble.over('session', 'connection');
    waiting.isBack();
  }

  // Sends what was being sent when the page was loaded anew: it may not have arrived.
  function resume() {
    const before = kept.sending();
    if (before?.flying) fly({ text: before.text, edits: before.edits, id: before.id }, before.typed);
  }

  return { look, say, isBack, resume };
}
