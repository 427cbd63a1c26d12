// The traffic pages: rows load what they open to, a running turn is kept up to date, copies are
// made, times are the reader's own. Without this all of it is links.

import './alive.js';
import { fragment } from './api.js';
import { copy } from './copy.js';

const EVERY_MS = 1500;

// Looks in vain after which a page is left as it is.
const TRIES = 20;

// What the server has for this, or nothing: the links lead there as well.
async function part(path) {
  try {
    return await fragment(`${path}${path.includes('?') ? '&' : '?'}part`);
  } catch {
    return null;
  }
}

// Loads what an open row shows.
async function load(row) {
  if (row.dataset.loaded) return;
  row.dataset.loaded = 'yes';
  const came = await part(row.dataset.part);
  if (came === null) {
    delete row.dataset.loaded;
    return;
  }
  localTimes(came);
  const inside = row.querySelector('.inside');
  inside.replaceChildren(came, inside.querySelector(':scope > p'));
}

document.addEventListener('toggle', ({ target }) => {
  if (target.matches('details[data-part][open]')) load(target);
}, true);

document.addEventListener('click', ({ target }) => {
  const button = target.closest('[data-copy], [data-copy-from]');
  if (!button) return;
  const { copy: text, copyFrom } = button.dataset;
  copy(button, async () => text ?? document.getElementById(copyFrom).textContent);
});

// Up and down go from row to row.
document.addEventListener('keydown', (event) => {
  if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  if (!event.target.matches('.exchange > summary')) return;
  const rows = [...document.querySelectorAll('.exchange > summary')];
  const next = rows[rows.indexOf(event.target) + (event.key === 'ArrowDown' ? 1 : -1)];
  if (!next) return;
  event.preventDefault();
  next.focus();
});

// Puts what is new into a list, and leaves alone what its reader has opened.
function refresh(list, fresh) {
  for (const [index, row] of [...fresh.children].entries()) {
    const known = document.getElementById(row.id);
    if (!known) {
      list.insertBefore(row, list.children[index] ?? null);
      continue;
    }
    const [before, after] = [known.firstElementChild, row.firstElementChild];
    const changed = before.dataset.state !== after.dataset.state;
    Object.assign(before.dataset, after.dataset);
    if (changed) {
      delete before.dataset.loaded;
      if (before.open) load(before);
    }
    const [summary, now] = [before.querySelector('summary'), after.querySelector('summary')];
    if (summary.innerHTML !== now.innerHTML) summary.replaceChildren(...now.childNodes);
  }
}

// Keeps a running turn up to date, until it has ended.
async function follow() {
  let tries = 0;
  while (document.querySelector('#waterfall[data-running]') && tries < TRIES) {
    await new Promise((done) => { setTimeout(done, EVERY_MS); });
    if (document.visibilityState === 'hidden') continue;
    const came = await part(location.pathname);
    tries = came === null ? tries + 1 : 0;
    if (came !== null) replace(came.getElementById('waterfall'));
  }
}

function replace(fresh) {
  localTimes(fresh);
  const page = document.getElementById('waterfall');
  const lists = [page, fresh].map((of) => [...of.querySelectorAll('.exchanges')]);
  if (lists[0].length !== lists[1].length) {
    // A part that was not there: nothing in it can be open.
    page.replaceWith(fresh);
    return;
  }
  if (!('running' in fresh.dataset)) delete page.dataset.running;
  for (const part of ['.totals', '.legend']) {
    const [before, after] = [page.querySelector(part), fresh.querySelector(part)];
    if (before && after) before.replaceWith(after);
  }
  lists[0].forEach((list, index) => refresh(list, lists[1][index]));
}

// A moment as the server writes it, in the reader's own zone: 2026-11-22 20:30:05 +01:00.
function local(moment) {
  const ahead = -moment.getTimezoneOffset();
  const there = new Date(moment.getTime() + ahead * 60_000).toISOString();
  const two = (number) => String(number).padStart(2, '0');
  const zone = `${two(Math.trunc(Math.abs(ahead) / 60))}:${two(Math.abs(ahead) % 60)}`;
  return `${there.slice(0, 10)} ${there.slice(11, 19)} ${ahead < 0 ? '-' : '+'}${zone}`;
}

// Times in the reader's own zone; what the server wrote, in UTC, is their title.
function localTimes(within) {
  for (const time of within.querySelectorAll('time[datetime]:not([title])')) {
    time.title = time.textContent;
    time.textContent = local(new Date(time.dateTime));
  }
}

localTimes(document);
// What was opened before this script was there, or by the browser on a reload.
document.querySelectorAll('details[data-part][open]').forEach(load);
follow();
