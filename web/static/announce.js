// Says once, to those who do not see the page, that an answer is done or a person is needed.

export function announceChanges() {
  const announcer = document.getElementById('announcer');
  let said = new Set();
  let standing = '';

  function standingNow() {
    const foot = document.querySelector('.turn:last-child .foot');
    return foot ? `${foot.dataset.turn} ${foot.dataset.standing}` : '';
  }

  function look() {
    for (const ask of document.querySelectorAll('.call[data-state="asks"]')) {
      if (said.has(ask.id)) continue;
      said.add(ask.id);
      announcer.textContent = `${ask.querySelector('.what').textContent.trim()} needs your approval.`;
    }
    const now = standingNow();
    const [turn, word] = now.split(' ');
    const [before, wordBefore] = standing.split(' ');
    const ran = wordBefore === 'runs' || wordBefore === 'waits';
    if (turn === before && ran && word !== 'runs' && word !== 'waits') {
      announcer.textContent = word === 'answered' ? 'The answer is complete.' : 'The answer has ended.';
    }
    standing = now;
  }

  // What the page shows at once is not news.
  function forget() {
    said = new Set([...document.querySelectorAll('.call[data-state="asks"]')].map((ask) => ask.id));
    standing = standingNow();
  }

  return { look, forget };
}
