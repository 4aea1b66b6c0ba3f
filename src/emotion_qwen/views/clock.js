// The clip, and the clock that the page follows.

// Returns an element that plays `media` or shows it, or null; `data` is the element with the embedded file, or null.
function makeMedium(media, data, name, failed) {
  const kind = { video: "video", sound: "audio", picture: "img" }[media.kind];
  if (!kind) return null;
  const medium = document.createElement(kind);
  medium.addEventListener("error", failed);
  if (kind === "img") medium.alt = name;
  else Object.assign(medium, { playsInline: true, preload: "auto", tabIndex: -1, ariaLabel: name });
  medium.src = data ? embedded(media, data) : media.address;
  return medium;
}

function embedded(media, data) {
  const bytes = Uint8Array.from(atob(data.textContent), (letter) => letter.charCodeAt(0));
  data.remove();
  return URL.createObjectURL(new Blob([bytes], { type: media.mime }));
}

// Without a playable clip, a clock of its own lets the timeline play; `update` takes the time in seconds.
function makeClock(medium, { start, end }, update) {
  const plays = medium && medium.play;
  let [free, running, rate, last] = [start, false, 1, 0];
  function turn(now) {
    if (!running) return;
    free = Math.min(free + Math.max(now - last, 0) / 1000 * rate, end);
    last = now;
    if (free >= end) running = false;
    update(free);
    requestAnimationFrame(turn);
  }
  return {
    medium,
    playing: () => (plays ? !medium.paused : running),
    seek(time) {
      free = clamp(time, start, end);
      if (plays) medium.currentTime = free;
      update(free);
    },
    toggle() {
      if (plays) { if (medium.paused) medium.play(); else medium.pause(); return; }
      running = !running;
      if (running && free >= end) free = start;
      last = performance.now();
      update(free);
      requestAnimationFrame(turn);
    },
    speed(value) { rate = value; if (plays) medium.playbackRate = value; },
  };
}
