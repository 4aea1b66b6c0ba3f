// Live sessions: camera, microphone, and continuous reports of the last seconds.

import {
  byId, colour, facts, fail, key, labelName, language, percent, Refused, say, signed, onLanguage,
} from "./shared.js";

const PICTURE = 0, SOUND = 1;
const MOST_HISTORY = 60, MOST_TRAIL = 12;
const QUIET = -60;  // dBFS at the lower end of the meter
const BOX_SECONDS = 1;  // what the label of a box stands for
const STALE_SECONDS = 3;  // age of the newest picture from which a report is greyed
const now = {
  socket: null, stream: null, sound: null, timer: 0, ageing: 0, began: 0, label: "", report: null, trail: [], history: [],
};
let hears = false;

const clock = () => (performance.now() - now.began) / 1000;

function packed(kind, when, bytes) {
  const message = new Uint8Array(9 + bytes.byteLength);
  const view = new DataView(message.buffer);
  view.setUint8(0, kind);
  view.setFloat64(1, when);
  message.set(new Uint8Array(bytes), 9);
  return message;
}

function send(kind, when, bytes) {
  if (now.socket && now.socket.readyState === WebSocket.OPEN) now.socket.send(packed(kind, when, bytes));
}

const reasonOf = (error) => (error.name in facts.texts ? say(error.name) : error.name);
const state = (name) => {
  byId("live-state").dataset.say = name;
  byId("live-state").textContent = name ? say(name, { span: facts.span }) : "";
};

function stageSays(name) {
  byId("stage-words").dataset.say = name;
  byId("stage-words").textContent = say(name);
}

// ---- sending ----

const VIDEO = { width: { ideal: 640 }, facingMode: "user" };
// Speech enhancement by the browser would change the expression of the voice.
const AUDIO = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** Request camera and microphone, or the one that is available. */
async function devices() {
  const ask = (wanted) => navigator.mediaDevices.getUserMedia(wanted);
  if (!hears || !byId("microphone").checked) return ask({ video: VIDEO });
  try {
    return await ask({ video: VIDEO, audio: AUDIO });
  } catch (both) {
    try {
      const stream = await ask({ video: VIDEO });
      fail(say("no_microphone", { why: reasonOf(both) }));
      return stream;
    } catch (camera) {
      if (camera.name !== "NotFoundError") throw camera;
      return ask({ audio: AUDIO });
    }
  }
}

/** Send the microphone's samples with their times on the session's clock. */
async function listen(stream) {
  const rate = 16000;
  let context = new AudioContext({ sampleRate: rate });
  let source;
  try {
    source = context.createMediaStreamSource(stream);
  } catch {  // the browser does not resample streams; the worklet does
    await context.close();
    context = new AudioContext();
    source = context.createMediaStreamSource(stream);
  }
  await context.audioWorklet.addModule("/web/sound.js");
  const pieces = new AudioWorkletNode(context, "pieces", { numberOfOutputs: 0, processorOptions: { rate } });
  let heard = 0, first = null;
  pieces.port.onmessage = ({ data }) => {
    const length = data.byteLength / 2 / rate;
    const late = clock() - length;
    if (first === null || Math.abs(first + heard / rate - late) > 0.3) [first, heard] = [late, 0];  // after a gap
    send(SOUND, Math.max(first + heard / rate, 0), data);
    heard += data.byteLength / 2;
    showLevel(new Int16Array(data));
  };
  source.connect(pieces);
  return { context, stream };
}

function showLevel(samples) {
  let power = 0;
  for (const sample of samples) power += sample * sample;
  const level = 10 * Math.log10(power / samples.length / 32768 ** 2 + 1e-12);
  byId("level").value = Math.max(0, 1 - level / QUIET);
}

async function hear() {
  const tracks = now.stream.getAudioTracks();
  byId("level").hidden = !tracks.length;
  if (tracks.length) now.sound = await listen(new MediaStream(tracks));
}

async function fallSilent() {
  const { sound } = now;
  now.sound = null;
  byId("level").hidden = true;
  if (!sound) return;
  for (const track of sound.stream.getTracks()) {
    track.stop();
    if (now.stream) now.stream.removeTrack(track);
  }
  await sound.context.close();
}

