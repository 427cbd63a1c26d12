// For pages that show no conversation: as long as one is open, the session behind it stays fresh, so
// that the answers which are being given in other conversations go on. It says what waits for the
// user as well.

import { needs } from './needs.js';
import { apply } from './patch.js';
import { connect } from './stream.js';
import { theme } from './theme.js';

theme();

if (!document.getElementById('needs')) {
  const list = document.createElement('ul');
  list.id = 'needs';
  list.hidden = true;
  document.body.append(list);
}
const tab = needs(document.title);
let began = false;
connect({}, (patch) => {
  if (patch.target !== 'needs') return;
  apply(patch);
  if (!began) tab.forget();
  began = true;
  tab.look();
}, () => {});
document.addEventListener('session', ({ detail }) => tab.session(detail === 'ended', false));
