// The keyboard: what the list of shortcuts says. A key by itself does something only while nobody is
// typing, and can be switched off (WCAG 2.2, 2.1.4).

import { attempt, userKey } from './storage.js';

const OFF = 'single-keys';

// What a key by itself does. Gives false when there is nothing for it to do.
const SINGLE = {
  '?': openList,
  '/': search,
  n: () => press(document.getElementById('new-chat')),
  m: () => focus(document.getElementById('message')),
  j: () => turn(1),
  k: () => turn(-1),
  '[': () => conversation(-1),
  ']': () => conversation(1),
  c: () => press(last('.turn', '[data-do="copy-answer"]')),
  e: () => press(last('.turn', '[data-do="edit"]')),
  a: () => answer('[data-do="approve"]'),
  d: () => answer('[type="submit"]'),
};

export function keys() {
  const dialog = document.getElementById('shortcuts');
  const single = document.getElementById('single-keys');
  single.checked = allowed();
  single.addEventListener('change', () => allow(single.checked));
  document.getElementById('show-shortcuts').addEventListener('click', openList);
  dialog.addEventListener('click', (event) => {
    // Outside of it is the dialog itself.
    if (event.target === dialog || event.target.closest('[data-close]')) dialog.close();
  });
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.isComposing || event.repeat) return;
    const does = withModifier(event) ?? alone(event);
    if (does && does() !== false) event.preventDefault();
  });
}

function withModifier(event) {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || inDialog()) return null;
  const key = event.key.toLowerCase();
  if (key === 'k' && !event.shiftKey) return search;
  if (key === 'o' && event.shiftKey) return SINGLE.n;
  return null;
}

function alone(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !allowed()) return null;
  if (isTyping(event.target) || inDialog()) return null;
  return Object.hasOwn(SINGLE, event.key) ? SINGLE[event.key] : null;
}

// Whether keys mean letters there.
function isTyping(element) {
  return element.closest('input:not([type="checkbox"], [type="radio"]), textarea, select, [contenteditable]') !== null;
}

function inDialog() {
  return document.querySelector('dialog[open]') !== null;
}

function openList() {
  const list = document.getElementById('shortcuts');
  list.showModal();
  // The focus is on its button, at the end: in a low window the list would begin there.
  list.scrollTop = 0;
}

function search() {
  const box = document.querySelector('#drawer input[type="search"]');
  if (!box) return false;
  // On a narrow page it is in the drawer.
  const menu = document.getElementById('menu');
  if (menu.checkVisibility() && menu.getAttribute('aria-expanded') === 'false') menu.click();
  box.select();
  return focus(box);
}

// Answers the question whose card has the focus. From anywhere else the key only leads to the answer:
// it may be the first letter of what somebody believed to be typing into the box.
function answer(button) {
  const near = document.activeElement?.closest('.call')?.querySelector('.ask');
  if (near) return press(near.querySelector(button));
  const all = document.querySelectorAll('.call .ask');
  return all.length === 1 && focus(all[0].querySelector(button));
}

// To the turn after or before the one that is being read.
function turn(step) {
  const scroller = document.getElementById('scroller');
  const turns = [...scroller.querySelectorAll('.turn')];
  const { top, height } = scroller.getBoundingClientRect();
  const focused = turns.indexOf(document.activeElement?.closest('.turn'));
  const seen = turns.findLastIndex((one) => one.getBoundingClientRect().top <= top + height / 3);
  const goal = turns[(focused >= 0 ? focused : Math.max(seen, 0)) + step];
  if (!goal) return false;
  goal.tabIndex = -1;
  goal.focus({ preventScroll: true });
  goal.scrollIntoView({ block: 'start' });
  return true;
}

function conversation(step) {
  const links = [...document.querySelectorAll('#conversations a[href^="/c/"]')];
  const current = links.findIndex((link) => link.hasAttribute('aria-current'));
  const goal = current < 0 ? links.at(step > 0 ? 0 : -1) : links[current + step];
  return press(goal);
}

// The last of the inner elements in the last outer one that has any.
function last(outer, inner) {
  return [...document.querySelectorAll(`${outer} ${inner}`)].at(-1);
}

function press(element) {
  if (!element || element.disabled) return false;
  element.click();
  return true;
}

function focus(element) {
  element.focus();
  return document.activeElement === element;
}

function allowed() {
  return attempt(() => localStorage.getItem(userKey(OFF))) !== 'off';
}

function allow(on) {
  attempt(() => {
    if (on) localStorage.removeItem(userKey(OFF));
    else localStorage.setItem(userKey(OFF), 'off');
  });
}
