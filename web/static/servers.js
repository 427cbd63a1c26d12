// The servers: looked at again when the user comes back to the page, accounts connected in a tab
// of their own, disconnected and tried again from here.

import { post } from './api.js';
import { hear } from './accounts.js';

// Who only glances at another window does not make every server be tried.
const RETURNS_APART_MS = 10_000;

// What stands beside Connect, by how it went.
const OUTCOMES = {
  ready: '',
  not_taken: 'An account is connected, but the server still asks for one. Try another account.',
  needs_connect: 'The account was not connected. Finish in the other tab, or try again.',
  forbidden: 'You are not allowed to use this server; the list of servers says why.',
  unavailable: 'The server cannot be used now; the list of servers says why.',
  error: 'Whether the account was connected is not known. Come back in a moment.',
};

export function servers() {
  const dialog = document.getElementById('disconnect');
  // The servers whose Connect was pressed, and what is known of how that went.
  const tried = new Map();
  let looked = Date.now();
  let away = document.visibilityState === 'hidden';
  let looking = false;

  document.addEventListener('click', (event) => {
    const pressed = event.target.closest('[data-do]');
    if (!pressed) return;
    const server = serverOf(pressed);
    if (pressed.dataset.do === 'connect') begin(server);
    if (pressed.dataset.do === 'look') tryAgain(pressed, server);
    if (pressed.dataset.do === 'disconnect') ask(server);
  });

  // The middle button opens a tab as well.
  document.addEventListener('auxclick', (event) => {
    const pressed = event.button === 1 && event.target.closest('[data-do="connect"]');
    if (pressed) begin(serverOf(pressed));
  });

  // Of the last server of a long list, what was opened is below the edge.
  document.getElementById('servers')?.parentElement.addEventListener('toggle', ({ target }) => {
    if (target.open) target.scrollIntoView({ block: 'nearest' });
  }, { capture: true });

  // The tab may be hidden behind the new one, or stand beside it in a window of its own.
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'hidden') away = true;
    else back();
  });
  addEventListener('blur', () => { away = true; });
  addEventListener('focus', back);
  hear(({ server, outcome }) => ended(server, outcome));

  function begin(server) {
    tried.set(server, '');
    look();
  }

  function ended(server, outcome) {
    const words = OUTCOMES[outcome] ?? '';
    if (words === '') tried.delete(server);
    else tried.set(server, words);
    look();
    if (words !== '') show(server);
  }

  // The list of servers scrolls by itself: what is new in it may be below its edge.
  function show(server) {
    const place = document.querySelector(`#servers .connect[data-server="${CSS.escape(server)}"]`);
    place?.scrollIntoView({ block: 'nearest' });
  }

  async function back() {
    if (!away || looking) return;
    away = false;
    const pending = [...tried.keys()];
    if (pending.length === 0 && Date.now() - looked < RETURNS_APART_MS) return;
    looking = true;
    try {
      const now = await post('/api/servers', {});
      looked = Date.now();
      for (const server of pending) {
        const known = now.find(({ name }) => name === server);
        if (!known) tried.delete(server);
        else if (known.state !== 'connecting') ended(server, outcomeOf(known));
      }
      look();
    } catch {
      // The page's stream says what is wrong with the connection.
    } finally {
      looking = false;
    }
  }

  // Shows on the cards what is known of the servers by now.
  function look() {
    nameTools();
    offerAgain();
    for (const place of document.querySelectorAll('.connect')) {
      const outcome = place.querySelector('.outcome');
      const words = tried.get(place.dataset.server) ?? '';
      if (outcome.textContent !== words) outcome.textContent = words;
      outcome.hidden = words === '';
    }
  }

  // Cards of calls that were shown before their server's tools were known have but the tool's name.
  function nameTools() {
    for (const card of document.querySelectorAll('.call .tool[data-tool]')) {
      const title = document.querySelector(`#servers [data-tool="${card.dataset.tool}"]`);
      if (!title) continue;
      card.textContent = title.textContent;
      delete card.dataset.tool;
    }
  }

  // A turn that went on without a server can be asked again once there is one.
  function offerAgain() {
    for (const trouble of document.querySelectorAll('.server-trouble[data-state="needs-connect"]')) {
      const server = CSS.escape(trouble.dataset.server);
      const known = document.querySelector(`#servers > li[data-server="${server}"]`);
      if (!known) continue;
      const ready = known.dataset.state === 'ready';
      trouble.querySelector('.wanted').hidden = ready;
      trouble.querySelector('.again').hidden = !ready;
    }
  }

  async function tryAgain(button, server) {
    if (button.ariaBusy === 'true') return;
    button.ariaBusy = 'true';
    try {
      await post('/api/servers/look', { server });
    } catch {
      // See above.
    } finally {
      button.ariaBusy = 'false';
    }
  }

  function ask(server) {
    dialog.dataset.server = server;
    dialog.querySelector('.server').textContent = server;
    complain('');
    dialog.showModal();
  }

  dialog.addEventListener('click', (event) => {
    if (event.target.closest('[data-answer="cancel"]')) dialog.close();
    if (event.target.closest('[data-answer="disconnect"]')) disconnect(event.target.closest('button'));
  });

  async function disconnect(button) {
    const { server } = dialog.dataset;
    button.disabled = true;
    try {
      const known = await post('/api/servers/disconnect', { server });
      if (known.connected) complain('Pomerium still keeps the account. Ask your administrator.');
      else dialog.close();
      tried.delete(server);
      look();
    } catch (error) {
      complain(error.words);
    } finally {
      button.disabled = false;
    }
  }

  function complain(words) {
    const refused = dialog.querySelector('.refused');
    refused.textContent = words;
    refused.hidden = words === '';
  }

  return { look };
}

function serverOf(pressed) {
  return pressed.dataset.server ?? pressed.closest('[data-server]')?.dataset.server;
}

// How connecting went, by what the server shows.
function outcomeOf({ state, connected }) {
  return state === 'needs_connect' && connected ? 'not_taken' : state;
}
