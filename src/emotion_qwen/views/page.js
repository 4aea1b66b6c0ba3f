// The interactive parts of a report's page: the clip, the boxes over it, the timeline, and everything that follows the
// playhead. Texts of the report are untrusted, so they are only set as text, never as markup.
{
  const { report, aids } = JSON.parse(byId("page-data").textContent);
  const { say, names, colours, inks, places, start, end, step, hole } = aids;
  const timed = end > start && document.body.classList.contains("timed");
  const state = { time: start, who: null, raw: false, cue: null, lit: null, tags: new Map() };
  const unplayable = () => { byId("caption").hidden = false; byId("caption").textContent = say.unplayable; };
  const clock = makeClock(makeMedium(aids.media, byId("media-data"), aids.file, unplayable), aids, update);
  const plane = byId("plane") && makePlane(byId("plane"), { say, names, colours, places, distribution: report.distribution });
  const canvas = Object.assign(document.createElement("canvas"), { ariaHidden: "true" });

  function byId(id) { return document.getElementById(id); }

  function all(selector) { return [...document.querySelectorAll(selector)]; }

  const percent = (share) => `${Math.round(100 * share)}%`;
  const seconds = (time) => time.toFixed(1);
  const sharesOf = (moment) => (state.raw ? moment.raw : moment.distribution);

  // ---- the state at a time

  function chosen() { return report.people.find((person) => person.person === state.who) ?? report; }

  const gapAt = (time) => report.gaps.find((gap) => gap.start <= time && time <= gap.end);

  // The record does not name the sighting at which a cue was measured; it is found by the horizontal extent of its box.
  function measuredAt(cue) {
    const person = report.people.find((candidate) => candidate.person === cue.person);
    if (!person || !cue.box) return null;
    const distance = (sighting) => Math.abs(sighting.box[0] - cue.box[0]) + Math.abs(sighting.box[2] - cue.box[2]);
    const inside = person.seen.filter((sighting) => cue.start <= sighting.time && sighting.time <= cue.end);
    inside.sort((a, b) => distance(a) - distance(b));
    return inside.length && distance(inside[0]) < 0.02 ? { person, ...inside[0] } : null;
  }

  function cueBox(cue, time) {
    if (timed && (time < cue.start || time > cue.end)) return null;
    const measured = measuredAt(cue);
    if (!measured) return cue.box;
    const now = boxAt(measured.person, time, aids);
    return now && cue.box.map((side, n) => {
      const [from, to] = [n % 2, n % 2 + 2];
      const part = (side - measured.box[from]) / (measured.box[to] - measured.box[from]);
      return now[from] + part * (now[to] - now[from]);
    });
  }

  // ---- the clip

  function followMedium(medium) {
    const now = () => update(medium.currentTime);
    for (const name of ["seeking", "seeked", "pause", "play", "loadeddata"]) medium.addEventListener(name, now);
    if (medium.requestVideoFrameCallback) {
      const shown = (_, frame) => {
        if (!medium.paused) update(frame.mediaTime);
        medium.requestVideoFrameCallback(shown);
      };
      medium.requestVideoFrameCallback(shown);
    } else {
      const turn = () => { if (!medium.paused) now(); requestAnimationFrame(turn); };
      requestAnimationFrame(turn);
    }
    medium.addEventListener("click", clock.toggle);
  }

  function buildStage() {
    const frame = byId("frame");
    if (aids.media.kind === "sound") { frame.append(clock.medium ?? ""); return; }
    const inner = document.createElement("div");
    const medium = clock.medium ?? Object.assign(document.createElement("div"), { className: "blank" });
    inner.append(medium, canvas);
    frame.append(inner);
    const shape = () => {
      const size = [medium.videoWidth || medium.naturalWidth || aids.media.width, medium.videoHeight || medium.naturalHeight || aids.media.height];
      inner.style.setProperty("--ratio", size[0] / size[1]);
      drawBoxes();
    };
    for (const name of ["loadedmetadata", "load", "resize"]) medium.addEventListener(name, shape);
    shape();
    new ResizeObserver(drawBoxes).observe(inner);
    listenPeople(inner);
  }

  // ---- boxes over the picture

  function drawBoxes() {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    const scale = window.devicePixelRatio || 1;
    [canvas.width, canvas.height] = [width * scale, height * scale];
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    if (!byId("boxes").checked) return;
    const doubt = report.uncertainty?.abstains ? "?" : "";
    const faces = report.people.flatMap((person) => {
      const box = boxAt(person, state.time, aids);
      if (!box) return [];
      const [label, share] = Object.entries(shownAt(person, state.time)).reduce((best, entry) => (entry[1] > best[1] ? entry : best));
      const text = `${person.person}  ${names[label]}${doubt} ${percent(share)}`;
      return [{ who: person.person, box: onCanvas(box), label, text }];
    });
    const faint = (face) => { pen.globalAlpha = state.lit === null || state.lit === face.who ? 1 : 0.3; };
    for (const face of faces) {
      faint(face);
      drawBox(pen, face.box, colours[face.label], [state.who, state.lit].includes(face.who) ? 4 : 2.5, []);
    }
    drawTags(pen, faces, faint);
    pen.globalAlpha = 1;
    const box = state.cue && cueBox(state.cue, state.time);
    if (box) drawBox(pen, onCanvas(box), "#ffffff", 2.5, [6, 4]);
  }

  const onCanvas = (box) => box.map((side, n) => side * (n % 2 ? canvas.clientHeight : canvas.clientWidth));

  function drawBox(pen, [x1, y1, x2, y2], colour, line, dashes) {
    pen.setLineDash([]);
    for (const [ink, wide] of [["#000000b0", line + 2.5], [colour, line]]) {
      pen.beginPath();
      pen.roundRect(x1, y1, x2 - x1, y2 - y1, 6);
      [pen.strokeStyle, pen.lineWidth] = [ink, wide];
      pen.stroke();
      pen.setLineDash(dashes);
    }
  }

  function drawTags(pen, faces, faint) {
    pen.setLineDash([]);
    [pen.font, pen.textBaseline] = ["600 13px system-ui, sans-serif", "middle"];
    const sizes = faces.map((face) => [pen.measureText(face.text).width + 14, 21]);
    const before = faces.map((face) => state.tags.get(face.who));
    placeTags(faces.map((face) => face.box), sizes, [canvas.clientWidth, canvas.clientHeight], 4, before).forEach((tag, n) => {
      const [x1, y1, x2, y2] = tag.area;
      state.tags.set(faces[n].who, tag.place);
      faint(faces[n]);
      for (const [ink, wide] of tag.leader ? [["#000000b0", 4], [colours[faces[n].label], 2]] : []) {
        pen.beginPath();
        pen.moveTo(tag.leader[0], tag.leader[1]);
        pen.lineTo(tag.leader[2], tag.leader[3]);
        [pen.strokeStyle, pen.lineWidth] = [ink, wide];
        pen.stroke();
      }
      pen.fillStyle = colours[faces[n].label];
      pen.beginPath();
      pen.roundRect(x1, y1, x2 - x1, y2 - y1, 5);
      pen.fill();
      pen.fillStyle = inks[faces[n].label];
      pen.fillText(faces[n].text, x1 + 7, y1 + 11);
    });
  }

  // ---- the same person in the picture and in the list

  function light(who) {
    if (who === state.lit) return;
    state.lit = who;
    for (const row of all(".person")) row.classList.toggle("lit", who !== null && row.dataset.who === String(who));
    drawBoxes();
  }

  function listenPeople(inner) {
    for (const row of all(".person")) {
      const who = Number(row.dataset.who);
      for (const name of ["pointerenter", "focus"]) row.addEventListener(name, () => light(who));
      for (const name of ["pointerleave", "blur"]) row.addEventListener(name, () => light(null));
    }
    inner.addEventListener("pointermove", (event) => {
      const frame = inner.getBoundingClientRect();
      const [x, y] = [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height];
      const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
      const under = report.people.flatMap((person) => {
        const box = byId("boxes").checked && boxAt(person, state.time, aids);
        return box && box[0] <= x && x <= box[2] && box[1] <= y && y <= box[3] ? [[person.person, area(box)]] : [];
      });
      light(under.length ? under.reduce((best, each) => (each[1] < best[1] ? each : best))[0] : null);
    });
    inner.addEventListener("pointerleave", () => light(null));
  }

  // ---- the timeline

  const line = { gutter: 0, width: 0, head: null, hover: null };
  const across = (time) => line.gutter + (time - start) / (end - start) * line.width;
  const timeOf = (x) => start + clamp((x - line.gutter) / line.width, 0, 1) * (end - start);

  function drawTimeline() {
    const holder = byId("timeline");
    if (!holder) return;
    const width = holder.clientWidth;
    line.gutter = width > 640 ? 84 : 0;
    line.width = width - line.gutter - 8;
    const picture = draw("svg", { "aria-hidden": "true" });
    let top = line.gutter ? 26 : 36;
    const lane = (name, height, ...nodes) => {
      const label = draw("text", line.gutter ? { x: 0, y: top + height / 2 + 4 } : { x: 0, y: top - 3 });
      label.textContent = name;
      picture.append(label, draw("g", { transform: `translate(0 ${top})` }, ...nodes));
      top += height + (line.gutter ? 8 : 18);
    };
    drawAxis(picture);
    const subject = chosen();
    const gaps = subject === report ? report.gaps : [];
    if (subject.timeline.length) lane(say.shares, 110, ...stretches(subject.timeline).flatMap((part) => stack(part, 110)));
    const blocks = [...subject.episodes.map((episode) => episodeBlock(episode, 22)), ...gaps.map((gap) => gapBlock(gap, 22))];
    if (blocks.length) lane(say.episodes, 22, ...blocks);
    for (const person of report.people) lane(`${say.person} ${person.person}`, 18, ...presence(person, 18));
    if (aids.sound) lane(say.sound, 34, wave(aids.sound, 34));
    if (report.utterances.length) lane(say.words, 20, ...report.utterances.map((utterance) => caption(utterance, 20)));
    if (report.cues.length) lane(say.cues, ...cueLane());
    picture.setAttribute("viewBox", `0 0 ${width} ${top}`); // lets it shrink in print
    for (const node of picture.querySelectorAll(".grid")) node.setAttribute("y2", top);
    line.hover = draw("line", { class: "hover", y2: top, visibility: "hidden" });
    line.head = draw("g", {}, draw("line", { class: "head", y2: top }), draw("path", { class: "knob", d: "M-6 0H6V6L0 12L-6 6Z" }));
    picture.append(line.hover, line.head);
    holder.replaceChildren(picture);
    update(state.time);
  }

  function drawAxis(picture) {
    const strides = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
    const stride = strides.find((candidate) => (end - start) / candidate * 56 < line.width) ?? 3600;
    for (let time = Math.ceil(start / stride) * stride; time <= end; time += stride) {
      const label = draw("text", { x: across(time) + 8, y: 11 });
      label.textContent = `${Number(time.toFixed(1))} ${say.second}`;
      const fits = across(time) + 44 < line.gutter + line.width;
      picture.append(draw("line", { class: "grid", x1: across(time), x2: across(time), y1: 0 }), fits ? label : "");
    }
  }

  // Shares over time as stacked bands, ordered by valence, so that an improving mood visibly rises.
  function stack(timeline, height) {
    const labels = Object.keys(report.distribution).sort((a, b) => places[a][0] - places[b][0]);
    const times = [timeline[0].start, ...timeline.map(centre), timeline[timeline.length - 1].end].map(across);
    const rows = [timeline[0], ...timeline, timeline[timeline.length - 1]].map(sharesOf);
    let below = rows.map(() => 0);
    const [areas, texts] = [[], []];
    for (const label of labels) {
      const above = below.map((low, n) => low + rows[n][label]);
      const point = (level) => (n) => `${times[n].toFixed(1)} ${((1 - level[n]) * height).toFixed(1)}`;
      const order = rows.map((_, n) => n);
      const outline = [...order.map(point(above)), ...order.toReversed().map(point(below))].join("L");
      areas.push(titled(draw("path", { class: "area", d: `M${outline}Z`, fill: colours[label] }), names[label]));
      const widest = order.reduce((best, n) => (rows[n][label] > rows[best][label] ? n : best), 0);
      if (rows[widest][label] * height > 18) {
        const x = clamp(times[widest], times[0] + 30, times[times.length - 1] - 30);
        const middle = (1 - (above[widest] + below[widest]) / 2) * height + 4;
        texts.push(written(names[label], { class: "inside", x, y: middle, "text-anchor": "middle" }, inks[label]));
      }
      below = above;
    }
    return [...areas, ...texts];
  }

  function episodeBlock(episode, height) {
    const [x, width] = [across(episode.onset), Math.max(across(episode.offset) - across(episode.onset), 1)];
    const room = block(episode.label, x, width, height);
    room.append(draw("path", { class: "peak", d: `M${across(episode.peak) - x} ${height - 9}l4 4l-4 4l-4-4Z` }));
    return titled(room, `${names[episode.label]} ${seconds(episode.onset)}–${seconds(episode.offset)} ${say.second}, ${say.peak} ${seconds(episode.peak)}, ${percent(episode.share)}`);
  }

  function gapBlock(gap, height) {
    const [x, width] = [across(gap.start), Math.max(across(gap.end) - across(gap.start), 1)];
    const text = written(say.no_answer, { class: "inside", x: 8, y: height / 2 + 4 });
    const room = draw("svg", { class: "gap", x, width, height }, draw("rect", { width: "100%", height, rx: 4 }), text);
    return titled(room, `${say.no_answer} ${seconds(gap.start)}–${seconds(gap.end)} ${say.second}${say.colon}${gap.reason}`);
  }

  // A block in the colour of a label, with its name truncated to fit.
  function block(label, x, width, height) {
    const name = written(names[label], { class: "inside", x: 8, y: height / 2 + 4 }, inks[label]);
    return draw("svg", { x, width, height }, draw("rect", { class: "block", width: "100%", height, rx: 4, fill: colours[label] }), name);
  }

  function presence(person, height) {
    const runs = [];
    for (const sighting of person.seen) {
      const last = runs[runs.length - 1];
      if (last && sighting.time - last[1] <= hole * step) last[1] = sighting.time;
      else runs.push([sighting.time, sighting.time]);
    }
    const parts = [];
    for (const [from, to] of runs) {
      const pieces = person.episodes.length ? person.episodes : [{ label: person.label, onset: from, offset: to }];
      const run = [Math.max(from - step / 2, start), Math.min(to + step / 2, end)];
      for (const piece of pieces) {
        const [x, stop] = [across(Math.max(run[0], piece.onset)), across(Math.min(run[1], piece.offset))];
        if (stop > x) parts.push(block(piece.label, x, stop - x, height));
      }
    }
    return [draw("rect", { class: "seen", x: across(start), y: height / 2 - 1, width: line.width, height: 2 }), ...parts];
  }

  function wave(sound, height) {
    const x = (n) => across(Math.min(sound.start + (sound.end - sound.start) * n / sound.peaks.length, end)).toFixed(1);
    const side = (sign) => (peak, n) => `${x(n)} ${(height / 2 * (1 - sign * Math.max(peak, 2) / 100)).toFixed(1)}`;
    const points = [...sound.peaks.map(side(1)), ...sound.peaks.map(side(-1)).toReversed()];
    return draw("path", { class: "wave", d: `M${points.join("L")}Z` });
  }

  function caption(utterance, height) {
    const [x, width] = [across(utterance.start), Math.max(across(utterance.end) - across(utterance.start), 3)];
    const text = written(utterance.text, { class: "inside", x: 6, y: height / 2 + 4 });
    return titled(draw("svg", { class: "said", x, width, height }, draw("rect", { width: "100%", height, rx: 4 }), text), utterance.text);
  }

  function cueLane() {
    const rows = [...new Set(report.cues.map((cue) => cue.modality))];
    const signs = report.cues.map((cue) => {
      const width = Math.max(across(cue.end) - across(cue.start), 4);
      const place = { x: across(cue.start), width, y: rows.indexOf(cue.modality) * 8, height: 5, rx: 2.5 };
      return titled(draw("rect", { class: cue === state.cue ? "sign chosen" : "sign", ...place }), `${say[cue.modality]}${say.colon}${cue.text}`);
    });
    return [rows.length * 8 - 3, ...signs];
  }

  // ---- valence and arousal

  function drawPlane() {
    if (plane) plane.show(chosen(), stretches(chosen().timeline), timed);
  }

  function moveDot(timeline) {
    if (!plane) return;
    let after = timeline.findIndex((moment) => centre(moment) > state.time);
    if (after < 0) after = timeline.length - 1;
    const [from, to] = [timeline[Math.max(after - 1, 0)], timeline[after]];
    const part = from === to ? 0 : clamp((state.time - centre(from)) / (centre(to) - centre(from)), 0, 1);
    plane.move(from, to, part, Boolean(momentAt(timeline, state.time)));
  }

  // ---- everything that follows the playhead

  function update(time) {
    state.time = clamp(time, start, end);
    drawBoxes();
    const moment = timed ? momentAt(chosen().timeline, state.time) : null;
    moveBars(moment);
    if (!timed) return;
    moveDot(chosen().timeline);
    line.head?.setAttribute("transform", `translate(${across(state.time)} 0)`);
    byId("clock").textContent = `${seconds(state.time)} / ${seconds(end)} ${say.second}`;
    byId("play").querySelector(".word").textContent = clock.playing() ? say.pause : say.play;
    byId("play").querySelector(".icon").textContent = clock.playing() ? "❚❚" : "▶";
    const words = report.utterances.filter((utterance) => utterance.start <= state.time && state.time <= utterance.end);
    byId("caption").textContent = words.map((utterance) => utterance.text).join(" ");
    const slider = byId("timeline");
    slider.setAttribute("aria-valuenow", seconds(state.time));
    const gap = moment ? null : gapAt(state.time);
    const answer = moment ? `, ${names[moment.label]} ${percent(moment.distribution[moment.label])}` : gap ? `, ${say.no_answer}` : "";
    slider.setAttribute("aria-valuetext", `${seconds(state.time)} ${say.second}${answer}`);
    for (const button of all("[data-seek]")) {
      const current = Number(button.dataset.seek) <= state.time && state.time < Number(button.dataset.until);
      const picked = state.cue ? report.cues[button.dataset.cue] === state.cue : false;
      button.setAttribute("aria-current", button.dataset.cue === undefined ? current : picked);
    }
  }

  function moveBars(moment) {
    const shares = moment ? sharesOf(moment) : timed ? null : chosen().distribution;
    for (const row of all("#bars li")) {
      const share = shares ? shares[row.dataset.label] : 0;
      row.querySelector(".fill").setAttribute("width", `${100 * share}%`);
      row.querySelector(".value").textContent = shares ? percent(share) : "–";
      row.classList.toggle("first", Boolean(shares) && share === Math.max(...Object.values(shares)));
      const whole = `${100 * chosen().distribution[row.dataset.label]}%`;
      for (const side of ["x1", "x2"]) row.querySelector(".mark").setAttribute(side, whole);
    }
    const span = moment && (state.raw ? say.window_raw : say.window).replace("{start}", seconds(moment.start)).replace("{end}", seconds(moment.end));
    const gap = state.who === null ? gapAt(state.time) : null;
    if (timed && byId("window")) byId("window").textContent = span ?? (gap ? `${say.no_answer}${say.colon}${gap.reason}` : say.outside);
  }

  function choose(who) {
    state.who = who;
    for (const button of all("[data-who]")) button.setAttribute("aria-pressed", button.dataset.who === (who === null ? "" : String(who)));
    drawPlane();
    drawTimeline();
    update(state.time);
  }

  // ---- two columns of cards, as equal in height as their order within a column permits

  const rest = document.querySelector(".rest");
  const cards = [...rest.children];

  function balance() {
    if (rest.clientWidth < TWO_COLUMNS) {
      if (rest.classList.contains("balanced")) rest.replaceChildren(...cards);
      rest.classList.remove("balanced");
      return;
    }
    if (!rest.classList.contains("balanced")) {
      rest.classList.add("balanced");
      rest.replaceChildren(...[0, 1].map(() => Object.assign(document.createElement("div"), { className: "column" })));
      rest.firstElementChild.append(...cards);
    }
    const [left, right] = rest.children;
    for (const card of cards) card.style.flex = "none";
    const picked = evenSplit(cards.map((card) => card.offsetHeight + 14));
    left.replaceChildren(...cards.filter((_, n) => picked[n]));
    right.replaceChildren(...cards.filter((_, n) => !picked[n]));
    for (const card of cards) card.style.flex = "";
  }

  // ---- what the user does

  function steer(event) {
    const episodes = chosen().episodes;
    const ahead = episodes.find((episode) => episode.onset > state.time + 0.01)?.onset ?? end;
    const back = episodes.findLast((episode) => episode.onset < state.time - 0.3)?.onset ?? start;
    const stride = event.shiftKey ? 5 : 0.5;
    const targets = {
      ArrowRight: state.time + stride, ArrowUp: state.time + stride, ArrowLeft: state.time - stride,
      ArrowDown: state.time - stride, Home: start, End: end, PageUp: back, PageDown: ahead,
    };
    if (event.key === " ") clock.toggle();
    else if (event.key in targets) clock.seek(targets[event.key]);
    else return;
    event.preventDefault();
  }

  function listenTimeline() {
    const holder = byId("timeline");
    const at = (event) => timeOf(event.clientX - holder.getBoundingClientRect().left);
    holder.addEventListener("keydown", steer);
    holder.addEventListener("pointerdown", (event) => { holder.setPointerCapture(event.pointerId); clock.seek(at(event)); });
    holder.addEventListener("pointermove", (event) => {
      if (event.buttons & 1) clock.seek(at(event));
      line.hover.setAttribute("visibility", "visible");
      line.hover.setAttribute("transform", `translate(${across(at(event))} 0)`);
    });
    holder.addEventListener("pointerleave", () => line.hover.setAttribute("visibility", "hidden"));
    new ResizeObserver(drawTimeline).observe(holder);
    byId("raw").addEventListener("change", (event) => { state.raw = event.target.checked; drawTimeline(); });
    byId("play").addEventListener("click", clock.toggle);
    byId("speed").addEventListener("change", (event) => clock.speed(Number(event.target.value)));
    byId("mute").addEventListener("change", (event) => { clock.medium.muted = event.target.checked; });
    byId("mute-choice").hidden = !clock.medium?.play || aids.media.replay;
    document.querySelector(".controls").hidden = false;
    byId("caption").hidden = !report.utterances.length;
  }

  for (const button of all("[data-who]")) {
    const who = button.dataset.who === "" ? null : Number(button.dataset.who);
    button.addEventListener("click", () => choose(state.who === who ? null : who));
  }
  for (const button of all("[data-seek]")) {
    button.addEventListener("click", () => {
      const cue = report.cues[button.dataset.cue] ?? null;
      state.cue = cue !== null && cue === state.cue ? null : cue;
      if (timed) { clock.seek(state.cue ? measuredAt(cue)?.time ?? cue.start : Number(button.dataset.seek)); drawTimeline(); }
      else { button.setAttribute("aria-current", state.cue !== null); drawBoxes(); }
    });
  }
  byId("save-report").addEventListener("click", () => saveFile(`${aids.stem}.report.json`, "application/json", `${JSON.stringify(report)}\n`));
  byId("save-table")?.addEventListener("click", () => saveFile(`${aids.stem}.timeline.csv`, "text/csv", timelineTable(report, aids.columns)));
  document.body.classList.add("live");
  let width = 0;
  new ResizeObserver(() => { if (rest.clientWidth !== width) { width = rest.clientWidth; balance(); } }).observe(rest);
  if (timed && byId("now-title")) byId("now-title").textContent = say.now;
  if (aids.media.replay) { byId("boxes").checked = false; byId("boxes-choice").hidden = true; }  // the boxes are of the clip
  byId("boxes").addEventListener("change", drawBoxes);
  buildStage();
  if (byId("bars")?.scrollHeight > byId("bars")?.clientHeight) byId("bars").tabIndex = 0;
  if (plane) new ResizeObserver(() => { drawPlane(); update(state.time); }).observe(byId("plane").parentElement);
  drawPlane();
  if (timed) { listenTimeline(); drawTimeline(); }
  if (clock.medium?.play) followMedium(clock.medium);
  update(start);
}
