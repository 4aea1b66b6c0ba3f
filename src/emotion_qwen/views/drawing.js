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
