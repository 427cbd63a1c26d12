// What is said to those who do not see the page, each thing once.

import { elsewhere } from './standing.js';

// How an answer ended, in words to be heard.
const ENDS = {
  answered: 'The answer is complete.',
  cancelled: 'The answer was stopped.',
  failed: 'There is no answer: something failed.',
};

const ELSEWHERE = 'An answer is being given elsewhere in this conversation.';
const ELSEWHERE_ENDED = 'The answer that was being given elsewhere has ended.';

const NEEDS = { asks: 'needs your approval', connect: 'waits until your account is connected' };

// Says it, on pages that have a place for it.
export function announce(words) {
  const announcer = document.getElementById('announcer');
  if (announcer) announcer.textContent = words;
}

// That an answer is done, or a person is needed.
export function announceChanges() {
  let said = new Set();
  let standing = '';
  let there = null;

  function standingNow() {
    const foot = document.querySelector('.turn:last-child .foot');
    return foot ? `${foot.dataset.turn} ${foot.dataset.standing}` : '';
  }

  function asks() {
    return document.querySelectorAll('.call:is([data-state="asks"], [data-state="connect"])');
  }

  function look() {
    for (const ask of asks()) {
      const need = ask.dataset.state;
      if (said.has(ask.id + need)) continue;
      said.add(ask.id + need);
      announce(`${ask.querySelector('.what').textContent.trim()} ${NEEDS[need]}.`);
    }
    const now = standingNow();
    const [turn, word] = now.split(' ');
    const [before, wordBefore] = standing.split(' ');
    const ran = wordBefore === 'runs' || wordBefore === 'waits';
    if (turn === before && ran && word !== 'runs' && word !== 'waits') {
      announce(ENDS[word] ?? 'The answer has ended.');
    }
    standing = now;
    if ((elsewhere() === null) !== (there === null)) announce(there ? ELSEWHERE_ENDED : ELSEWHERE);
    there = elsewhere();
  }

  // What the page shows at once is not news.
  function forget() {
    said = new Set([...asks()].map((ask) => ask.id + ask.dataset.state));
    standing = standingNow();
    there = elsewhere();
  }

  return { look, forget };
}
