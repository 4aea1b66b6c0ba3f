// Where the label of every box stands. The rule and its constants are those of tags.py; a test compares the two.
const TAG_COSTS = { overTag: 4, overFace: 1, overSelf: 0.5, away: 0.12, steps: 4, kept: 0.2, hair: 0.2, order: 0.001 };

// Takes boxes [x1, y1, x2, y2] and sizes [width, height]; returns { area, place, leader } per box.
function placeTags(boxes, sizes, picture, gap, before = []) {
  const c = TAG_COSTS;
  const shared = (a, b) => Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0) * Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
  const heads = boxes.map(([x1, y1, x2, y2]) => [x1, y1 - c.hair * (y2 - y1), x2, y2]);
  const candidates = boxes.map((box, n) => tagPlaces(box, sizes[n], picture, gap));
  const chosen = candidates.map((places, n) => places.find((place) => place.number === before[n]) ?? null);
  for (const n of [...boxes.keys(), ...boxes.keys()]) {
    const sum = (areas, place) => areas.reduce((total, area, m) => total + (m !== n && area ? shared(place.area, area) : 0), 0);
    const cost = (place) => {
      const [x1, y1, x2, y2] = place.area;
      const covered = c.overSelf * shared(place.area, boxes[n]) + c.overTag * sum(chosen.map((other) => other?.area), place) + c.overFace * sum(heads, place);
      return covered / ((x2 - x1) * (y2 - y1)) + c.away * place.steps + c.order * place.number - c.kept * (place.number === before[n]);
    };
    chosen[n] = candidates[n].reduce((best, place) => (cost(place) < cost(best) ? place : best));
  }
  return chosen.map((place, n) => ({ area: place.area, place: place.number, leader: tagLeader(boxes[n], place) }));
}

function tagPlaces([x1, y1, x2, y2], [width, height], picture, gap) {
  const aligned = [x1, x2 - width, (x1 + x2 - width) / 2];
  const [above, below, beside] = [y1 - gap - height, y2 + gap, [x2 + gap, x1 - gap - width]];
  const rows = (up, down, steps) => [up, down].flatMap((y) => aligned.map((x) => [x, y, steps]));
  const corners = [...rows(above, below, 0), ...beside.flatMap((x) => [[x, y1, 0], [x, y2 - height, 0]]), [x1, y2 - gap - height, 0], [x1, y1 + gap, 0]];
  for (let steps = 1; steps <= TAG_COSTS.steps; steps++) corners.push(...rows(above - steps * (height + gap), below + steps * (height + gap), steps));
  const [rightmost, lowest] = [Math.max(picture[0] - width, 0), Math.max(picture[1] - height, 0)];
  const inside = (value, most) => Math.min(Math.max(value, 0), most);
  const at = (x, y, number, steps) => ({ area: [x, y, x + width, y + height], number, steps });
  const places = corners.flatMap(([x, y, steps], number) =>
    0 <= y && y <= lowest && (inside(x, rightmost) === x || !beside.includes(x)) ? [at(inside(x, rightmost), y, number, steps)] : []);
  return places.length ? places : [at(inside(x1, rightmost), inside(above, lowest), 0, 0)];
}

function tagLeader(box, { area: [x1, y1, x2, y2], steps }) {
  if (!steps) return null;
  const from = Math.min(Math.max((box[0] + box[2]) / 2, x1), x2);
  const to = Math.min(Math.max((x1 + x2) / 2, box[0]), box[2]);
  return y2 < box[1] ? [from, y2, to, box[1]] : [from, y1, to, box[3]];
}
