// A question once more: edited, or as it was. The new turn takes the old one's place; the old one
// stays, as another version of the question.

import { announce } from './announce.js';
import { get } from './api.js';
import { grow } from './grow.js';
import { running } from './standing.js';
import { attempt, userKey } from './storage.js';

const BUTTONS = '[data-do="edit"], [data-do="regenerate"], [data-do="try-again"], .edit [type="submit"]';

// `say` sends a text, in the place of the turn that it `edits`, and gives whether it is on its way.
export function resend(say) {
  let shown = '';

  async function ask(turn, text) {
    const taken = await say(text, { edits: turn.dataset.turn });
    // The button that was pressed goes away with its turn.
    if (taken) document.getElementById('message').focus({ preventScroll: true });
    return taken;
  }

  // Asks the question of the turn once more.
  async function onceMore(button) {
    const turn = button.closest('.turn');
    button.disabled = true;
    const text = await original(turn);
    if (text === null || !(await ask(turn, text))) button.disabled = false;
  }

  // Puts the question of the turn into a box in its place.
  async function edit(button) {
    const turn = button.closest('.turn');
    if (turn.querySelector('.edit')) return;
    const key = `${userKey('edit')}:${turn.dataset.turn}`;
    const kept = attempt(() => sessionStorage.getItem(key)) ?? null;
    const form = editor(turn, kept ?? '');
    const box = form.querySelector('textarea');
    // What is typed before the question has come goes on from its end.
    let whole = kept !== null;

    function close() {
      form.remove();
      for (const part of turn.querySelectorAll('.message, .asked')) part.hidden = false;
      turn.querySelector('[data-do="edit"]').focus();
    }

    box.addEventListener('input', () => {
      if (whole) attempt(() => sessionStorage.setItem(key, box.value));
      grow(box);
    });
    form.addEventListener('keydown', (event) => {
      if (event.isComposing || event.keyCode === 229) return;
      if (event.key === 'Escape') {
        event.preventDefault();
        close();
      } else if (event.key === 'Enter' && event.target === box && !event.shiftKey) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    form.querySelector('[type="button"]').addEventListener('click', () => {
      attempt(() => sessionStorage.removeItem(key));
      close();
    });
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      if (!whole || running() || box.value.trim() === '') return;
      box.readOnly = true;
      if (await ask(turn, box.value)) {
        attempt(() => sessionStorage.removeItem(key));
        close();
        document.getElementById('message').focus({ preventScroll: true });
      } else {
        box.readOnly = false;
      }
    });
    for (const part of turn.querySelectorAll('.message, .asked')) part.hidden = true;
    turn.querySelector('.message').before(form);
    grow(box);
    box.focus();
    box.setSelectionRange(box.value.length, box.value.length);
    look(true);
    if (whole) return;
    const text = await original(turn);
    if (!form.isConnected) return;
    if (text === null) {
      close();
      return;
    }
    whole = true;
    box.value = text + box.value;
    box.setSelectionRange(box.value.length, box.value.length);
    grow(box);
  }

  // While a turn runs nothing else can be asked.
  function look(anew = false) {
    const last = document.querySelector('.turn:last-child')?.id ?? '';
    const now = `${running() ?? ''} ${last}`;
    if (now === shown && !anew) return;
    shown = now;
    const busy = running() !== null;
    for (const button of document.querySelectorAll(BUTTONS)) button.disabled = busy;
  }

  return { again: onceMore, edit, look };
}

// What was asked, letter by letter; null if it cannot be had. The page spells invisible letters out.
async function original(turn) {
  try {
    const { transcript } = await get(`/api/turns/${turn.dataset.turn}`);
    return transcript.started.message;
  } catch (error) {
    announce(error.message);
    return null;
  }
}

function editor(turn, text) {
  const form = document.createElement('form');
  form.className = 'edit';
  const label = document.createElement('label');
  label.className = 'hidden';
  label.textContent = 'Edit your question';
  const box = document.createElement('textarea');
  box.id = `${turn.id}-edit`;
  box.dir = 'auto';
  box.rows = 1;
  box.value = text;
  label.htmlFor = box.id;
  const buttons = document.createElement('div');
  buttons.className = 'buttons';
  const send = document.createElement('button');
  send.type = 'submit';
  send.textContent = 'Save and ask';
  const cancel = document.createElement('button');
  cancel.type = 'button';
  cancel.className = 'second';
  cancel.textContent = 'Cancel';
  buttons.append(send, cancel);
  form.append(label, box, buttons);
  return form;
}
