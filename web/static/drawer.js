// The list as a drawer, on a narrow page.

export function drawer() {
  const menu = document.getElementById('menu');
  const panel = document.getElementById('drawer');
  const shade = document.getElementById('shade');

  function set(open) {
    const inside = panel.contains(document.activeElement) || document.activeElement === document.body;
    document.body.classList.toggle('drawn', open);
    menu.setAttribute('aria-expanded', String(open));
    shade.hidden = !open;
    // The focus stays in what is open.
    for (const other of document.querySelectorAll('.skip, .bar, #main')) other.inert = open;
    if (open) panel.querySelector('a').focus();
    else if (inside && menu.checkVisibility()) menu.focus();
  }

  menu.addEventListener('click', () => set(!document.body.classList.contains('drawn')));
  shade.addEventListener('click', () => set(false));
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !document.body.classList.contains('drawn')) return;
    // A dialog over the drawer is what Escape closes.
    if (document.querySelector('dialog[open]')) return;
    event.preventDefault();
    set(false);
  }, true);

  // On a page that has become wide there is no drawer.
  matchMedia('(min-width: 801px)').addEventListener('change', ({ matches }) => matches && set(false));
}
