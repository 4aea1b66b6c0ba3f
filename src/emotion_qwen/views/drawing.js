// Drawing in SVG, for all parts of the page. Texts are untrusted, so they are only set as text, never as markup.
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

function draw(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function titled(node, text) {
  const title = draw("title", {});
  title.textContent = text;
  node.append(title);
  return node;
}

function written(text, attributes, ink) {
  const node = draw("text", attributes);
  if (ink) node.style.fill = ink;
  node.textContent = text;
  return node;
}

const TWO_COLUMNS = 814; // pixels

// Splits heights into two parts of equal sums as far as possible; returns which ones are in the first part, with the
// first of all. Of equally good ways it takes the one that keeps the first ones together.
function evenSplit(heights) {
  const all = heights.reduce((sum, height) => sum + height, 0);
  const most = Math.min(heights.length, 14); // more are left in the second part
  let [best, least] = [1, Infinity];
  for (let way = 1; way < 2 ** most; way += 2) {
    const first = heights.reduce((sum, height, n) => (n < most && way & (1 << n) ? sum + height : sum), 0);
    const swaps = heights.reduce((sum, _, n) => sum + (n > 0 && Boolean(way & (1 << n)) !== Boolean(way & (1 << (n - 1)))), 0);
    const cost = Math.abs(all - 2 * first) + 8 * swaps; // pixels; a small gain does not justify a stranger order
    if (cost < least) [best, least] = [way, cost];
  }
  return heights.map((_, n) => n < most && Boolean(best & (1 << n)));
}
