// Chat about the file of the report, through the public chat route.

import { byId, events, explain, facts, fail, headers, refusal, Refused, say, size } from "./shared.js";

let medium = null;
let turns = [];
let answering = null;  // AbortController of the current answer

/** Start a new conversation about another file. */
export function forget(file) {
  medium = file;
  turns = [];
  if (answering) answering.abort();
  byId("turns").replaceChildren();
}

const asDataUrl = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(file);
});

async function mediumPart() {
  const limit = Math.min(facts.media_bytes, Math.floor(0.7 * facts.body_bytes));  // base64 is a third larger
  if (medium.size > limit) throw new Error(say("large_chat", { size: size(medium.size), limit: size(limit) }));
  const url = await asDataUrl(medium);
  if (medium.type.startsWith("audio/"))
    return { type: "input_audio", input_audio: { data: url.slice(url.indexOf(",") + 1), format: "wav" } };
  const kind = medium.type.startsWith("image/") ? "image_url" : "video_url";
  return { type: kind, [kind]: { url } };
}

function addTurn(role, text) {
  const node = document.createElement("li");
  node.className = role;
  const who = document.createElement("span");
  who.className = "who";
  who.dataset.say = role === "user" ? "you" : "answer";
  who.textContent = say(who.dataset.say);
  const words = document.createElement("span");
  words.className = "words";
  words.textContent = text;
  node.append(who, words);
  byId("turns").append(node);
  return words;
}

async function ask(question) {
  fail("");
  const questionText = addTurn("user", question);
  turns.push({ role: "user", content: question });
  const node = addTurn("assistant", "…");
  byId("talk").setAttribute("aria-busy", "true");  // screen readers read the complete answer
  const controller = answering = new AbortController();
  const conversation = turns;  // stays that of this file, even if another one is dropped meanwhile
  byId("stop").hidden = false;
  byId("send").disabled = true;
  let text = "";
  try {
    const part = await mediumPart();
    const messages = conversation.map((turn, number) =>
      number ? turn : { role: "user", content: [part, { type: "text", text: turn.content }] });
    const response = await fetch("/v1/chat/completions", {
      method: "POST", headers: { ...headers(), "Content-Type": "application/json" }, signal: controller.signal,
      body: JSON.stringify({ messages, stream: true, max_tokens: 128, focus: "person" }),
    });
    if (!response.ok) throw await refusal(response);
    for await (const [, data] of events(response)) {
      if (data === "[DONE]") break;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Refused(chunk.error);
      text += (chunk.choices[0] && chunk.choices[0].delta.content) || "";
      node.textContent = text || "…";
    }
    conversation.push({ role: "assistant", content: text });
  } catch (error) {
    if (controller.signal.aborted && text) conversation.push({ role: "assistant", content: text });  // the partial answer stays
    else {
      conversation.pop();
      node.parentNode.remove();
      questionText.parentNode.remove();
      if (!controller.signal.aborted) {
        byId("question").value = byId("question").value || question;
        explain(error, () => { byId("question").value = ""; ask(question); });
      }
    }
  }
  if (answering !== controller) return;
  byId("talk").removeAttribute("aria-busy");
  byId("stop").hidden = true;
  byId("send").disabled = false;
  byId("question").focus({ preventScroll: true });
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = byId("question").value.trim();
  if (!question || byId("send").disabled) return;
  byId("question").value = "";
  ask(question);
});
byId("stop").addEventListener("click", () => answering && answering.abort());
for (const node of document.querySelectorAll("[data-ask]"))
  node.addEventListener("click", () => { if (!byId("send").disabled) ask(node.textContent); });
