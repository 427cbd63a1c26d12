// Copies code, and answers as the Markdown they were written in.

import { announce } from './announce.js';
import { get } from './api.js';

// How long a button says that it has copied.
const COPIED_MS = 2_000;

export function copyCode(button) {
  return copy(button, async () => button.closest('.code').querySelector('code').textContent);
}

export function copyAnswer(button) {
  return copy(button, async () => {
    const { transcript } = await get(`/api/turns/${button.closest('.turn').dataset.turn}`);
    const texts = transcript.items.map((item) => item.text ?? '').filter((text) => text.trim() !== '');
    return texts.join('\n\n');
  });
}

const busy = new WeakSet();

// Copies what `read` gives, and says on the button how it went. What follows the button's first
// words, for those who do not see which one it is, stays.
export async function copy(button, read) {
  if (busy.has(button)) return;
  busy.add(button);
  const label = button.firstChild;
  const words = label.textContent;
  let said = 'Copied';
  try {
    await write(await read());
  } catch (error) {
    console.warn('not copied', error);
    said = 'Not copied';
  }
  announce(`${said}.`);
  label.textContent = said;
  setTimeout(() => {
    label.textContent = words;
    busy.delete(button);
  }, COPIED_MS);
}

async function write(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // A page that came over plain HTTP has no clipboard.
  const box = document.createElement('textarea');
  box.value = text;
  box.className = 'hidden';
  document.body.append(box);
  box.select();
  const copied = document.execCommand('copy');
  box.remove();
  if (!copied) throw new Error('the browser refused');
}
