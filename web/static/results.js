// Results of calls: read when their card is opened, sorted, drawn and opened further in place.
// Without this, every link and form here leads to the result's own page.

import { fragment } from './api.js';
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
  try {
    place.replaceChildren(await fragment(place.dataset.load));
  } catch (error) {
    place.replaceChildren(again(error.words, place));
  } finally {
    place.removeAttribute('aria-busy');
  }
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
  const adds = what === 'more' && place.querySelectorAll('tbody > tr').length < MOST_ROWS;
  const first = adds ? `&first=${place.querySelector('.pager').dataset.first}` : '';
  place.setAttribute('aria-busy', 'true');
  let came;
  try {
    came = await fragment(`${address}&part=${part}${first}`);
  } catch (error) {
    place.append(words(error.words));
    return;
  } finally {
    place.removeAttribute('aria-busy');
  }
  if (what === 'tree') openTree(place, from, came);
  else if (adds) addRows(place, came);
  else swap(place, from, came);
}

function openTree(place, link, came) {
  const first = came.querySelector('li');
  const key = place.querySelector('.key');
  if (!key) {
    place.replaceWith(came);
  } else {
    const list = document.createElement('ul');
    list.append(came);
    link.replaceWith(list);
  }
  focus(first?.querySelector('summary, a') ?? first);
}

function addRows(place, came) {
  const rows = [...came.querySelectorAll('tbody > tr')];
  const [first] = rows;
  place.querySelector('tbody').append(...rows);
  const pager = came.querySelector('.pager');
  place.querySelector('.pager').replaceWith(pager);
  focus(pager.querySelector('a') ?? first);
}

// Where the focus was it is again: on the same link or button.
function swap(place, from, came) {
  const before = [...place.querySelectorAll('thead a, .views a, .pager a, button')].indexOf(
    from.matches('form') ? from.querySelector('button') : from,
  );
  const fresh = came.querySelector('div.rows');
  const scrolled = place.querySelector('.sheet-scroll')?.scrollLeft;
  place.replaceWith(came);
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

function words(text) {
  const line = document.createElement('p');
  line.className = 'step';
  line.setAttribute('role', 'alert');
  line.textContent = text;
  return line;
}
