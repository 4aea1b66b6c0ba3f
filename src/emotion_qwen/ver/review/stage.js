"use strict";
// The clip: boxes of faces, the timeline, and the playhead.
const by = id => document.getElementById(id);
const FACES = ["#ffb000", "#648fff", "#dc267f", "#00b894", "#fe6100"];
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const fitted = canvas => {
  const scale = window.devicePixelRatio || 1, wide = Math.round(canvas.clientWidth * scale), high = Math.round(canvas.clientHeight * scale);
  if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return pen;
};

function load(clip) {
  const video = by("video");
  if (!clip.media) { video.removeAttribute("src"); video.load(); return; }
  video.src = "/media/" + encodeURIComponent(clip.media);
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) video.play().catch(() => {});
}
const length = () => by("video").duration || (state.clip && state.clip.seconds) || 0;
function seek(seconds) { by("video").currentTime = Math.max(0, Math.min(length(), seconds)); }
function toggle() { const video = by("video"); if (video.paused) video.play().catch(() => {}); else video.pause(); }

function boxAt(track, time) {
  const t = track.times, last = t.length - 1;
  if (time < t[0] - .3 || time > t[last] + .3) return null;
  const after = t.findIndex(stamp => stamp >= time);
  if (after <= 0) return track.boxes[after < 0 ? last : 0];
  const share = (time - t[after - 1]) / (t[after] - t[after - 1]);
  return track.boxes[after].map((value, i) => track.boxes[after - 1][i] * (1 - share) + value * share);
}
function drawBoxes(video) {
  const canvas = by("boxes"), pen = fitted(canvas), across = canvas.clientWidth, down = canvas.clientHeight;
  const fit = Math.min(across / video.videoWidth, down / video.videoHeight), wide = video.videoWidth * fit, high = video.videoHeight * fit;
  const left = (across - wide) / 2, top = (down - high) / 2;
  (state.clip.tracks || []).forEach((track, person) => {
    const box = boxAt(track, video.currentTime);
    if (!box) return;
    const x = left + box[0] * wide, y = top + box[1] * high, name = "person " + (person + 1);
    pen.strokeStyle = FACES[person % FACES.length]; pen.lineWidth = 2; pen.font = "12px system-ui, sans-serif";
    pen.strokeRect(x, y, (box[2] - box[0]) * wide, (box[3] - box[1]) * high);
    const row = y > 18 ? y - 17 : y + 2, room = pen.measureText(name).width + 8;  // above the face, if there is room
    pen.fillStyle = "#000c"; pen.fillRect(x, row, room, 16);
    pen.fillStyle = "#fff"; pen.fillText(name, x + 4, row + 12);
  });
}
function drawTime(video) {
  const canvas = by("time"), pen = fitted(canvas), long = length() || 1, wide = canvas.clientWidth;
  const x = time => time / long * wide, ink = colour("--ink");
  pen.font = "11px system-ui, sans-serif"; pen.textBaseline = "middle";
  const inside = (text, start, end, top, high, shade) => {
    pen.save(); pen.beginPath(); pen.rect(x(start), top, x(end) - x(start), high); pen.clip();
    pen.fillStyle = shade; pen.fillText(text, x(start) + 4, top + high / 2); pen.restore();
  };
  (state.clip.tracks || []).slice(0, 3).forEach((track, person) => {
    pen.fillStyle = FACES[person % FACES.length];
    pen.fillRect(x(track.times[0]), person * 7 + 1, Math.max(2, x(track.times.at(-1)) - x(track.times[0])), 5);
  });
  pen.fillStyle = colour("--wash"); pen.fillRect(0, 25, wide, 22); pen.fillRect(0, 51, wide, 22);
  const rows = [[shownEpisodes(), 25, "no episodes"], [state.clip.words || [], 51, "no words"]];
  rows.filter(([content]) => !content.length).forEach(([, top, text]) => inside(text, 0, long, top, 22, colour("--soft")));
  shownEpisodes().forEach(({onset, offset, label}) => {
    const [ground, shade] = state.colours[label] || ["#888888", "#000000"];
    pen.fillStyle = ground; pen.fillRect(x(onset), 25, Math.max(2, x(offset) - x(onset) - 1), 22);
    inside(label, onset, offset, 25, 22, shade);
  });
  (state.clip.words || []).forEach(([start, end, text]) => {
    pen.strokeStyle = colour("--faint"); pen.strokeRect(x(start) + .5, 51.5, Math.max(2, x(end) - x(start) - 1), 21);
    inside(text, start, end, 51, 22, ink);
  });
  pen.fillStyle = ink; pen.fillRect(Math.min(wide - 2, x(video.currentTime)), 0, 2, canvas.clientHeight);
}
let drawn = "";
function draw() {
  const video = by("video"), size = [by("time").clientWidth, by("boxes").clientWidth, by("boxes").clientHeight, video.videoWidth];
  const shown = state.clip ? [state.clip.clip, video.currentTime, video.paused, length(), size, colour("--ink"), JSON.stringify(shownEpisodes())].join() : "";
  if (shown !== drawn) {
    drawn = shown;
    if (video.videoWidth) drawBoxes(video);
    drawTime(video);
    by("play").textContent = video.paused ? "Play" : "Pause";
    by("clock").textContent = video.currentTime.toFixed(1) + " / " + length().toFixed(1) + " s";
    by("seek").max = length(); by("seek").value = video.currentTime;
  }
  requestAnimationFrame(draw);
}
by("time").addEventListener("click", event => seek(event.offsetX / by("time").clientWidth * length()));
by("seek").addEventListener("input", () => seek(Number(by("seek").value)));
by("play").addEventListener("click", toggle);
