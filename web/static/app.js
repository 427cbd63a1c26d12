// The page: its parts find each other here.

import { announceChanges } from './announce.js';
import { listenForActions } from './actions.js';
import { composer } from './composer.js';
import { drawer } from './drawer.js';
import { apply } from './patch.js';
import { follower } from './scroll.js';
import { servers } from './servers.js';
import { connect } from './stream.js';

const place = {
  conversation: document.body.dataset.conversation,
  after: document.body.dataset.after,
};

const scroll = follower();
const announce = announceChanges();
const accounts = servers();
const box = composer({
  place,
  moved(conversation) {
    place.conversation = conversation;
    place.after = '';
    history.replaceState(null, '', `/c/${conversation}`);
    stream.open();
  },
  sent: scroll.toEnd,
});

const stream = connect(place, (patch, reset) => {
  const follows = scroll.isAtEnd();
  if (reset) announce.forget();
  apply(patch);
  box.look();
  accounts.look();
  announce.look();
  showTitle();
  if (follows) scroll.toEnd();
  else scroll.look();
}, box.signedIn);

listenForActions(box);
drawer();
box.look();
announce.forget();
scroll.toEnd();

// The title of a conversation that has just begun comes with the list.
function showTitle() {
  const current = document.querySelector('#conversations [aria-current] .title');
  const title = document.getElementById('title');
  if (!current || title.textContent === current.textContent) return;
  title.textContent = current.textContent;
  document.title = `${current.textContent} · Toolgate`;
}
