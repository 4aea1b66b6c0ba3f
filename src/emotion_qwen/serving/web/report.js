// Reports on files: upload, progress, display with the clip, and saving.

import { byId, colour, events, explain, facts, fail, headers, labelName, language, refusal, Refused, say, size, onLanguage } from "./shared.js";
import { forget } from "./chat.js";

let running = null;  // AbortController of the current report
let medium = null;   // the file of the report and the chat
let shownLanguage = "";  // of the report that is shown
let waiting = [];    // files that follow the current one
let reported = false; // whether the report has arrived; it is kept even if its page fails
let progressText = null;    // [name of a text, its values] of the progress that is shown
let span = [0, 0];
const urls = { json: "", page: "" };

function showProgress(name, values = {}) {
  progressText = name ? [name, values] : null;
  byId("progress").textContent = name ? say(name, values) : "";
}

function advance(share) {
  const bar = byId("windows");
  bar.classList.toggle("waiting", share === null);
  if (share === null) bar.removeAttribute("aria-valuenow");
  else bar.setAttribute("aria-valuenow", String(Math.round(100 * share)));
}

/** Analyze files one after the other; the report of each stays until the user goes on to the next. */
export function analyzeAll(files) {
  waiting = [...files].slice(1);
  showWaiting();
  if (files.length) analyze(files[0]);
}

function showWaiting() {
  byId("next").hidden = !waiting.length || Boolean(running);
  if (waiting.length) byId("next").textContent = say("next", { name: waiting[0].name, count: waiting.length });
}

export async function analyze(file, { again = false } = {}) {
  if (file.size > facts.media_bytes || !file.size) {
    fail(file.size ? say("large", { size: size(file.size), limit: size(facts.media_bytes) }) : say("empty"));
    return;
  }
  if (running) running.abort();
  const controller = running = new AbortController();
  medium = file;
  if (!again) forget(file);
  begin();
  const form = new FormData();
  form.append("file", file, file.name);
  form.append("labels", byId("labels").value);
  form.append("language", language());
  form.append("context", byId("context").value);
  for (const name of ["start", "end"]) if (byId(`span-${name}`).value !== "") form.append(name, byId(`span-${name}`).value);
  if (byId("transcript").files.length) form.append("transcript", byId("transcript").files[0]);
  shownLanguage = language();
  const began = performance.now();
  let whole = false;
  try {
    const response = await fetch("/v1/emotion/analyze?stream=true&page=true",
      { method: "POST", body: form, headers: headers(), signal: controller.signal });
    if (!response.ok) throw await refusal(response);
    for await (const [name, data] of events(response)) {
      showEvent(name, data, began);
      whole = name === "page";
    }
    if (!whole) throw new Error(say("cut"));
  } catch (error) {
    if (controller.signal.aborted) return;
    if (reported) {
      deliver({ page: false });
      fail(say("no_page", { why: error.message }));
      return;
    }
    byId("work").hidden = true;
    explain(error, () => analyze(file, { again }));
  } finally {
    if (running === controller) finish();
  }
}

function begin() {
  byId("windows").replaceChildren();
  reported = false;
  for (const id of ["report", "downloads", "chat", "next", "again-language"]) byId(id).hidden = true;
  byId("report").removeAttribute("src");  // a hidden report would continue to draw with zero width
  byId("work").hidden = byId("windows").hidden = byId("cancel").hidden = false;
  byId("start").classList.add("small");
  byId("awaited").hidden = true;
  byId("pane-file").setAttribute("aria-busy", "true");
  showProgress("sending", { name: medium.name });
  advance(null);
  fail("");
}

function finish() {
  running = null;
  showWaiting();
  offerLanguage();
  byId("cancel").hidden = true;
  byId("pane-file").removeAttribute("aria-busy");
}

function showEvent(name, data, began) {
  const content = JSON.parse(data);
  if (name === "error") throw new Refused(content.error);
  if (name === "clip") {
    span = content.seconds;
    const seconds = (span[1] - span[0]).toFixed(1);
    showProgress(!content.frames ? "listening" : span[1] > span[0] ? "looking" : "looking_still", { frames: content.frames, seconds });
    advance(span[1] > span[0] ? 0 : null);
  } else if (name === "window") {
    addWindow(content);
  } else if (name === "report") {
    showProgress("composing");
    advance(1);
    keep("json", JSON.stringify(content, null, 2), "application/json");
    reported = true;
  } else if (name === "page") {
    showProgress("done", { name: medium.name, took: ((performance.now() - began) / 1000).toFixed(1) });
    keep("page", content.html, "text/html;charset=utf-8");
    deliver({ page: true });
    byId("report").src = urls.page;
    if (content.missing) fail(say("no_medium", { why: content.missing }));
  }
}

/** Offer the report with its page, or the report alone if an error followed it. */
function deliver({ page }) {
  if (page) byId("windows").hidden = true;  // the page has a better timeline
  else showProgress("done_without_page", { name: medium.name });
  byId("save-page").hidden = byId("report").hidden = !page;
  byId("downloads").hidden = byId("chat").hidden = false;
}

/** Add a window to the bar at its position in the clip. */
function addWindow({ start, end, label }) {
  const part = document.createElement("span");
  const length = Math.max(span[1] - span[0], 1e-3);
  part.style.left = `${100 * (start - span[0]) / length}%`;
  part.style.width = `${100 * (end - start) / length}%`;
  part.style.backgroundColor = colour(label);
  part.title = labelName(label);
  byId("windows").append(part);
  advance((end - span[0]) / length);
}

function keep(name, text, type) {
  if (urls[name]) URL.revokeObjectURL(urls[name]);
  urls[name] = URL.createObjectURL(new Blob([text], { type }));
  const link = byId(`save-${name}`);
  link.href = urls[name];
  link.download = `${medium.name.replace(/\.[^.]*$/, "") || "report"}.report.${name === "page" ? "html" : "json"}`;
}

// The page of a report has a margin for use on its own, which would double that of this page.
byId("report").addEventListener("load", () => {
  const inside = byId("report").contentDocument;
  if (!inside || !inside.body || !byId("report").src) return;
  inside.body.style.padding = "0";
  inside.body.style.maxWidth = "none";
  // Not scrollHeight, which is at least the frame's own height and would never shrink.
  const fit = () => { byId("report").style.height = `${Math.ceil(inside.documentElement.getBoundingClientRect().height)}px`; };
  new ResizeObserver(fit).observe(inside.body);
  fit();
});

byId("cancel").addEventListener("click", () => {
  if (!running) return;
  running.abort();
  finish();
  byId("windows").hidden = true;
  showProgress("cancelled");
  byId("file").focus();
});

export async function example(name) {
  try {
    const response = await fetch(`/examples/${name}`);
    if (!response.ok) throw await refusal(response);
    const blob = await response.blob();
    await analyze(new File([blob], name, { type: blob.type }));
  } catch (error) {
    explain(error, () => example(name));
  }
}

/** The page changes its language at once; the report keeps its own until the user wants it anew. */
function offerLanguage() {
  byId("again-language").hidden = Boolean(running) || !medium || shownLanguage === language() || byId("report").hidden;
}

byId("again-language").addEventListener("click", () => analyze(medium, { again: true }));
byId("next").addEventListener("click", () => analyzeAll(waiting));

onLanguage(() => {
  if (progressText) showProgress(...progressText);
  showWaiting();
  offerLanguage();
});
