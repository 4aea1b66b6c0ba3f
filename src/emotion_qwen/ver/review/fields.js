"use strict";
// The fields of a clip: its label, valence, arousal, episodes and texts, as shown and as changed.
const LANGUAGES = {en: "English", zh: "中文"};
const TERMS = {
  en: {valence: "valence", arousal: "arousal", description: "description", reasoning: "reasoning", voice: "voice", body: "body", scene: "scene", context: "context", measured: "sound, measured", none: "none", colon: ": ", comma: ", "},
  zh: {valence: "效价", arousal: "唤醒度", description: "描述", reasoning: "依据", voice: "声音", body: "姿态", scene: "场景", context: "情境", measured: "声音（测量）", none: "无", colon: "：", comma: "，"},
};
const TEXTS = ["description", "reasoning"];
function made(name, values = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(values)) {
    if (key in element) element[key] = value; else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}
const line = text => made("li", {}, text);
const labelName = label => Object.keys(LANGUAGES).filter(language => state.languages.includes(language)).map(language => state.names[language][label] || label).filter((name, i, all) => all.indexOf(name) === i).join(" · ");
function labelChoice(label, values = {}) {
  const options = Object.keys(state.names.en).map(name => made("option", {value: name}, labelName(name)));
  if (!label) options.unshift(made("option", {value: ""}, "none"));
  const choice = made("select", values, ...options);
  choice.value = label;
  return choice;
}

/** Show the teacher's values and texts, with the edits and corrections of the reviewer's decision. */
function showFields(decision) {
  const corrections = (decision && decision.corrections) || {}, edits = (decision && decision.edits) || {}, first = state.clip[state.languages[0]];
  state.start = {label: first.emotions[0] || "", valence: first.valence, arousal: first.arousal, episodes: []};
  const shown = {...state.start, ...corrections};
  by("label").replaceWith(labelChoice(shown.label, {id: "label"}));
  by("label").addEventListener("change", hint);
  for (const name of ["valence", "arousal"]) by(name).value = shown[name] ?? "";
  by("episodes").tBodies[0].replaceChildren();
  shown.episodes.forEach(episode => addEpisode(episode));
  state.texts = edits;
  by("texts").replaceChildren(...state.languages.map(language => section(language, edits[language] || {})));
  count(); hint();
}
function section(language, edits) {
  const content = state.clip[language], term = TERMS[language], box = made("section", {className: "card", lang: language});
  const emotions = content.emotions.map(emotion => state.names[language][emotion] || emotion).join(term.comma);
  box.append(made("h2", {}, LANGUAGES[language]));
  if (emotions) box.append(made("p", {className: "soft"}, emotions + " · " + term.valence + " " + content.valence + term.comma + term.arousal + " " + content.arousal));
  for (const field of TEXTS) {
    const area = made("textarea", {rows: 3, readOnly: true, placeholder: term.none, value: edits[field] ?? content[field]});
    area.dataset.language = language; area.dataset.field = field;
    area.addEventListener("input", hint);
    box.append(made("label", {}, term[field], area));
  }
  const cues = [...content.facial_cues, ...["body", "voice", "scene", "context"].filter(field => content[field]).map(field => term[field] + term.colon + content[field])];
  const sound = state.clip["voice_" + language];
  if (sound) cues.push(term.measured + term.colon + sound);
  if (cues.length) box.append(made("ul", {}, ...cues.map(line)));
  return box;
}

function addEpisode({onset, offset, label}) {
  const row = made("tr"), cell = (name, ...children) => row.append(made("td", {"data-name": name}, ...children));
  const time = (name, value) => made("input", {type: "number", min: 0, step: "any", value: Number(value.toFixed(3)), className: name, "aria-label": name + " of the episode, seconds"});
  const choice = labelChoice(label, {"aria-label": "label of the episode"}), swatch = made("span", {className: "swatch", "aria-hidden": "true"});
  const paint = () => { swatch.style.background = (state.colours[choice.value] || ["#888"])[0]; };
  choice.addEventListener("change", paint); paint();
  const remove = made("button", {type: "button"}, "Remove");
  remove.addEventListener("click", () => { row.remove(); count(); by("add-episode").focus(); });
  row.addEventListener("focusin", () => { state.episode = row; });
  cell("Onset, s", time("onset", onset)); cell("Offset, s", time("offset", offset)); cell("Label", swatch, choice); cell("", remove);
  by("episodes").tBodies[0].append(row);
  state.episode = row;
  count();
  return row;
}
function count() {
  const none = !by("episodes").tBodies[0].rows.length;
  by("episodes").hidden = none; by("no-episodes").hidden = !none;
}
function newEpisode() {
  const long = Math.floor(length() * 1000) / 1000, onset = Math.min(by("video").currentTime, Math.max(0, long - .1));
  const row = addEpisode({onset, offset: Math.min(long, onset + 1), label: by("label").value || Object.keys(state.names.en)[0]});
  row.querySelector("input").focus();
}
function moveEpisode(name) {
  if (!state.episode || !state.episode.isConnected) return say("Add an episode first.");
  state.episode.querySelector("." + name).value = Number(Math.min(by("video").currentTime, Math.floor(length() * 1000) / 1000).toFixed(3));
}
const shownEpisodes = () => [...by("episodes").tBodies[0].rows].map(row => ({onset: Number(row.querySelector(".onset").value), offset: Number(row.querySelector(".offset").value), label: row.querySelector("select").value}));

/** Return what differs from the teacher's values: {edits, corrections}. */
function changedFields() {
  const edits = {}, corrections = {};
  by("texts").querySelectorAll("textarea").forEach(({dataset, value}) => {
    if (value !== state.clip[dataset.language][dataset.field]) (edits[dataset.language] ||= {})[dataset.field] = value;
  });
  if (by("label").value !== state.start.label) corrections.label = by("label").value;
  for (const name of ["valence", "arousal"]) {
    const text = by(name).value.trim();
    if (text === "" ? state.start[name] !== null : Number(text) !== state.start[name]) corrections[name] = text === "" ? null : Number(text);
  }
  const rows = [...by("episodes").tBodies[0].rows], number = field => field.value.trim() === "" ? null : Number(field.value);
  const episodes = rows.map(row => ({onset: number(row.querySelector(".onset")), offset: number(row.querySelector(".offset")), label: row.querySelector("select").value}));
  if (episodes.length || state.stored.episodes) corrections.episodes = episodes;
  return {edits, corrections};
}
/** Remind the reviewer of texts that still describe the teacher's label. */
function hint() {
  const relabelled = state.start.label && by("label").value !== state.start.label;
  const unchanged = state.languages.filter(language => by("texts").querySelector(`[data-language=${language}][data-field=description]`)?.value === state.clip[language].description);
  by("hint").hidden = !(relabelled && unchanged.length);
  by("hint").textContent = "The label was changed from " + state.start.label + ". Check whether the texts (" + unchanged.map(language => LANGUAGES[language]).join(", ") + ") still fit it.";
}
by("add-episode").addEventListener("click", newEpisode);