function sendPicture() {
  const camera = byId("camera");
  if (!camera.videoWidth || !now.socket || now.socket.bufferedAmount > 200000) return;  // skip pictures rather than lag
  const sheet = document.createElement("canvas");
  sheet.width = camera.videoWidth;
  sheet.height = camera.videoHeight;
  sheet.getContext("2d").drawImage(camera, 0, 0);
  const when = clock();
  sheet.toBlob(async (blob) => blob && send(PICTURE, when, await blob.arrayBuffer()), "image/jpeg", 0.85);
}

// ---- the session ----

async function start() {
  fail("");
  if (!navigator.mediaDevices) {
    fail(say("insecure"));
    return;
  }
  byId("live-start").disabled = true;
  try {
    now.stream = await devices();
  } catch (error) {
    fail(say("no_camera", { why: reasonOf(error) }), start);
    return;
  } finally {
    byId("live-start").disabled = false;
  }
  Object.assign(now, { began: performance.now(), label: "", report: null, trail: [], history: [] });
  byId("live-line").replaceChildren();
  byId("live-axis").replaceChildren();
  byId("live-save").hidden = true;
  now.ageing = setInterval(showAge, 250);
  byId("live-now").hidden = true;
  const seen = now.stream.getVideoTracks().length > 0;
  stageSays(seen ? "live_empty" : "live_sound_only");
  byId("stage").classList.toggle("on", seen);
  if (seen) {
    byId("camera").srcObject = now.stream;
    await byId("camera").play();
  }
  byId("live-start").hidden = byId("live-before").hidden = true;
  byId("live-stop").hidden = false;
  byId("live-stop").focus();
  state("live_wait");
  open();
}

