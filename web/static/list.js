// The list of conversations: searched, renamed, deleted, and what was deleted taken back.

import { send } from './api.js';
import { attempt, userKey } from './storage.js';

// A pause in typing after which the list is searched.
const SEARCH_AFTER_MS = 250;

// How long "Undo" is offered, beside the time that somebody is at it.
const OFFERED_MS = 12_000;

// `place` is where the page is; `searched` is told when another list is wanted.
export function list({ place, searched }) {
  const nav = document.getElementById('list');
  const toasts = offers(cameBack);
  // The conversation that was taken back, until it is in the list.
  let returning = null;

  search(nav, place, searched);
  const renaming = renamer(nav, (words) => toasts.tell(words));

  nav.addEventListener('click', (event) => {
    const button = event.target.closest('[data-do]');
    if (!button) return;
    const row = button.closest('li');
    if (button.dataset.do === 'rename') renaming.begin(row);
    // Without a mouse, the focus goes on to the way back.
    if (button.dataset.do === 'delete') remove(row, event.detail === 0);
  });
  nav.addEventListener('keydown', (event) => {
    const row = event.target.closest('li[data-conversation]');
    if (!row || event.target.matches('input')) return;
    if (event.key === 'F2') renaming.begin(row);
    else if (event.key === 'Delete') remove(row, true);
    else return;
    event.preventDefault();
  });

  async function remove(row, byKey) {
    const id = row.dataset.conversation;
    const title = row.querySelector('.title').textContent;
    const focus = byKey || row.contains(document.activeElement);
    row.hidden = true;
    try {
      await send('DELETE', `/api/conversations/${id}`, {});
    } catch (error) {
      row.hidden = false;
      toasts.tell(error.words);
      return;
    }
    if (id === place.conversation) {
      toasts.keep({ id, title, focus });
      location.assign('/');
      return;
    }
    const undo = toasts.offer({ id, title });
    if (focus) undo.focus();
  }

  // Without a place in the list, the focus stands above it.
  function cameBack(id) {
    document.getElementById('new-chat').focus();
    returning = id;
    focusReturned();
  }

  function focusReturned() {
    const row = returning && rowOf(nav, returning);
    if (!row) return;
    returning = null;
    row.hidden = false;
    if (document.activeElement.id === 'new-chat') row.querySelector('a').focus();
  }

  // Puts back what was done to a list that was rendered anew.
  function look() {
    renaming.look();
    focusReturned();
    const { found } = document.getElementById('conversations').dataset;
    const words = place.search ? `${found === '0' ? 'No conversations' : found} found` : '';
    const status = document.getElementById('found');
    if (status.textContent !== words) status.textContent = words;
  }

  return { look };
}

// Searching needs no script; with one the list follows what is typed.
function search(nav, place, searched) {
  const form = nav.querySelector('form');
  const field = form.elements.search;
  let timer = 0;

  function now() {
    clearTimeout(timer);
    const words = field.value.trim();
    if (words === (place.search ?? '')) return;
    place.search = words;
    place.older = '';
    const url = new URL(location.href);
    url.searchParams.delete('older');
    if (words === '') url.searchParams.delete('search');
    else url.searchParams.set('search', words);
    history.replaceState(null, '', url);
    searched();
  }

  field.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(now, SEARCH_AFTER_MS);
  });
  field.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || field.value === '') return;
    event.preventDefault();
    field.value = '';
    now();
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    now();
  });
}

// A title is changed where it stands.
function renamer(nav, complain) {
  const form = document.createElement('form');
  form.className = 'rename';
  const field = document.createElement('input');
  field.type = 'text';
  field.id = 'rename-title';
  field.maxLength = Number(nav.dataset.titleChars);
  field.dir = 'auto';
  field.autocomplete = 'off';
  field.setAttribute('aria-label', 'Title');
  form.append(field);
  let id = null;
  let before = '';

  function begin(row) {
    if (id !== null) end();
    id = row.dataset.conversation;
    before = row.querySelector('.title').textContent;
    field.value = before;
    look();
    field.focus();
    field.select();
  }

  // Puts the field back when the list was rendered anew.
  function look() {
    if (id === null) return;
    const row = rowOf(nav, id);
    if (!row) {
      id = null;
      return;
    }
    if (row.contains(form)) return;
    const lost = document.activeElement === document.body;
    row.classList.add('renaming');
    row.prepend(form);
    if (lost) field.focus();
  }

  function end() {
    const row = rowOf(nav, id);
    id = null;
    form.remove();
    row?.classList.remove('renaming');
    row?.querySelector('a').focus();
  }

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const title = field.value.trim();
    const renamed = id;
    if (title === '' || title === before) {
      end();
      return;
    }
    try {
      await send('PATCH', `/api/conversations/${renamed}`, { title });
    } catch (error) {
      complain(error.words);
      return;
    }
    const shown = rowOf(nav, renamed)?.querySelector('.title');
    if (shown) shown.textContent = title;
    if (id === renamed) end();
  });
  field.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || event.isComposing) return;
    event.preventDefault();
    event.stopPropagation();
    end();
  });

  return { begin, look };
}

function rowOf(nav, conversation) {
  return nav.querySelector(`li[data-conversation="${CSS.escape(conversation)}"]`);
}

// What was deleted, with the way back: it stays while somebody is at it, and over the way to
// another page. `cameBack` is told of what was taken back.
function offers(cameBack) {
  const place = document.getElementById('toasts');
  const key = userKey('deleted');

  const kept = attempt(() => JSON.parse(sessionStorage.getItem(key)));
  attempt(() => sessionStorage.removeItem(key));
  if (kept) {
    const undo = offer(kept);
    if (kept.focus) undo.focus();
  }

  function keep(deleted) {
    attempt(() => sessionStorage.setItem(key, JSON.stringify(deleted)));
  }

  function offer({ id, title }) {
    const toast = show();
    const name = document.createElement('bdi');
    name.textContent = title;
    const words = document.createElement('span');
    words.append('Deleted “', name, '”.');
    const undo = document.createElement('button');
    undo.type = 'button';
    undo.className = 'second';
    undo.textContent = 'Undo';
    undo.addEventListener('click', async () => {
      undo.disabled = true;
      try {
        await send('POST', `/api/conversations/${id}/restore`, {});
        toast.remove();
        cameBack(id);
      } catch (error) {
        words.textContent = error.words;
        undo.disabled = false;
      }
    });
    toast.append(words, undo);
    return undo;
  }

  function tell(message) {
    const words = document.createElement('span');
    words.textContent = message;
    show().append(words);
  }

  function show() {
    const toast = document.createElement('p');
    toast.className = 'toast';
    place.append(toast);
    let timer = 0;
    const go = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        if (toast.matches(':hover, :focus-within')) go();
        else toast.remove();
      }, OFFERED_MS);
    };
    toast.addEventListener('mouseleave', go);
    toast.addEventListener('focusout', go);
    toast.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      event.preventDefault();
      toast.remove();
    });
    go();
    return toast;
  }

  return { offer, keep, tell };
}
