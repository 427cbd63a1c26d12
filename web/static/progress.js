// A progress bar that is kept, so that it moves instead of being a new one each time.

// Takes up what the fresh element says; false if the two are not the same bar.
export function moveProgress(old, fragment) {
  const fresh = fragment.firstElementChild;
  const bars = [old, fresh].map((it) => it?.matches('.progress') && it.querySelector('progress'));
  const [bar, next] = bars;
  if (!bar || !next || bar.hasAttribute('value') !== next.hasAttribute('value')) return false;
  for (const name of ['max', 'value']) {
    if (next.hasAttribute(name)) bar.setAttribute(name, next.getAttribute(name));
  }
  while (bar.nextSibling) bar.nextSibling.remove();
  old.append(...[...fresh.childNodes].slice([...fresh.childNodes].indexOf(next) + 1));
  return true;
}
