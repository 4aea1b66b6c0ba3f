"use strict";
// The list of clips, the decisions, and the keyboard.
let state = {clips: [], listed: [], at: -1, clip: null, editing: false, requests: 0, languages: [], names: {en: {}}, colours: {}, stored: {}};
const KEEPS = ["accept", "edit"], PAST = {accept: "accepted", edit: "edited", reject: "rejected", flag: "flagged"};
const reviewer = () => localStorage.getItem("reviewer") || "";
const say = text => { by("message").textContent = text; };
const shorten = (name, most = 18) => name.length <= most ? name : name.slice(0, Math.ceil((most - 1) / 2)) + "…" + name.slice(-Math.floor((most - 1) / 2));

async function fetched(path, body) {
  const options = body === undefined ? {} : {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)};
  const answer = await fetch(path, options), data = await answer.json();
  if (!answer.ok) throw new Error(data.error || answer.statusText);
  return data;
}
const mine = () => "?reviewer=" + encodeURIComponent(reviewer());
const safely = work => async (...given) => { try { return await work(...given); } catch (error) { say(error.message); } };

async function reload() {
  const answer = await fetched("/api/clips" + mine());
  Object.assign(state, {clips: answer.clips, languages: answer.languages, names: answer.names, colours: answer.colours});
  by("filter").options[3].textContent = "rejected by the build (" + answer.rejected + ")";
  by("filter").options[3].disabled = !answer.rejected;
  progress(answer);
  await filter();
}
function progress({decided, total, agreement}) {
  const done = decided[reviewer()] || 0;
  by("progress-bar").max = total || 1; by("progress-bar").value = done;
  by("progress-text").textContent = done + " of " + total + " clips decided";
  by("progress-others").textContent = Object.entries(decided).filter(([name]) => name !== reviewer()).map(([name, n]) => name + ": " + n + " of " + total).join("; ");
  by("agreement").textContent = agreement.pairs.map(pair => "agreement of " + pair.reviewers.join(" and ") + ": " + Math.round(100 * pair.agree) + " % of " + pair.clips + ", kappa " +
    (pair.kappa === null ? "not defined" : pair.kappa.toFixed(2))).join("; ");
}
async function filter() {
  const chosen = by("filter").value, wanted = {all: () => true, open: entry => !entry.own, conflict: entry => entry.conflict, rejected: () => true}[chosen];
  const all = chosen === "rejected" ? (await fetched("/api/rejected" + mine())).clips : state.clips;
  state.listed = all.filter(wanted);
  by("clips").replaceChildren(...state.listed.map(item));
  by("empty").hidden = state.listed.length > 0;
  state.at = state.clip ? state.listed.findIndex(entry => entry.clip === state.clip.clip) : -1;
  mark();
}
function item(entry) {
  const button = made("button", {type: "button", title: entry.clip, tabIndex: -1});
  const picture = entry.media === null ? made("span", {className: "no-picture"}) : made("img", {src: "/small/" + encodeURIComponent(entry.clip) + ".jpg", alt: "", loading: "lazy", width: 72, height: 48});
  const what = made("span", {className: "what"}, entry.label ? labelName(entry.label) : "no label");
  if (entry.own) what.append(" ", made("span", {className: "state " + entry.own}, PAST[entry.own]));
  if (entry.conflict) what.append(" ", made("span", {className: "state conflict"}, "conflict"));
  button.append(picture, what, made("span", {className: "id"}, shorten(entry.clip)));
  if (entry.reason) button.append(made("span", {className: "why"}, entry.step + ": " + entry.reason));
  button.addEventListener("click", () => open(state.listed.findIndex(other => other.clip === entry.clip)));
  return made("li", {}, button);
}
/** Mark the open clip in the list; it alone can be reached with Tab, the others with the arrow keys. */
function mark() {
  const buttons = [...by("clips").querySelectorAll("button")];
  buttons.forEach((button, place) => { button.setAttribute("aria-current", place === state.at); button.tabIndex = place === Math.max(0, state.at) ? 0 : -1; });
  buttons[state.at]?.scrollIntoView({block: "nearest"});
}
const open = safely(async place => {
  if (place < 0 || place >= state.listed.length) return;
  if (state.editing) return say("Save or cancel the edit first.");
  await show(state.listed[place].clip);
});
async function show(name) {
  const request = ++state.requests, clip = await fetched("/api/clip/" + encodeURIComponent(name) + mine());
  if (request !== state.requests) return;
  state.clip = clip; state.at = state.listed.findIndex(entry => entry.clip === name);
  by("work").hidden = false;
  by("title").textContent = shorten(clip.clip, 40); by("title").title = clip.clip;
  by("reason").hidden = clip.accepted;
  by("reason").textContent = "Rejected by the build in step " + clip.step + ": " + clip.reason + (clip.obstacle ? ". It cannot be restored: " + clip.obstacle + "." : "");
  by("critic").hidden = !clip.verdict || clip.verdict === "accept";
  by("critic").textContent = "Critic: " + clip.verdict + (clip.accepted ? ", revised. " : ". ") + (clip.criticism || []).map(one => (one.language ? LANGUAGES[one.language] + ", " : "") + one.text + (one.sentence ? " (“" + one.sentence + "”)" : "")).join("; ");
  const speaker = clip.speaker !== null && clip.speaker >= 0 ? " Person " + (clip.speaker + 1) + " likely speaks." : "";
  by("facts").textContent = [clip.source, clip.start === null ? "" : clip.start.toFixed(2) + "–" + clip.end.toFixed(2) + " s of the video", clip.license].filter(Boolean).join(" · ") +
    (clip.people === null ? "" : ". Measured: " + clip.people + (clip.people === 1 ? " face." : " faces.") + speaker) + (clip.teacher ? " Teacher: " + clip.teacher + "." : "");
  by("words").replaceChildren(...(clip.words || []).map(([start, end, text]) => line(start.toFixed(1) + "–" + end.toFixed(1) + " s  " + text)));
  by("note").value = "";
  load(clip); fields(); edit(false, false); mark();
  const [accept, change, reject] = ["accept", "edit", "reject"].map(action => document.querySelector("[data-action=" + action + "]"));
  accept.firstElementChild.textContent = clip.accepted ? "Accept" : "Restore";
  reject.firstElementChild.textContent = clip.accepted ? "Reject" : "Keep out";
  accept.disabled = change.disabled = Boolean(clip.obstacle);
  say("");
}
/** Say what a decision changed, such as ": label sad, 2 episodes, English texts". */
function changes({corrections, edits}) {
  const values = Object.entries(corrections).map(([name, value]) => name === "episodes" ? value.length + (value.length === 1 ? " episode" : " episodes") : name + " " + value);
  return [...values, ...Object.keys(edits).map(language => LANGUAGES[language] + " texts")].map((text, place) => (place ? ", " : ": ") + text).join("");
}
/** Show the fields and decisions of the open clip. */
function fields() {
  const decision = state.clip.decisions.find(one => one.reviewer === reviewer());
  state.stored = (decision && decision.corrections) || {};
  showFields(decision);
  by("others").textContent = state.clip.decisions.filter(one => one.reviewer !== reviewer()).map(one => one.reviewer + ": " + PAST[one.action] +
    changes(one) + (one.note ? " (" + one.note + ")" : "") + ", " + one.at).join("; ");
}
function edit(on, focus = true) {
  state.editing = on;
  document.body.classList.toggle("editing", on);
  by("values").disabled = !on; by("decide-bar").hidden = on; by("edit-bar").hidden = !on;
  by("texts").querySelectorAll("textarea").forEach(area => { area.readOnly = !on; });
  if (focus) (on ? by("label") : document.querySelector("[data-action=edit]")).focus();
  if (on) say("Correct the label, the values, the episodes or the texts.");
}
function cancel() { fields(); edit(false); say("The edit was cancelled."); }

