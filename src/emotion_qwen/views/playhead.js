// The state of a report at a time, by the rules of playhead.py.
const centre = (moment) => (moment.start + moment.end) / 2;

function momentAt(timeline, time) {
  let best = null;
  for (const moment of timeline) {
    const holds = moment.start <= time && time <= moment.end;
    if (holds && (!best || Math.abs(centre(moment) - time) < Math.abs(centre(best) - time))) best = moment;
  }
  return best;
}

// `grid` has the seconds between sampled frames, and the number of them that a hole may last.
function boxAt(person, time, { step, hole }) {
  const seen = person.seen;
  if (!seen.length) return person.start === person.end ? person.box : null;
  let place = seen.findIndex((sighting) => sighting.time > time);
  if (place < 0) place = seen.length;
  const [before, after] = [seen[place - 1], seen[place]];
  if (before && after && after.time - before.time <= hole * step) {
    const part = (time - before.time) / (after.time - before.time);
    return before.box.map((side, n) => side + part * (after.box[n] - side));
  }
  const near = [before, after].filter((sighting) => sighting && Math.abs(sighting.time - time) <= step / 2);
  near.sort((a, b) => Math.abs(a.time - time) - Math.abs(b.time - time));
  return near.length ? near[0].box : null;
}

// A person's shares in the nearest frame that was scored.
function shownAt(person, time) {
  const read = person.seen.filter((sighting) => Object.keys(sighting.distribution ?? {}).length);
  const near = read.reduce((best, sighting) => (best && Math.abs(best.time - time) <= Math.abs(sighting.time - time) ? best : sighting), null);
  return near?.distribution ?? person.distribution;
}

// Runs of windows without a gap between them.
function stretches(timeline) {
  const runs = [];
  for (const moment of timeline) {
    const last = runs[runs.length - 1];
    if (last && moment.start <= last[last.length - 1].end) last.push(moment);
    else runs.push([moment]);
  }
  return runs;
}
