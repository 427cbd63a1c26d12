// What went wrong with a message: said above the message box until it is over.

// Whose a request's id is, by the layer that failed, where it is not Pomerium's: in whose log to
// look for it.
const REQUEST_IDS = { model: 'The endpoint’s request id' };

export function troubles() {
  const place = document.getElementById('trouble');

  // `about` is what `over` is told when it is over.
  function tell(lines, about = '') {
    place.replaceChildren();
    place.dataset.about = about;
    for (const line of lines.filter((line) => line !== '')) {
      const paragraph = document.createElement('p');
      paragraph.textContent = line;
      place.append(paragraph);
    }
    place.hidden = false;
  }

  // Says what was refused.
  function refused(error) {
    const { message, advice, layer, requestId } = error;
    const traced = requestId && `${REQUEST_IDS[layer] ?? 'Pomerium request id'} ${requestId}`;
    // Said here, it need not be said of the stream as well.
    const about = error.status === 401 ? 'session' : error.isPassing ? 'connection' : '';
    tell([message, advice, traced], about);
    if (about !== 'session') return;
    const link = document.createElement('a');
    link.href = location.pathname;
    link.textContent = 'Sign in again';
    place.append(link);
  }

  function forget() {
    place.hidden = true;
    place.replaceChildren();
    delete place.dataset.about;
  }

  // Forgets what was said about it.
  function over(...about) {
    if (about.includes(place.dataset.about)) forget();
  }

  return { tell, refused, forget, over };
}
