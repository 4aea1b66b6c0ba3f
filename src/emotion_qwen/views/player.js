// The player of a generated face: the film, the intended emotions over time, and the playhead. It never starts by itself.
{
  const byId = (id) => document.getElementById(id);
  const { media, fps, curves, end } = JSON.parse(byId("page-data").textContent);
  const holder = byId("timeline");
  const [left, top, height] = [30, 8, 170];
  const strongest = Math.max(1, ...curves.flatMap((curve) => curve.values));
  const medium = makeMedium(media, byId("media-data"), "synthetic face", () => { byId("clock").textContent = "This browser cannot play the film."; });
  const clock = makeClock(medium, { start: 0, end }, update);
  let head = null;

  const across = (time) => left + time / end * (holder.clientWidth - left - 8);
  const up = (value) => top + height * (1 - value / strongest);

  function drawCurves() {
    const picture = draw("svg", { "aria-hidden": "true", height: top + height + 24 });
    for (let value = 0; value <= strongest; value += 0.5) {
      picture.append(draw("line", { class: "grid", x1: left, x2: across(end), y1: up(value), y2: up(value) }), written(value.toFixed(1), { x: 0, y: up(value) + 4 }));
    }
    const stride = [0.5, 1, 2, 5, 10, 30, 60, 120].find((candidate) => end / candidate * 56 < holder.clientWidth) ?? 300;
    for (let time = 0; time <= end; time += stride) picture.append(written(`${time} s`, { x: across(time), y: top + height + 18, "text-anchor": time ? "middle" : "start" }));
    for (const { name, colour, values } of curves) {
      const d = `M${values.map((value, n) => `${across(n / fps).toFixed(1)} ${up(value).toFixed(1)}`).join("L")}`;
      picture.append(draw("path", { class: "ground", d }), titled(draw("path", { class: "curve", d, stroke: colour }), name));
    }
    head = draw("line", { class: "head", y1: 0, y2: top + height });
    picture.append(head);
    holder.replaceChildren(picture);
    update(medium.currentTime);
  }

  function update(time) {
    const now = clamp(time, 0, end);
    const frame = Math.min(Math.floor(now * fps + 0.01), curves[0].values.length - 1);
    head?.setAttribute("transform", `translate(${across(now)} 0)`);
    byId("clock").textContent = `${now.toFixed(1)} / ${end.toFixed(1)} s`;
    byId("play").querySelector(".word").textContent = clock.playing() ? "pause" : "play";
    byId("play").querySelector(".icon").textContent = clock.playing() ? "❚❚" : "▶";
    curves.forEach(({ values }, n) => { byId("legend").children[n].querySelector("b").textContent = values[frame].toFixed(2); });
    holder.setAttribute("aria-valuenow", now.toFixed(2));
    const strong = curves.filter(({ values }) => values[frame] >= 0.05).map(({ name, values }) => `${name} ${values[frame].toFixed(2)}`);
    holder.setAttribute("aria-valuetext", `${now.toFixed(1)} s, ${strong.join(", ")}`);
  }

  for (const { name, colour } of curves) {
    const swatch = draw("svg", { class: "swatch", "aria-hidden": "true", viewBox: "0 0 10 10" }, draw("rect", { width: 10, height: 10, rx: 2, fill: colour }));
    const row = document.createElement("li");
    row.append(swatch, ` ${name} `, document.createElement("b"));
    byId("legend").append(row);
  }
  byId("frame").append(medium);
  for (const name of ["seeking", "seeked", "pause", "play", "loadeddata"]) medium.addEventListener(name, () => update(medium.currentTime));
  medium.addEventListener("click", clock.toggle);
  const turn = () => { if (!medium.paused) update(medium.currentTime); requestAnimationFrame(turn); };
  requestAnimationFrame(turn);
  byId("play").addEventListener("click", clock.toggle);
  byId("speed").addEventListener("change", (event) => clock.speed(Number(event.target.value)));
  const at = (event) => (event.clientX - holder.getBoundingClientRect().left - left) / (across(end) - left) * end;
  holder.addEventListener("pointerdown", (event) => { holder.setPointerCapture(event.pointerId); clock.seek(at(event)); });
  holder.addEventListener("pointermove", (event) => { if (event.buttons & 1) clock.seek(at(event)); });
  holder.addEventListener("keydown", (event) => {
    const [now, stride] = [medium.currentTime, event.shiftKey ? 1 : 0.1];
    const targets = { ArrowRight: now + stride, ArrowUp: now + stride, ArrowLeft: now - stride, ArrowDown: now - stride, Home: 0, End: end };
    if (event.key === " ") clock.toggle();
    else if (event.key in targets) clock.seek(targets[event.key]);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(drawCurves).observe(holder);
}