function open() {
  const socket = now.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/emotion/live`);
  let explained = false;  // whether an error message has given the reason for the end
  socket.onopen = () => socket.send(JSON.stringify(
    { type: "start", labels: byId("labels").value, language: language(), context: byId("context").value,
      ...(key() && { key: key() }) }));
  socket.onmessage = async ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "ready") {
      now.timer = setInterval(sendPicture, Math.max(1000 * message.apart, 150));
      await hear();
    } else if (message.type === "report") {
      show(message);
    } else {
      explained = true;
      fail(new Refused(message).message, message.code === "queue_full" ? start : null);
    }
  };
  socket.onclose = ({ code }) => {
    if (now.socket !== socket) return;  // we closed it
    const ends = { 1000: "ended_time", 1001: "ended_idle" };
    if (!explained) fail(say("ended", { why: say(ends[code] || "ended_lost") }), start);
    stop();
  };
}

export function stop() {
  if (!now.stream) return;
  clearInterval(now.timer);
  clearInterval(now.ageing);
  const { stream, socket } = now;
  fallSilent();
  now.stream = now.socket = null;
  for (const track of stream.getTracks()) track.stop();
  if (socket) socket.close();
  byId("camera").srcObject = null;
  byId("stage").classList.remove("on");
  stageSays("live_empty");
  byId("boxes").getContext("2d").clearRect(0, 0, byId("boxes").width, byId("boxes").height);
  byId("live-stop").hidden = true;
  byId("live-start").hidden = byId("live-before").hidden = false;
  if (!byId("pane-live").hidden) byId("live-start").focus();
  state(now.history.length ? "live_over" : "");
  byId("live-age").textContent = "";
  byId("live-now").classList.add("stale");
}

// ---- display ----

function show({ report, took, voiced, now: until }) {
  if (!now.stream) return;
  state("live_on");
  now.report = { report, took, voiced, until };
  byId("live-now").hidden = byId("live-save").hidden = false;
  now.history.push({ until, report });
  if (report.label) now.trail = [...now.trail, [...report.valence_arousal, report.label]].slice(-MOST_TRAIL);
  const part = document.createElement("span");
  part.style.backgroundColor = report.label ? colour(report.label) : "transparent";
  part.title = report.label ? labelName(report.label) : report.uncertainty.reason;
  byId("live-line").append(part);
  while (byId("live-line").children.length > MOST_HISTORY) byId("live-line").firstChild.remove();
  draw();
  drawAxis();
  showAge();
}

/** Say how old the newest picture of the report is; an old report is greyed. */
function showAge() {
  if (!now.report) return;
  const age = Math.max(clock() - now.report.until, 0);
  byId("live-age").textContent = say("age", { seconds: age.toFixed(1) });
  const stale = age > STALE_SECONDS;
  if (stale === byId("live-now").classList.contains("stale")) return;
  byId("live-now").classList.toggle("stale", stale);
  drawBoxes(now.report.report.people);
}

/** Write the seconds of the session under the first and the last label of the history. */
function drawAxis() {
  const shown = now.history.slice(-MOST_HISTORY);
  const ticks = new Set([shown[0], shown[Math.floor(shown.length / 2)], shown[shown.length - 1]]);
  byId("live-axis").replaceChildren(...[...ticks].map(({ until }) => {
    const tick = document.createElement("span");
    tick.textContent = `${until.toFixed(0)} s`;
    return tick;
  }));
}

/** Return the mean shares of a person over the last second, or null if no crop was read then. */
function lastShares(person) {
  const last = person.seen[person.seen.length - 1];
  const read = person.seen.filter((seen) => last.time - seen.time <= BOX_SECONDS && Object.keys(seen.distribution).length);
  if (!read.length) return null;
  return Object.fromEntries(Object.keys(read[0].distribution).map(
    (label) => [label, read.reduce((total, seen) => total + seen.distribution[label], 0) / read.length]));
}

const likeliest = (shares) => Object.keys(shares).reduce((best, label) => (shares[label] > shares[best] ? label : best));

/** Return valence and arousal expected over shares, or nulls where a label has no place. */
function affect(shares) {
  const labels = Object.keys(shares);
  if (!labels.length || labels.some((label) => !facts.places[label])) return [null, null];
  return [0, 1].map((axis) => labels.reduce((total, label) => total + shares[label] * facts.places[label][axis], 0));
}

/** Return the session as CSV: a row per report and person, and one per report for all channels together. */
function sessionTable() {
  const labels = Object.keys((now.history.find(({ report }) => report.label) || now.history[0]).report.distribution);
  const cell = (value) => (value === null || value === undefined ? "" : typeof value === "number" ? String(Number(value.toFixed(6)))
    : `"${String(value).replaceAll('"', '""')}"`);
  const rows = [["time", "person", "label", "valence", "arousal", ...labels]];
  for (const { until, report } of now.history) {
    rows.push([until, null, report.label, ...affect(report.distribution), ...labels.map((label) => report.distribution[label])]);
    for (const person of report.people) {
      const last = lastShares(person) || person.distribution;
      rows.push([until, person.person, likeliest(last), ...affect(last), ...labels.map((label) => last[label])]);
    }
  }
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function saveSession() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([sessionTable()], { type: "text/csv" }));
  link.download = "live_session.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function draw() {
  if (!now.report) return;
  const { report, took, voiced } = now.report;
  const answered = Boolean(report.label), unsure = !answered || (report.uncertainty && report.uncertainty.abstains);
  const label = answered ? unsure ? say("not_sure") : labelName(report.label) : say("no_answer");
  if (byId("live-label").textContent !== label) byId("live-label").textContent = label;  // screen readers announce changes
  byId("live-share").textContent = !answered ? report.uncertainty.reason
    : unsure ? say("leans", { label: labelName(report.label) }) : percent(report.distribution[report.label]);
  byId("live-swatch").style.backgroundColor = unsure ? "transparent" : colour(report.label);
  drawBars(report);
  const alone = Object.fromEntries(report.channels.map((channel) => [channel.channel, channel]));
  const threshold = report.uncertainty ? report.uncertainty.threshold : 0;
  const channelText = (channel) => {
    if (!channel || !channel.label) return "";
    const share = channel.distribution[channel.label], name = labelName(channel.label);
    return `${share < threshold ? `${say("not_sure")}, ${say("leans", { label: name })}` : name} ${percent(share)}`;
  };
  byId("live-face").textContent = channelText(alone.picture) || say("nobody");
  byId("live-voice").textContent = channelText(alone.sound) || say(voiced === null ? "voice_off" : "voice_none");
  const felt = answered ? report.valence_arousal.map((value, number) =>
    `${say(["valence", "arousal"][number])} ${signed(value)}`) : [];
  const count = report.people.length;
  const seen = count > 1 ? say("people", { count }) : say(count ? "one" : "nobody");
  byId("live-facts").replaceChildren(...[seen, ...felt, say("took", { took: took.toFixed(1) })].map((text) => {
    const line = document.createElement("span");
    line.textContent = text;
    return line;
  }));
  drawPlane();
  drawBoxes(report.people);
}

