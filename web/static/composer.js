// The message box: sends, stops, and never loses what was typed.

import { announce } from './announce.js';
import { messageId, post } from './api.js';
import { drafts } from './drafts.js';
import { queue } from './queue.js';

const RETRIES = 2;
const RETRY_MS = 700;

// Letters that fill the box to its greatest height, however short its lines are.
const TALLEST_LETTERS = 20_000;

// How long a turn that was begun may take to show on the page before the next message is tried.
const SHOWS_WITHIN_MS = 10_000;

// `place` is where the page is; `chosen` gives the model and what is switched off, as a post takes
// them; `moved` is told of a conversation that has begun, `sent` when a message was accepted.
export function composer({ place, chosen, moved, sent }) {
  const form = document.getElementById('composer');
  const box = document.getElementById('message');
  const send = document.getElementById('send');
  const stop = document.getElementById('stop');
  const trouble = document.getElementById('trouble');
  const limit = Number(document.body.dataset.messageBytes);
  const kept = drafts(place);
  let sending = false;
  // The turn that was begun last, while the page does not show it.
  let begun = null;

  box.value = box.value || kept.read();
  grow();

  const waiting = queue({ place, deliver: sendWaiting, edit: fill, stop: cancel, standing });

  box.addEventListener('input', () => {
    kept.keep(box.value);
    grow();
    look();
    if (trouble.dataset.about === 'text') complain('');
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
    if (!document.body.classList.contains('drawn') && running()) cancel();
  });
  addEventListener('storage', (event) => {
    // Another tab of this conversation typed or sent. What was typed here stays.
    if (event.key !== kept.key() || !place.conversation || document.activeElement === box) return;
    const sentThere = event.newValue === null && box.value === event.oldValue;
    if (box.value !== '' && !sentThere) return;
    box.value = event.newValue ?? '';
    grow();
    look();
  });

  function submit() {
    if (sending || box.value.trim() === '') return;
    if (standing() === 'busy' || waiting.isSending()) wait();
    else say(box.value, { typed: true });
  }

  // The message waits until the answer is complete.
  function wait() {
    const text = box.value;
    if (isTooLong(text)) return;
    if (!waiting.add(text)) {
      complain('Ten messages wait already.', 'Remove one, or wait for the answer.');
      return;
    }
    clear(text);
    look();
    announce('Your message waits until the answer is complete.');
  }

  // Posts a message; `typed` if it is what stands in the box, `edits` the turn whose place it takes,
  // `id` if it has one already. Gives what it began, null when it was refused.
  async function say(text, { typed = false, edits, id } = {}) {
    if (sending || text.trim() === '' || isTooLong(text)) return null;
    const before = kept.sending();
    // The same text again after a failure is the same message: it keeps its id.
    const same = before?.text === text && before.edits === edits;
    const message = { text, edits, id: id ?? (same ? before.id : messageId()) };
    // A page that is loaded anew meanwhile sends it again, under this id.
    kept.keepSending({ ...message, typed, flying: true });
    sending = true;
    complain('');
    look();
    try {
      const posted = await deliver(message);
      kept.forgetSending();
      if (typed) clear(text);
      arrived(posted, text);
      return posted;
    } catch (error) {
      kept.keepSending(message);
      if (!typed && !edits && box.value === '') fill(text);
      complain(error.message, error.advice, error);
      return null;
    } finally {
      sending = false;
      look();
    }
  }

  // Posts a message that has waited; throws Refused.
  async function sendWaiting(message) {
    arrived(await deliver(message), message.text);
  }

  function arrived(posted, text) {
    begun = posted.turn;
    setTimeout(() => {
      if (begun === posted.turn) begun = null;
      look();
    }, SHOWS_WITHIN_MS);
    document.getElementById('hero').hidden = true;
    if (place.conversation !== posted.conversation) {
      kept.forget(text);
      moved(posted.conversation);
      kept.keep(box.value);
    }
    sent();
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
    complain(`The message is longer than ${limit / 1024} KiB.`, 'Shorten it, or split it into several messages.');
    trouble.dataset.about = 'text';
    return true;
  }

  // How the conversation stands: 'busy' while a turn runs, else how its last turn ended.
  function standing() {
    if (begun && document.querySelector(`.foot[data-turn="${CSS.escape(begun)}"]`)) begun = null;
    if (sending || begun || running()) return 'busy';
    return document.querySelector('.turn:last-child .foot')?.dataset.standing ?? 'none';
  }

  async function cancel() {
    const turn = running() ?? begun;
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
    kept.keep(box.value);
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
    const empty = box.value.trim() === '';
    send.hidden = Boolean(turn) && empty;
    send.disabled = sending || empty;
    send.title = turn ? 'Sent when the answer is complete' : '';
    if ((focused === stop || focused === send) && focused.hidden) box.focus();
    document.getElementById('hero').hidden = document.querySelector('.turn') !== null;
    for (const button of document.querySelectorAll('[data-do="say"]')) button.disabled = Boolean(turn) || sending;
    waiting.look();
  }

  function clear(text) {
    kept.forget(text);
    // What was typed while the message was on its way stays.
    box.value = box.value.startsWith(text) ? box.value.slice(text.length).trimStart() : box.value;
    if (box.value !== '') kept.keep(box.value);
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

  function grow() {
    // Measuring a very long text costs more than the box is tall.
    if (box.value.length > TALLEST_LETTERS) {
      box.style.height = '38vh';
      return;
    }
    box.style.height = 'auto';
    box.style.height = `${box.scrollHeight}px`;
  }

  // Sends what was being sent when the page was loaded anew: it may not have arrived.
  function resume() {
    const before = kept.sending();
    if (before?.flying) say(before.text, before);
  }

  return { look, say, fill, complain, signedIn, resume };
}

function lastTurn() {
  return document.querySelector('.turn:last-child')?.dataset.turn;
}

// The turn that runs in the conversation, if one does.
export function running() {
  const foot = document.querySelector('.turn:last-child .foot[data-standing="runs"], .turn:last-child .foot[data-standing="waits"]');
  return foot?.dataset.turn ?? null;
}
