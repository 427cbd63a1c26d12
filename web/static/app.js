// The page: its parts find each other here.

import { announceChanges } from './announce.js';
import { listenForActions } from './actions.js';
import { choices } from './choices.js';
import { colours } from './code.js';
import { composer } from './composer.js';
import { drawer } from './drawer.js';
import { earlier, elsewhere, isCut, later } from './history.js';
import { keys } from './keys.js';
import { leave } from './leave.js';
import { list } from './list.js';
import { needs } from './needs.js';
import { apply } from './patch.js';
import { results } from './results.js';
import { follower } from './scroll.js';
import { servers } from './servers.js';
import { running } from './standing.js';
import { connect } from './stream.js';
import { theme } from './theme.js';

const place = {
  conversation: document.body.dataset.conversation,
  after: document.body.dataset.after,
  // The branch that is shown goes through this turn; empty for the newest.
  through: document.body.dataset.through,
  // What of the list of conversations is shown.
  search: document.body.dataset.search,
  older: document.body.dataset.older,
};

elsewhere(place);
const scroll = follower();
const before = earlier(place);
const after = later((position) => {
  place.after = position;
  stream.open();
});
const code = colours();
const announce = announceChanges();
const accounts = servers();
const leaving = leave();
const tab = needs(document.title);
const offered = choices({ place, running });
const conversations = list({ place, searched: () => stream.again() });
const box = composer({
  place,
  chosen: offered.chosen,
  moved(conversation) {
    place.conversation = conversation;
    place.after = '';
    history.replaceState(null, '', `/c/${conversation}${location.search}`);
    offered.moved();
    stream.open();
  },
  // Asked once more, in the place of a turn: that is the newest branch from then on.
  resent() {
    if (!place.through) return;
    place.through = '';
    place.after = '';
    const url = new URL(location.href);
    url.searchParams.delete('turn');
    url.hash = '';
    history.replaceState(null, '', url);
    after.leave();
    stream.open();
  },
  sent() {
    // From the middle of a branch it goes to the end of it.
    if (isCut()) {
      place.after = '';
      after.leave();
      stream.open();
    }
    scroll.toEnd();
  },
});

const stream = connect(place, (patch, reset) => {
  const follows = scroll.isAtEnd();
  if (reset) announce.forget();
  apply(patch);
  box.look();
  offered.look();
  conversations.look();
  accounts.look();
  announce.look();
  leaving.look();
  showTitle();
  tab.look();
  actions.look();
  code.look();
  if (patch.target === 'earlier') before.look();
  if (patch.target === 'later') after.look();
  if (patch.target.startsWith('t')) scroll.came(follows);
  else if (follows) scroll.toEnd();
}, box.isBack);

const actions = listenForActions(box);
drawer();
results();
keys();
theme();
document.addEventListener('session', ({ detail }) => tab.session(detail === 'ended', running() !== null));
box.look();
box.resume();
leaving.look();
tab.look();
announce.forget();
actions.look();
code.look();
if (before.target()) scroll.to(before.target());
else scroll.toEnd();
before.look();
after.look();

// The title of a conversation that has just begun comes with the list.
function showTitle() {
  const current = document.querySelector('#conversations [aria-current] .title');
  const title = document.getElementById('title');
  if (!current || title.textContent === current.textContent) return;
  title.textContent = current.textContent;
  tab.rename(`${current.textContent} · Toolgate`);
}
