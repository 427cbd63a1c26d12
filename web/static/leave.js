// While an answer is being given: what it means to close the page, and whether to be called.

import { get } from './api.js';
import { begin, end, notifies, possible } from './notify.js';
import { runningHere } from './standing.js';

// An answer that is given at once needs no advice.
const LONG_MS = 8_000;

// How often the age of the token is asked while the line is there: the number is minutes.
const ASK_MS = 20_000;

export function leave() {
  const line = document.getElementById('leave');
  const words = line.querySelector('.words');
  const button = document.getElementById('notify');
  const { parkedMinutes, questionHours } = line.dataset;
  let turn = '';
  let since = 0;
  let timer = 0;
  // Seconds that the token has, as of `asked`; null where there are none.
  let seconds = null;
  let asked = 0;

  button.addEventListener('click', async () => {
    if (notifies()) end();
    else await begin();
    offer();
  });

  // Shows what is true now.
  function look() {
    const now = runningHere() ?? '';
    if (now !== turn) {
      turn = now;
      since = Date.now();
      clearTimeout(timer);
    }
    const long = turn !== '' && (waits() || Date.now() - since >= LONG_MS);
    if (long && Date.now() - asked >= ASK_MS) ask();
    if (turn !== '') again(long ? ASK_MS : LONG_MS);
    line.hidden = !long;
    if (long) say();
  }

  function again(ms) {
    clearTimeout(timer);
    timer = setTimeout(look, ms);
  }

  async function ask() {
    asked = Date.now();
    try {
      seconds = (await get('/api/session')).token_seconds;
    } catch {
      // The page's stream says what is wrong with the connection.
    }
    if (!line.hidden) say();
  }

  function say() {
    const text = meaning();
    if (words.textContent !== text) words.textContent = text;
    offer();
  }

  function offer() {
    const text = notifies() ? 'Do not notify me' : 'Notify me';
    if (button.textContent !== text) button.textContent = text;
    button.hidden = !possible();
  }

  function meaning() {
    const state = waits();
    if (state === 'asks') return `You can close this page: the question waits for you, up to ${questionHours} hours.`;
    if (state) return `You can close this page: the answer waits for you, up to ${parkedMinutes} minutes.`;
    if (seconds === null) return 'You can close this page: the answer goes on without it.';
    const left = seconds - (Date.now() - asked) / 1000;
    return `You can close this page: the answer goes on for ${about(left)} without it. If it needs your session after that, it waits for you, up to ${parkedMinutes} minutes.`;
  }

  return { look };
}

// What the open turn waits for, as its foot and its cards say: 'asks', 'waits', or nothing.
function waits() {
  const last = document.querySelector('.turn:last-child');
  if (last?.querySelector('.foot')?.dataset.standing !== 'waits') return '';
  return last.querySelector('.call[data-state="asks"]') ? 'asks' : 'waits';
}

function about(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return 'less than a minute';
  return minutes === 1 ? 'about a minute' : `about ${minutes} minutes`;
}
