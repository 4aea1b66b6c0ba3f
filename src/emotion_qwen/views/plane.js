// The plane of valence and arousal. It is drawn in the pixels of the screen, so that its text is not scaled.
const PLANE = { text: 12, margin: 20, inset: 9, largest: 330, smallest: 120, dot: 4, avoided: 60 };

// Draws into `picture`; `subject` is the report or one of its people.
function makePlane(picture, { say, names, colours, places, distribution }) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = `${PLANE.text}px system-ui, sans-serif`;
  let [side, radius] = [0, 0];
  const spot = ([valence, arousal]) => [PLANE.margin + side / 2 + valence * radius, side / 2 - arousal * radius];

  function axes() {
    const [left, right, middle] = [PLANE.margin, PLANE.margin + side, PLANE.margin + side / 2];
    const upright = (text, x, anchor) => written(text, { transform: `translate(13 ${x}) rotate(-90)`, "text-anchor": anchor });
    return [
      draw("circle", { class: "axis", cx: middle, cy: side / 2, r: radius }),
      draw("path", { class: "axis", d: `M${middle - radius} ${side / 2}h${2 * radius}M${middle} ${side / 2 - radius}v${2 * radius}` }),
      written(`← ${say.unpleasant}`, { x: left, y: side + 15, "text-anchor": "start" }),
      written(`${say.pleasant} →`, { x: right, y: side + 15, "text-anchor": "end" }),
      upright(`← ${say.calm}`, side, "start"), upright(`${say.excited} →`, 0, "end"),
    ];
  }

  // The places of the labels. A name that would cover that of a larger share is left out; its dot remains.
  // Names avoid all dots, those of the way included; of many windows, evenly spaced ones.
  function landmarks(mean, stops) {
    const labels = Object.keys(distribution).sort((a, b) => distribution[b] - distribution[a]);
    const square = ([x, y], half) => [x - half - PLANE.margin, y - half, x + half - PLANE.margin, y + half];
    const stride = Math.ceil(stops.length / PLANE.avoided);
    const marks = [square(mean, 7), ...stops.filter((_, n) => n % stride === 0).map((stop) => square(stop, 4))];
    const boxes = [...labels.map((label) => square(spot(places[label]), PLANE.dot + 4)), ...marks];
    const sizes = [...labels.map((label) => [pen.measureText(names[label]).width + 2, PLANE.text + 2]), ...marks.map(() => [1, 1])];
    const tags = placeTags(boxes, sizes, [side, side], 1);
    const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
    return labels.flatMap((label, n) => {
      const [cx, cy] = spot(places[label]);
      const dot = titled(draw("circle", { cx, cy, r: PLANE.dot, fill: colours[label], opacity: 0.75 }), names[label]);
      const { area, leader } = tags[n];
      if (tags.slice(0, n).some((other) => overlap(area, other.area))) return [dot];
      const line = leader && draw("path", { class: "leader", d: `M${leader[0] + PLANE.margin} ${leader[1]}L${leader[2] + PLANE.margin} ${leader[3]}` });
      return [dot, line ?? "", written(names[label], { class: "name", x: area[0] + 1 + PLANE.margin, y: area[3] - 3 })];
    });
  }

  return {
    show(subject, parts, timed) {
      side = clamp(picture.parentElement.clientWidth - 40 - PLANE.margin, PLANE.smallest, PLANE.largest);
      radius = side / 2 - PLANE.inset;
      const [width, height] = [side + PLANE.margin + 2, side + PLANE.margin];
      for (const [name, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) picture.setAttribute(name, value);
      const mean = spot(subject.valence_arousal);
      const way = parts.map((part) => draw("path", { class: "path", d: `M${part.map((moment) => spot(moment.valence_arousal)).join("L")}` }));
      const stops = subject.timeline.map((moment) => {
        const [cx, cy] = spot(moment.valence_arousal);
        return draw("circle", { class: "stop", cx, cy, r: 3.2, fill: colours[moment.label] });
      });
      const cross = titled(draw("path", { class: "mean", d: `M${mean[0] - 6} ${mean[1]}h12M${mean[0]} ${mean[1] - 6}v12` }), say.whole_clip);
      picture.replaceChildren(...axes(), ...way, ...stops, ...landmarks(mean, subject.timeline.map((moment) => spot(moment.valence_arousal))), cross, draw("circle", { class: "here", r: timed ? 8 : 0 }));
    },
    move(from, to, part, visible) {
      const dot = picture.querySelector(".here");
      dot.setAttribute("visibility", visible ? "visible" : "hidden");
      if (!from) return;
      const [cx, cy] = spot([0, 1].map((n) => from.valence_arousal[n] + part * (to.valence_arousal[n] - from.valence_arousal[n])));
      for (const [name, value] of Object.entries({ cx, cy, fill: colours[(part < 0.5 ? from : to).label] })) dot.setAttribute(name, value);
    },
  };
}
