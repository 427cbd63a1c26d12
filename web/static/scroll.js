// The page follows the answer, unless the reader has scrolled away.

const NEAR_PX = 48;

export function follower() {
  const scroller = document.getElementById('scroller');
  const down = document.getElementById('down');

  function isAtEnd() {
    return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PX;
  }

  function toEnd() {
    scroller.scrollTop = scroller.scrollHeight;
    look();
  }

  function look() {
    down.hidden = isAtEnd();
  }

  scroller.addEventListener('scroll', look, { passive: true });
  down.addEventListener('click', toEnd);
  new ResizeObserver(look).observe(scroller);
  return { isAtEnd, toEnd, look };
}
