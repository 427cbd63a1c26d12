// What is said to those who do not see the page, each thing once.

import { isCut } from './history.js';
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

function runs(word) {
  return word === 'runs' || word === 'waits';
}

// That an answer is done, or a person is needed.
export function announceChanges() {
  let said = new Set();
  let standing = '';
  let wasCut = isCut();
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
    // A turn can have ended before anything of it was shown. In the middle of a branch a turn that
    // was not there is an old one.
    const isNews = turn === before ? runs(wordBefore) : !isCut() && !wasCut;
    if (turn && isNews && !runs(word)) announce(ENDS[word] ?? 'The answer has ended.');
    standing = now;
    wasCut = isCut();
    if ((elsewhere() === null) !== (there === null)) announce(there ? ELSEWHERE_ENDED : ELSEWHERE);
    there = elsewhere();
  }

  // What the page shows at once is not news.
  function forget() {
    said = new Set([...asks()].map((ask) => ask.id + ask.dataset.state));
    standing = standingNow();
    wasCut = isCut();
    there = elsewhere();
  }

  return { look, forget };
}
