// How the conversation stands, as the page shows it.

// The turn that runs in the branch that is shown, if one does.
export function runningHere() {
  const foot = document.querySelector('.turn:last-child .foot[data-standing="runs"], .turn:last-child .foot[data-standing="waits"]');
  return foot?.dataset.turn ?? null;
}

// The turn that runs in the conversation, perhaps where the page does not show it.
export function running() {
  return runningHere() ?? elsewhere();
}

// The turn that runs where the page does not show it.
export function elsewhere() {
  return document.getElementById('elsewhere')?.dataset.turn ?? null;
}

// Whether the page shows how that turn stands.
export function isShown(turn) {
  return elsewhere() === turn || document.querySelector(`.foot[data-turn="${CSS.escape(turn)}"]`) !== null;
}

// Whether it was deleted; the page says so.
export function isGone() {
  return document.getElementById('gone').hidden === false;
}

// How the last turn that is shown ended; 'none' where there is none.
export function lastEnd() {
  return document.querySelector('.turn:last-child .foot')?.dataset.standing ?? 'none';
}

// The last turn of the branch that is shown; the stream knows it where the page does not show it.
export function lastTurn() {
  const cut = document.getElementById('later')?.dataset.last;
  if (cut) return document.getElementById('elsewhere')?.dataset.last ?? cut;
  return document.querySelector('.turn:last-child')?.dataset.turn;
}