/** Keep the order of the bars, so that reports can be compared. */
function drawBars(report) {
  const list = byId("live-bars"), labels = Object.keys(report.distribution);
  if (list.dataset.labels !== labels.join()) {
    list.dataset.labels = labels.join();
    list.replaceChildren(...labels.map((label) => {
      const row = document.createElement("li");
      for (const name of ["name", "ground", "value"]) {
        const part = document.createElement("span");
        part.className = name;
        row.append(part);
      }
      const fill = document.createElement("span");
      fill.className = "fill";
      fill.style.backgroundColor = colour(label);
      row.children[1].append(fill);
      return row;
    }));
  }
  for (const [number, label] of labels.entries()) {
    const row = list.children[number];
    row.children[0].textContent = labelName(label);
    row.children[1].firstChild.style.width = percent(report.distribution[label]);
    row.children[2].textContent = percent(report.distribution[label]);
    row.classList.toggle("leads", label === report.label);
  }
}

function drawn(name, attributes, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  return node;
}

function drawPlane() {
  const parts = [drawn("circle", { r: 1, class: "edge" }), drawn("path", { d: "M-1 0H1M0-1V1", class: "edge" })];
  for (const [word, x, y, anchor] of [["excited", 0, -1.1, "middle"], ["calm", 0, 1.24, "middle"], ["pleasant", 1, -0.06, "end"], ["unpleasant", -1, -0.06, "start"]])
    parts.push(drawn("text", { x, y, "text-anchor": anchor }, say(word)));
  for (const [number, [valence, arousal, label]] of now.trail.entries()) {
    const age = now.trail.length - 1 - number;
    parts.push(drawn("circle", { cx: valence, cy: -arousal, r: age ? 0.05 : 0.1, fill: colour(label), opacity: 1 - age / MOST_TRAIL, class: age ? "" : "last" }));
  }
  byId("plane").replaceChildren(...parts);
}

function drawBoxes(people) {
  const sheet = byId("boxes"), camera = byId("camera");
  sheet.width = camera.videoWidth || 640;
  sheet.height = camera.videoHeight || 480;
  const pen = sheet.getContext("2d");
  const scale = sheet.width / Math.max(sheet.clientWidth, 1);  // constant text size for all camera sizes
  pen.font = `600 ${14 * scale}px system-ui, sans-serif`;
  const stale = byId("live-now").classList.contains("stale");
  for (const person of people) {
    const last = person.seen[person.seen.length - 1];
    if (!last) continue;
    const label = likeliest(lastShares(person) || person.distribution);
    let [left, top, right, bottom] = last.box.map((part, number) => part * (number % 2 ? sheet.height : sheet.width));
    [left, right] = [sheet.width - right, sheet.width - left];  // the picture is mirrored
    pen.strokeStyle = pen.fillStyle = stale ? "#9aa0a6" : colour(label);
    pen.lineWidth = 3 * scale;
    pen.strokeRect(left, top, right - left, bottom - top);
    const text = labelName(label), width = pen.measureText(text).width + 10 * scale;
    const above = Math.max(top - 22 * scale, 0);
    pen.fillRect(left - 1.5 * scale, above, width, 22 * scale);
    pen.fillStyle = "#000";
    pen.fillText(text, left + 4 * scale, above + 16 * scale);
  }
}

// ---- choices ----

export function setHearing(does) {
  hears = does;
  byId("microphone-choice").hidden = !does;
  byId("deaf").hidden = does;
}

byId("live-start").addEventListener("click", start);
byId("live-stop").addEventListener("click", stop);
byId("live-save").addEventListener("click", saveSession);
byId("microphone").addEventListener("change", async () => {
  if (!now.stream) return;
  if (!byId("microphone").checked) {
    await fallSilent();
    return;
  }
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: AUDIO });
    for (const track of stream.getTracks()) now.stream.addTrack(track);
    await hear();
  } catch (error) {
    byId("microphone").checked = false;
    fail(say("no_microphone", { why: reasonOf(error) }));
  }
});
onLanguage(() => {
  byId("live-awaited").textContent = say("live_awaited", { span: facts.span });
  byId("live-kept").textContent = say("live_kept", { span: facts.span });
  if (byId("live-state").dataset.say) state(byId("live-state").dataset.say);
  draw();
  if (now.stream) showAge();
});
