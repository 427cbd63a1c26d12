// What the browser keeps, of each user for themselves.

// A key of this user's: another one may sign in at the same browser.
export function userKey(what) {
  const { user } = document.body.dataset;
  // Beside the chat, the list of what waits says whose page it is, once it has come.
  return `${what}:${user ?? document.getElementById('needs')?.dataset.user ?? ''}`;
}

// A key of this user's for where the page is.
export function keyOf(what, place) {
  return `${userKey(what)}:${place.conversation || 'new'}`;
}

// Without storage, or with a full one, what was to be kept lives as long as the page.
export function attempt(what) {
  try {
    return what();
  } catch {
    return undefined;
  }
}
