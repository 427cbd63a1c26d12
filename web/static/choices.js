// What a conversation is answered with: the model, and the servers and tools that are offered.

import { get, send } from './api.js';
import { attempt, userKey } from './storage.js';

// How long the list of models is good for.
const MODELS_LIFE_MS = 60_000;

const NEXT_STEP = 'The answer that is being written follows that from the model’s next step on.';

// `place` is where the page is, `running` says whether a turn runs in it.
export function choices({ place, running }) {
  const servers = picked(place, running);
  const model = picker(place);

  // As a post takes them.
  function chosen() {
    return { ...model.chosen(), ...servers.chosen() };
  }

  return { chosen, look: servers.look, moved: servers.moved };
}

// The model. What was chosen last is what the next new chat begins with.
function picker(place) {
  const select = document.getElementById('model');
  if (!select) return { chosen: () => ({}) };
  const key = userKey('model');
  let asked = Date.now();

  const last = attempt(() => localStorage.getItem(key));
  if (!place.conversation && last && has(last)) select.value = last;
  select.addEventListener('change', () => attempt(() => localStorage.setItem(key, select.value)));
  select.addEventListener('focus', refresh);

  function has(id) {
    return [...select.options].some(({ value }) => value === id);
  }

  async function refresh() {
    if (Date.now() - asked < MODELS_LIFE_MS) return;
    asked = Date.now();
    try {
      const { models } = await get('/api/models');
      for (const option of [...select.options]) {
        if (!models.includes(option.value) && !option.selected) option.remove();
      }
      for (const id of models.filter((id) => !has(id))) select.add(new Option(id, id));
    } catch {
      // Those that are there may still do.
    }
  }

  return { chosen: () => ({ model: select.value }) };
}

// Which servers and tools are offered. The page shows what is switched off as the server has it,
// but for what was switched since: that is on its way, or kept for the first message of a new chat.
function picked(place, running) {
  const note = document.getElementById('offer-note');
  let wanted = null;
  // What went with the first message.
  let posted = null;
  let saving = false;

  document.getElementById('drawer').addEventListener('change', (event) => {
    const { offer } = event.target.dataset;
    if (!offer) return;
    wanted = changed(wanted ?? shown(), event.target);
    say(running() ? NEXT_STEP : '');
    look();
    save();
  });

  function shown() {
    return JSON.parse(document.getElementById('servers').dataset.off);
  }

  async function save() {
    if (!place.conversation || saving || !wanted) return;
    saving = true;
    const off = wanted;
    try {
      const row = await send('PATCH', `/api/conversations/${place.conversation}`, { off });
      know(row.off ?? off);
      if (wanted === off) wanted = null;
    } catch (error) {
      wanted = null;
      say(error.words);
    } finally {
      saving = false;
      look();
    }
    if (wanted) save();
  }

  // Shows on the list what is switched off.
  function look() {
    const off = wanted ?? shown();
    for (const server of document.querySelectorAll('#servers > [data-server]')) showServer(server, off);
  }

  function chosen() {
    if (place.conversation || !wanted) return {};
    posted = wanted;
    return { off: wanted };
  }

  // The new chat has become a conversation, which knows what was posted with it.
  function moved() {
    if (posted) know(posted);
    if (wanted === posted) wanted = null;
    save();
  }

  // The list says itself what is off, until the server renders it anew.
  function know(off) {
    document.getElementById('servers').dataset.off = JSON.stringify(off);
  }

  function say(words) {
    note.textContent = words;
    note.hidden = words === '';
  }

  return { look, chosen, moved };
}

// What is off once this is switched.
function changed(off, { checked, dataset }) {
  const { server, name: tool } = dataset;
  if (dataset.offer === 'server') {
    const servers = off.servers.filter((name) => name !== server);
    return { ...off, servers: checked ? servers : [...servers, server] };
  }
  const tools = off.tools.filter((one) => one.server !== server || one.tool !== tool);
  return { ...off, tools: checked ? tools : [...tools, { server, tool }] };
}

function showServer(row, off) {
  const name = row.dataset.server;
  const isOff = off.servers.includes(name);
  const tools = [...row.querySelectorAll('[data-offer="tool"]')];
  for (const box of tools) {
    box.checked = !off.tools.some(({ server, tool }) => server === name && tool === box.dataset.name);
    box.disabled = isOff;
  }
  const whole = row.querySelector('[data-offer="server"]');
  if (whole) whole.checked = !isOff;
  row.toggleAttribute('data-off', isOff);
  const count = row.querySelector('.count');
  if (count) count.textContent = countOf(tools, isOff, row.dataset.state === 'ready');
}

// In the words of the server's own page.
function countOf(tools, isOff, isReady) {
  if (isOff) return 'off';
  if (!isReady) return '';
  const on = tools.filter(({ checked }) => checked).length;
  const word = tools.length === 1 ? 'tool' : 'tools';
  return on === tools.length ? `${on} ${word}` : `${on} of ${tools.length} ${word}`;
}
