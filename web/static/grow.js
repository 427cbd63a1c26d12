// Text boxes that are as high as what stands in them; the style says where that ends.

// Letters that fill a box to its greatest height, however short its lines are: measuring a very long
// text costs more than the box is tall.
const TALLEST_LETTERS = 20_000;

export function grow(box) {
  if (box.value.length > TALLEST_LETTERS) {
    box.style.height = '100vh';
    return;
  }
  box.style.height = 'auto';
  const borders = box.offsetHeight - box.clientHeight;
  box.style.height = `${box.scrollHeight + borders}px`;
}
