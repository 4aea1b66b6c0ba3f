// Shared by all parts of the page: texts in two languages, the key, error messages, and colours.

export const facts = JSON.parse(document.getElementById("facts").textContent);
export const byId = (id) => document.getElementById(id);
const session = { language: stored("language"), key: stored("key") || "" };
if (session.language !== "en" && session.language !== "zh") session.language = navigator.language.startsWith("zh") ? "zh" : "en";

function stored(name) {
  try { return sessionStorage.getItem(name); } catch { return null; }  // unavailable in the private mode of some browsers
}

function keep(name, value) {
  session[name] = value;
  try { sessionStorage.setItem(name, value); } catch { /* then kept only until the page is reloaded */ }
}

export const language = () => session.language;
export const key = () => session.key;
export const headers = () => (session.key ? { Authorization: `Bearer ${session.key}` } : {});

export function say(name, values = {}) {
  return facts.texts[name][session.language === "zh" ? 1 : 0].replace(/\{(\w+)\}/g, (_, which) => values[which]);
}

export const labelName = (label) => (facts.names[label] || [label, label])[session.language === "zh" ? 1 : 0];
export const colour = (label) => facts.colours[label] || "#888888";
export const percent = (share) => `${Math.round(100 * share)}%`;
export const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

export function size(bytes) {
  return bytes < 2 ** 20 ? `${Math.max(Math.round(bytes / 1024), 1)} KB` : `${(bytes / 2 ** 20).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

const languageListeners = [];  // callbacks that run at once and at every change of language
export function onLanguage(work) {
  languageListeners.push(work);
  work();
}

export function setLanguage(chosen = session.language) {
  keep("language", chosen);
  document.documentElement.lang = chosen === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-say]")) node.textContent = say(node.dataset.say);
  for (const node of document.querySelectorAll("[data-hint]")) node.placeholder = say(node.dataset.hint);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", say(node.dataset.label));
  byId("report").title = say("report");
  for (const node of document.querySelectorAll("[data-language]"))
    node.setAttribute("aria-pressed", String(node.dataset.language === chosen));
  for (const work of languageListeners) work();
}

// ---- errors ----

let retry = null;
export function fail(text, again = null) {
  byId("fault-text").textContent = text;
  byId("fault").hidden = !text;
  byId("fault-again").hidden = !again;
  retry = again;
}
byId("fault-close").addEventListener("click", () => fail(""));
byId("fault-again").addEventListener("click", () => {
  const work = retry;
  fail("");
  if (work) work();
});

/** The message of an error response: our text for its code, and the server's message. */
export class Refused extends Error {
  constructor(fault) {
    const code = fault && fault.code in facts.texts ? fault.code : "other";
    const alone = ["queue_full", "server_loading", "invalid_api_key"].includes(code) || !fault || !fault.message;
    // The server's message is in English and more precise; in Chinese it follows our text.
    super(alone ? say(code) : language() === "en" && code !== "other" ? `${fault.message}.` : `${say(code)} ${fault.message}`);
    this.code = fault ? fault.code : "";
    if (this.code === "invalid_api_key") askForKey();
  }
}

export async function refusal(response) {
  const body = await response.json().catch(() => null);
  return new Refused((body && body.error) || { message: String(response.status) });
}

let afterKey = null;
export function useKey(value) {
  keep("key", value);
  byId("key-form").hidden = true;
  fail("");
}

/** Repeat the request that needed the key. */
export function repeatAfterKey() {
  const work = afterKey;
  afterKey = null;
  if (work) work();
}

export function askForKey() {
  byId("key-form").hidden = false;
  byId("key").focus();
}

/** Show an error; `again` is offered if a retry makes sense. */
export function explain(error, again) {
  const passes = ["queue_full", "server_loading", "internal_error"];
  if (error.code === "invalid_api_key") afterKey = again;
  if (error instanceof Refused) fail(error.message, passes.includes(error.code) ? again : null);
  else if (error instanceof TypeError) fail(say("unreachable"), again);  // error of `fetch` without connection
  else fail(error.message, again);
}

/** Yield the server-sent events of a response as [name, data]. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (pending + value).split("\n\n");
    pending = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const named = lines.find((line) => line.startsWith("event: "));
      const data = lines.find((line) => line.startsWith("data: "));
      if (data) yield [named ? named.slice(7) : "message", data.slice(6)];
    }
  }
}
