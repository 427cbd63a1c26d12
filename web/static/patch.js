// Puts HTML that the server rendered into the page, and keeps what the reader has there: open
// details, the focus, and text that was typed.

import { moveProgress } from './progress.js';

// Applies {op, target, html}.
export function apply({ op, target, html }) {
  const place = document.getElementById(target);
  if (!place) return;
  const fragment = parse(html);
  if (op === 'replace') {
    swap(place, fragment);
    return;
  }
  for (const node of [...fragment.childNodes]) {
    const known = node.id ? document.getElementById(node.id) : null;
    if (known) swap(known, only(node));
    else place.append(node);
  }
}

function parse(html) {
  const template = document.createElement('template');
  template.innerHTML = html;
  return document.importNode(template.content, true);
}

function only(node) {
  const fragment = document.createDocumentFragment();
  fragment.append(node);
  return fragment;
}

function swap(old, fragment) {
  if (moveProgress(old, fragment)) return;
  keepDetails(old, fragment);
  keepTyped(old, fragment);
  const focused = focusIn(old);
  old.replaceWith(fragment);
  focused?.();
}

function keepDetails(old, fragment) {
  for (const known of [...old.querySelectorAll('details[id]'), old]) {
    if (known.localName !== 'details') continue;
    // What the reader did not touch is as the server has it now.
    const touched = known.open !== known.hasAttribute('data-opened');
    const fresh = fragment.getElementById(known.id);
    if (fresh && touched) fresh.open = known.open;
  }
}

function keepTyped(old, fragment) {
  for (const known of old.querySelectorAll('input[id], textarea[id]')) {
    const fresh = fragment.getElementById(known.id);
    if (fresh) fresh.value = known.value;
  }
}

// Remembers where the focus is in an element that goes away, and how to put it back.
function focusIn(old) {
  const active = document.activeElement;
  if (!active || !old.contains(active)) return null;
  const path = address(active, old);
  const range = 'selectionStart' in active ? [active.selectionStart, active.selectionEnd] : null;
  return () => {
    const fresh = path && (document.getElementById(path.id)?.querySelector(path.selector) ?? document.getElementById(path.id));
    if (!fresh) return;
    fresh.focus({ preventScroll: true });
    if (range && range[0] !== null) fresh.setSelectionRange(...range);
  };
}

// An element by the nearest id and, below that, by what it is.
function address(element, root) {
  if (element.id) return { id: element.id, selector: ':scope' };
  let anchor = element;
  while (anchor !== root && !anchor.id) anchor = anchor.parentElement;
  if (!anchor.id) return null;
  const known = ['href', 'data-do', 'type'].find((name) => element.hasAttribute(name));
  const detail = known ? `[${known}="${CSS.escape(element.getAttribute(known))}"]` : '';
  return { id: anchor.id, selector: `${element.localName}${detail}` };
}
