// Results of calls: read when their card is opened, sorted, drawn and opened further in place.
// Without this, every link and form here leads to the result's own page.

import { copy } from './copy.js';

// Rows that stay on the page when more are asked for: further on there is the result's own page.
const MOST_ROWS = 2000;

// Results far below are read when they come near.
const NEAR = '600px';

const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    load(target);
  }
}, { rootMargin: NEAR });

export function results() {
  document.addEventListener('toggle', (event) => {
    if (event.target.open) look(event.target);
  }, true);
  for (const details of document.querySelectorAll('.call details[open]')) look(details);
  document.addEventListener('click', onClick);
  document.addEventListener('submit', onSubmit);
}

function look(details) {
  for (const place of details.querySelectorAll('[data-load]')) near.observe(place);
}

const loaded = new WeakSet();

async function load(place) {
  if (loaded.has(place)) return;
  loaded.add(place);
  place.setAttribute('aria-busy', 'true');
  const { fragment, trouble } = await read(place.dataset.load);
  place.removeAttribute('aria-busy');
  if (fragment) place.replaceChildren(fragment);
  else place.replaceChildren(again(trouble, place));
}

function again(trouble, place) {
  const line = document.createElement('p');
  line.className = 'step';
  line.setAttribute('role', 'alert');
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'second';
  button.textContent = 'Read the result again';
  button.addEventListener('click', () => {
    loaded.delete(place);
    load(place);
  });
  line.append(`${trouble} `, button);
  return line;
}

function onClick(event) {
  const button = event.target.closest('[data-copy]');
  if (button) copy(button, async () => button.dataset.copy);
  const link = event.target.closest('a[data-result]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  follow(link, link.href, link.dataset.result);
}

function onSubmit(event) {
  const form = event.target.closest('form[data-result]');
  if (!form) return;
  event.preventDefault();
  const query = new URLSearchParams(new FormData(form));
  follow(form, `${form.action}?${query}`, form.dataset.result);
}

// Puts what the address has into the place of what is there.
async function follow(from, address, what) {
  const place = what === 'tree' ? from.closest('li') : from.closest('div.rows');
  if (!place || place.getAttribute('aria-busy')) return;
  const part = what === 'tree' ? 'tree' : 'table';
  place.setAttribute('aria-busy', 'true');
  const { fragment, trouble } = await read(`${address}&part=${part}`);
  place.removeAttribute('aria-busy');
  if (!fragment) {
    place.append(words(trouble));
  } else if (what === 'tree') {
    openTree(place, from, fragment);
  } else if (what === 'more' && place.querySelectorAll('tbody > tr').length < MOST_ROWS) {
    addRows(place, fragment);
  } else {
    swap(place, from, fragment);
  }
}

function openTree(place, link, fragment) {
  const first = fragment.querySelector('li');
  const key = place.querySelector('.key');
  if (!key) {
    place.replaceWith(fragment);
  } else {
    const list = document.createElement('ul');
    list.append(fragment);
    link.replaceWith(list);
  }
  focus(first?.querySelector('summary, a') ?? first);
}

function addRows(place, fragment) {
  const rows = [...fragment.querySelectorAll('tbody > tr')];
  const [first] = rows;
  place.querySelector('tbody').append(...rows);
  const pager = fragment.querySelector('.pager');
  // What was there stays: there is nothing before.
  pager.querySelector('[data-result="table"]')?.remove();
  const shown = pager.firstChild;
  shown.textContent = shown.textContent.replace(/\d+/, '1').replace(/[\s·]+$/, '') + ' · ';
  if (!pager.querySelector('a')) shown.textContent = shown.textContent.replace(/[\s·]+$/, '');
  place.querySelector('.pager').replaceWith(pager);
  focus(pager.querySelector('a') ?? first);
}

// Where the focus was it is again: on the same link or button.
function swap(place, from, fragment) {
  const before = [...place.querySelectorAll('thead a, .views a, .pager a, button')].indexOf(
    from.matches('form') ? from.querySelector('button') : from,
  );
  const fresh = fragment.querySelector('div.rows');
  const scrolled = place.querySelector('.sheet-scroll')?.scrollLeft;
  place.replaceWith(fragment);
  const table = fresh.querySelector('.sheet-scroll');
  if (table && scrolled) table.scrollLeft = scrolled;
  const same = fresh.querySelectorAll('thead a, .views a, .pager a, button')[before];
  focus(same ?? fresh.querySelector('a'));
}

function focus(element) {
  if (!element) return;
  if (!element.matches('a, button, summary')) element.tabIndex = -1;
  element.focus({ preventScroll: true });
}

// HTML of the server's, or words about why there is none.
async function read(path) {
  try {
    // A redirect would lead to a sign-in page of another origin.
    const response = await fetch(path, {
      headers: { Accept: 'text/html' }, redirect: 'manual', cache: 'no-store',
    });
    if (response.ok) {
      const template = document.createElement('template');
      template.innerHTML = await response.text();
      return { fragment: document.importNode(template.content, true) };
    }
    const ended = response.status === 401 || response.type === 'opaqueredirect';
    if (ended) return { trouble: 'Your session has ended. Sign in again.' };
    return { trouble: `The result could not be read (status ${response.status}).` };
  } catch {
    return { trouble: 'Toolgate could not be reached.' };
  }
}

function words(text) {
  const line = document.createElement('p');
  line.className = 'step';
  line.setAttribute('role', 'alert');
  line.textContent = text;
  return line;
}
