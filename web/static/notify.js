// Notifications on the desk: only after the user pressed the button, and of each thing one, however
// many tabs know of it.

import { attempt, userKey } from './storage.js';

const LOCK = 'toolgate-notify';

// What was told is forgotten when there is more than this of it.
const TOLD = 50;

// Whether the user wants to be notified, and the browser lets us.
export function notifies() {
  return possible() && Notification.permission === 'granted' && read('notify') === 'on';
}

// Whether there is anything to offer.
export function possible() {
  return 'Notification' in window && Notification.permission !== 'denied';
}

// Asks the browser, which asks the user.
export async function begin() {
  if (Notification.permission !== 'granted') await Notification.requestPermission();
  if (Notification.permission === 'granted') write('notify', 'on');
}

export function end() {
  write('notify', 'off');
}

// Tells { key, words, title, url }, unless another tab did.
export async function notify(news) {
  if (!notifies()) return;
  await alone(() => {
    const told = read('told').split(' ').filter(Boolean);
    if (told.includes(news.key)) return;
    write('told', [...told, news.key].slice(-TOLD).join(' '));
    const shown = new Notification(news.title || 'Toolgate', { body: news.words, tag: news.key });
    shown.addEventListener('click', () => {
      shown.close();
      window.focus();
      if (location.href !== news.url) location.assign(news.url);
    });
  });
}

// What was told under this key is over; the next time it is news again.
export function forget(key) {
  write('told', read('told').split(' ').filter((old) => old !== key).join(' '));
}

// One tab at a time: of two that hear the same news, the second sees that it was told.
function alone(work) {
  return navigator.locks ? navigator.locks.request(LOCK, work) : work();
}

function read(name) {
  return attempt(() => localStorage.getItem(userKey(name))) ?? '';
}

function write(name, value) {
  attempt(() => localStorage.setItem(userKey(name), value));
}
