// The page follows the answer, unless the reader has scrolled away.

const NEAR_PX = 48;

export function follower() {
  const scroller = document.getElementById('scroller');
  const down = document.getElementById('down');
  let follows = false;

  function isAtEnd() {
    return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PX;
  }

  function toEnd() {
    follows = true;
    scroller.scrollTop = scroller.scrollHeight;
    look();
  }

  function to(element) {
    follows = false;
    element.scrollIntoView({ block: 'start' });
    look();
  }

  function look() {
    down.hidden = isAtEnd() || !scroller.querySelector('.turn');
    if (down.hidden) tell(false);
  }

  // The answer has gone on; `follows` says whether its reader was at the end.
  function came(wasAtEnd) {
    if (wasAtEnd) toEnd();
    else look();
    if (!down.hidden) tell(true);
  }

  function tell(news) {
    if (down.classList.contains('news') === news) return;
    down.classList.toggle('news', news);
    if (news) down.setAttribute('aria-description', 'Something new came');
    else down.removeAttribute('aria-description');
  }

  scroller.addEventListener('scroll', () => {
    follows = isAtEnd();
    look();
  }, { passive: true });
  // What its reader opens stays where it is.
  scroller.addEventListener('click', (event) => {
    if (event.target.closest('summary')) follows = false;
  }, { capture: true });
  down.addEventListener('click', toEnd);
  // What is far away is laid out only when it comes near, and is another height then.
  const sizes = new ResizeObserver(() => {
    if (follows) toEnd();
    else look();
  });
  sizes.observe(scroller);
  sizes.observe(scroller.firstElementChild);
  return { isAtEnd, toEnd, to, look, came };
}