const decide = safely(async action => {
  if (!state.clip) return;
  if (action === "edit" && !state.editing) return state.clip.obstacle ? undefined : edit(true);
  const given = action === "edit" ? changedFields() : {};
  if (action === "edit" && !Object.keys(given.edits).length && !Object.keys(given.corrections).length) return say("Nothing differs from the description of the build; accept the clip instead.");
  const answer = await fetched("/api/decide", {clip: state.clip.clip, reviewer: reviewer(), action, note: by("note").value, ...given});
  const differs = answer.entry.conflict, name = state.clip.clip, wasEditing = state.editing;
  settle(answer); fields(); edit(false, wasEditing);
  say("Saved: " + PAST[action] + (differs ? ". Another reviewer decided differently." : "."));
  const next = state.listed.findIndex((entry, place) => place > state.at && !entry.own);
  if (!differs && next >= 0) setTimeout(() => { if (state.clip.clip === name && !state.editing) open(next); }, 350);
});
const undo = safely(async () => {
  if (state.editing) return say("Save or cancel the edit first.");
  const answer = await fetched("/api/undo", {reviewer: reviewer()});
  if (state.clip && state.clip.clip === answer.clip) { settle(answer); fields(); } else { settle(answer); await show(answer.clip); }
  say("Undone: " + shorten(answer.clip) + " is no longer " + PAST[answer.action] + ".");
});
/** Take over what the server returns after a decision, without loading the list again. */
function settle(answer) {
  if (state.clip && state.clip.clip === answer.entry.clip) state.clip.decisions = answer.decisions;
  for (const entries of new Set([state.clips, state.listed])) {
    const place = entries.findIndex(entry => entry.clip === answer.entry.clip);
    if (place < 0) continue;
    entries[place] = answer.entry;
    if (entries === state.listed) { by("clips").children[place].replaceWith(item(answer.entry)); }
  }
  progress(answer); mark();
}

