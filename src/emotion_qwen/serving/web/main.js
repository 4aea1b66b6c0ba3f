// The page of the server. Its state is stored in this tab only, and it uses the public routes.

import { analyzeAll, example } from "./report.js";
import { setHearing, stop } from "./live.js";
import {
  askForKey, byId, explain, facts, fail, repeatAfterKey, headers, key, labelName, language, refusal, say, size, setLanguage, useKey, onLanguage,
} from "./shared.js";

let model = null;  // card of the served model

// ---- the model ----

async function greet() {
  try {
    const response = await fetch("/v1/models", { headers: headers() });
    if (response.status === 401) {
      askForKey();
      if (key()) fail(say("invalid_api_key"));
      return;
    }
    if (response.status === 503) {
      byId("model").textContent = say("loading");
      setTimeout(greet, 1500);
      return;
    }
    if (!response.ok) throw await refusal(response);
    [model] = (await response.json()).data;
    setHearing(model.hears);
    showModel();
  } catch (error) {
    explain(error, greet);
  }
}

function showModel() {
  if (model) byId("model").textContent = say(model.hears ? "model_hears" : "model", { name: model.id });
  const known = model ? model.label_sets : [];
  const chosen = byId("labels").value || "dfew7";
  const groups = [["labels_known", (name) => known.includes(name)], ["labels_other", (name) => !known.includes(name)]];
  byId("labels").replaceChildren(...groups.map(([title, belongs]) => {
    const group = document.createElement("optgroup");
    group.label = say(title);
    for (const [name, { labels, source }] of Object.entries(facts.label_sets)) {
      if (!belongs(name)) continue;
      const option = document.createElement("option");
      option.value = name;
      option.title = source;
      const shown = labels.slice(0, 8).map(labelName).join(language() === "zh" ? "、" : ", ");
      option.textContent = `${name}: ${shown}${labels.length > 8 ? " …" : ""}`;
      group.append(option);
    }
    return group;
  }).filter((group) => group.children.length));
  byId("labels").value = chosen;
}

byId("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  useKey(byId("key").value.trim());
  await greet();
  if (byId("key-form").hidden) repeatAfterKey();
});

// ---- languages ----

for (const node of document.querySelectorAll("[data-language]"))
  node.addEventListener("click", () => {
    if (node.dataset.language === language()) return;
    setLanguage(node.dataset.language);
  });

// ---- files ----

for (const node of document.querySelectorAll("[data-example]"))
  node.addEventListener("click", () => example(node.dataset.example));
byId("file").addEventListener("change", () => {
  const files = [...byId("file").files];
  byId("file").value = "";
  analyzeAll(files);
});
for (const name of ["dragover", "drop"])
  document.addEventListener(name, (event) => event.preventDefault());  // a file dropped elsewhere would replace the page
for (const name of ["dragover", "dragleave", "drop"])
  byId("drop").addEventListener(name, (event) => {
    byId("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) analyzeAll(event.dataTransfer.files);
  });

// ---- tabs ----

const tabs = [...document.querySelectorAll("[role=tab]")];
function choose(tab) {
  for (const other of tabs) {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
    byId(other.getAttribute("aria-controls")).hidden = other !== tab;
  }
  if (tab.id === "tab-live") byId("live-options").append(byId("options"));  // shared by both tabs
  else byId("more").before(byId("options"));
  if (tab.id !== "tab-live") stop();
}
for (const [number, tab] of tabs.entries()) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(number + step + tabs.length) % tabs.length];
    choose(next);
    next.focus();
  });
}
byId("tab-live").hidden = !facts.live;
addEventListener("pagehide", stop);

onLanguage(() => {
  byId("choose").textContent = say("choose", { size: size(facts.media_bytes) });
  showModel();
});
setLanguage();
greet();
