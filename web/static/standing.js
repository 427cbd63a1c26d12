// How the conversation stands, as the page shows it.

// The turn that runs in the branch that is shown, if one does.
export function runningHere() {
  const foot = document.querySelector('.turn:last-child .foot[data-standing="runs"], .turn:last-child .foot[data-standing="waits"]');
  return foot?.dataset.turn ?? null;
}

// The turn that runs in the conversation, perhaps in another branch of it.
export function running() {
  return runningHere() ?? elsewhere();
}

// The turn that runs in another branch.
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

// The last turn of the branch that is shown.
export function lastTurn() {
  const shown = document.querySelector('.turn:last-child')?.dataset.turn;
  return document.getElementById('later')?.dataset.last ?? shown;
}