const begin = safely(async () => {
  by("name-shown").textContent = "Reviewer: " + reviewer();
  by("export").disabled = false;
  by("export-why").textContent = "Applies the decisions of all reviewers.";
  state.clip = null; by("work").hidden = true;
  await reload();
  if (!state.listed.length) { by("filter").value = "rejected"; await filter(); }
  say(state.listed.length ? "" : "There are no clips.");
  await open(Math.max(0, state.listed.findIndex(entry => !entry.own)));
});
function ask() {
  by("reviewer").value = reviewer();
  by("who").showModal();
}
by("who").addEventListener("close", () => { if (!reviewer()) ask(); });  // browsers let Esc close any dialog
by("name-form").addEventListener("submit", event => {
  event.preventDefault();
  const name = by("reviewer").value.trim();
  if (!name) return;
  localStorage.setItem("reviewer", name);
  by("who").close(); begin();
});
by("rename").addEventListener("click", () => state.editing ? say("Save or cancel the edit first.") : ask());
by("filter").addEventListener("change", safely(filter));
by("undo").addEventListener("click", undo); by("save").addEventListener("click", () => decide("edit")); by("cancel").addEventListener("click", cancel);
document.querySelectorAll("[data-action]").forEach(button => button.addEventListener("click", () => decide(button.dataset.action)));
by("export").addEventListener("click", safely(async () => {
  by("export").disabled = true; by("export-why").textContent = "Writing …";
  try {
    const answer = await fetched("/api/export", {});
    say("Written: " + answer.clips + " clips in the set, " + answer.corrected + " corrected, " + answer.restored + " restored.");
  } finally { by("export").disabled = false; by("export-why").textContent = "Applies the decisions of all reviewers."; }
}));
by("clips").addEventListener("keydown", event => {
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key], buttons = [...by("clips").querySelectorAll("button")], place = buttons.indexOf(document.activeElement);
  if (step && buttons[place + step]) { event.preventDefault(); buttons[place + step].focus(); }
});
document.addEventListener("keydown", event => {
  if (!state.clip || by("who").open) return;
  const target = event.target, number = target.matches("input[type=number]"), typing = target.matches("input:not([type=range]), select, textarea:not([readonly])");
  if (event.key === "Escape") { if (state.editing) cancel(); else target.blur(); return; }
  if (event.key === "Enter" && event.ctrlKey && state.editing) { event.preventDefault(); decide("edit"); return; }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const editing = {"+": newEpisode, "[": () => moveEpisode("onset"), "]": () => moveEpisode("offset")};
  if (state.editing && (!typing || number) && editing[event.key]) { event.preventDefault(); editing[event.key](); return; }
  if (typing) return;
  const native = target.matches("button, summary, input[type=range], a"), jump = event.shiftKey ? .1 : .5;
  const keys = {n: () => by("note").focus(), "?": () => { by("keys").open = !by("keys").open; if (by("keys").open) by("keys").querySelector("summary").focus(); }};
  if (!native) keys[" "] = toggle;
  if (!target.matches("input[type=range]")) { keys.ArrowLeft = () => seek(by("video").currentTime - jump); keys.ArrowRight = () => seek(by("video").currentTime + jump); }
  if (!state.editing) Object.assign(keys, {a: () => by("decide-bar").children[0].disabled || decide("accept"), e: () => decide("edit"), r: () => decide("reject"), f: () => decide("flag"),
    u: undo, j: () => open(state.at + 1), k: () => open(state.at - 1)});
  const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (act) { event.preventDefault(); act(); }
});
if (reviewer()) begin(); else ask();
requestAnimationFrame(draw);
