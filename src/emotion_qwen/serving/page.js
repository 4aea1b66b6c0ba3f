// The page of the server. It keeps what it needs in this tab and speaks to the same routes as every other client.
"use strict";
(() => {
  const SAY = {
    en: {
      tagline: "What people in a clip show, when, and what that can be checked against.",
      file_tab: "Clip or picture", live_tab: "Webcam",
      drop: "Drop a clip, a picture or a sound", drop_more: "or choose a file. It is deleted when the report is made.",
      examples: "Examples:", example_video: "Astronaut, video", example_picture: "Astronaut, picture",
      labels: "Labels", context: "Situation", context_hint: "what is known, in your words (optional)",
      sending: "Reading the clip …", looking: "Looking: {frames} frames, {seconds} s", done: "Report made in {took} s",
      save_json: "Save as JSON", save_page: "Save as page", chat: "Ask about it", ask_hint: "How does this person feel?",
      send: "Ask", stop: "Stop", key: "API key", use_key: "Use", wrong: "The server refused: {why}",
      unreachable: "The server cannot be reached.", large: "The file is too large for the chat.",
      live_start: "Start the webcam", live_stop: "Stop", live_hint: "Pictures go to this server only, and are not kept.",
      live_wait: "Waiting for the first report …", live_on: "The last {span} s, report in {took} s", nobody: "nobody seen",
      people: "{count} seen", camera: "No camera: {why}", closed: "The live session ended.",
      limits: "An expression is not a feeling. Never conclude character, honesty, health or fitness from a report, and never decide about anybody by it.",
      consent: "Analyze only people who know and agree.", valence: "valence", arousal: "arousal",
    },
    zh: {
      tagline: "片段中的人表现出什么、何时表现，以及可以核对的依据。",
      file_tab: "片段或图片", live_tab: "摄像头",
      drop: "拖入视频、图片或声音", drop_more: "或选择文件。报告完成后文件即被删除。",
      examples: "示例：", example_video: "宇航员（视频）", example_picture: "宇航员（图片）",
      labels: "标签集", context: "背景", context_hint: "已知的情况，用您自己的话（可不填）",
      sending: "正在读取……", looking: "正在观看：{frames} 帧，{seconds} 秒", done: "报告用时 {took} 秒",
      save_json: "保存为 JSON", save_page: "保存为网页", chat: "提问", ask_hint: "这个人感觉如何？",
      send: "提问", stop: "停止", key: "API 密钥", use_key: "使用", wrong: "服务器拒绝：{why}",
      unreachable: "无法连接服务器。", large: "文件太大，无法用于对话。",
      live_start: "打开摄像头", live_stop: "停止", live_hint: "图像只发送到本服务器，不会保存。",
      live_wait: "等待第一份报告……", live_on: "最近 {span} 秒，报告用时 {took} 秒", nobody: "没有看到人",
      people: "看到 {count} 人", camera: "没有摄像头：{why}", closed: "实时会话已结束。",
      limits: "表情不等于感受。不要由报告推断品格、诚实、健康或能力，也不要据此对任何人作决定。",
      consent: "只分析知情并同意的人。", valence: "效价", arousal: "唤醒度",
    },
  };
  const MOST_CHAT_BYTES = 24 * 2 ** 20;
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const byId = (id) => document.getElementById(id);
  let language = navigator.language.startsWith("zh") ? "zh" : "en";
  let key = sessionStorage.getItem("key") || "";
  let running = null;   // AbortController of the report that is being made
  let medium = null;    // the file that the report and the chat are about
  let turns = [];
  const urls = { json: "", page: "" };

  function say(name, values = {}) {
    return SAY[language][name].replace(/\{(\w+)\}/g, (_, which) => values[which]);
  }
  const labelName = (label) => (facts.names[label] || {})[language] || label;
  const colour = (label) => facts.colours[label] || "#888888";
  const headers = () => (key ? { Authorization: `Bearer ${key}` } : {});

  function speak() {
    document.documentElement.lang = language;
    for (const node of document.querySelectorAll("[data-say]")) node.textContent = say(node.dataset.say);
    for (const node of document.querySelectorAll("[data-hint]")) node.placeholder = say(node.dataset.hint);
    for (const node of document.querySelectorAll("[data-language]"))
      node.setAttribute("aria-pressed", String(node.dataset.language === language));
  }

  function fail(text) {
    byId("fault").textContent = text;
    byId("fault").hidden = !text;
  }

  async function refused(response) {
    if (response.status === 401) byId("key-form").hidden = false;
    const told = await response.json().catch(() => null);
    return say("wrong", { why: told && told.error ? told.error.message : response.status });
  }

  async function* events(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    while (true) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (held + value).split("\n\n");
      held = blocks.pop();
      for (const block of blocks) {
        const lines = block.split("\n");
        const named = lines.find((line) => line.startsWith("event: "));
        const data = lines.find((line) => line.startsWith("data: "));
        if (data) yield [named ? named.slice(7) : "message", data.slice(6)];
      }
    }
  }

  // ---- a report ----

  async function analyze(file) {
    if (running) running.abort();
    running = new AbortController();
    const own = running;
    medium = file;
    turns = [];
    byId("turns").replaceChildren();
    byId("windows").replaceChildren();
    for (const id of ["report", "downloads", "chat"]) byId(id).hidden = true;
    byId("report").removeAttribute("src");  // a hidden report would go on drawing at no width
    byId("work").hidden = false;
    byId("progress").textContent = say("sending");
    fail("");
    const form = new FormData();
    form.append("file", file, file.name);
    form.append("labels", byId("labels").value);
    form.append("language", language);
    form.append("context", byId("context").value);
    const began = performance.now();
    try {
      const response = await fetch("/v1/emotion/analyze?stream=true&page=true",
        { method: "POST", body: form, headers: headers(), signal: own.signal });
      if (!response.ok) throw new Error(await refused(response));
      for await (const [name, data] of events(response)) told(name, data, began);
    } catch (error) {
      if (own.signal.aborted) return;
      byId("work").hidden = true;
      fail(error instanceof TypeError ? say("unreachable") : error.message);
    }
  }

  function told(name, data, began) {
    if (name === "error") throw new Error(say("wrong", { why: JSON.parse(data).error.message }));
    if (name === "clip") {
      const clip = JSON.parse(data);
      const seconds = (clip.seconds[1] - clip.seconds[0]).toFixed(1);
      byId("progress").textContent = say("looking", { frames: clip.frames, seconds });
    } else if (name === "window") {
      addWindow(byId("windows"), JSON.parse(data).label);
    } else if (name === "report") {
      const took = ((performance.now() - began) / 1000).toFixed(1);
      byId("progress").textContent = say("done", { took });
      keep("json", JSON.stringify(JSON.parse(data), null, 2), "application/json");
      byId("save-json").href = urls.json;
      byId("chat").hidden = false;
    } else if (name === "page") {
      keep("page", JSON.parse(data).html, "text/html;charset=utf-8");
      byId("save-page").href = urls.page;
      byId("downloads").hidden = false;
      byId("report").hidden = false;
      byId("report").src = urls.page;
    }
  }

  function addWindow(line, label) {
    const part = document.createElement("span");
    part.style.backgroundColor = colour(label);
    part.title = labelName(label);
    line.append(part);
  }

  function keep(name, text, type) {
    if (urls[name]) URL.revokeObjectURL(urls[name]);
    urls[name] = URL.createObjectURL(new Blob([text], { type }));
  }

  byId("report").addEventListener("load", () => {
    const inside = byId("report").contentDocument;
    if (!inside || !inside.body) return;
    const fit = () => { byId("report").style.height = `${inside.documentElement.scrollHeight + 4}px`; };
    new ResizeObserver(fit).observe(inside.body);
    fit();
  });

  // ---- the chat ----

  const asDataUrl = (file) => new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });

  async function mediumPart() {
    if (medium.size > MOST_CHAT_BYTES) throw new Error(say("large"));
    const url = await asDataUrl(medium);
    if (medium.type.startsWith("audio/"))
      return { type: "input_audio", input_audio: { data: url.slice(url.indexOf(",") + 1), format: "wav" } };
    const kind = medium.type.startsWith("image/") ? "image_url" : "video_url";
    return { type: kind, [kind]: { url } };
  }

  function addTurn(role, text) {
    const node = document.createElement("li");
    node.className = role;
    node.textContent = text;
    byId("turns").append(node);
    return node;
  }

  let answering = null;
  async function ask(question) {
    fail("");
    addTurn("user", question);
    turns.push({ role: "user", content: question });
    const node = addTurn("assistant", "…");
    answering = new AbortController();
    byId("stop").hidden = false;
    byId("send").disabled = true;
    let text = "";
    try {
      const part = await mediumPart();
      const messages = turns.map((turn, number) =>
        number ? turn : { role: "user", content: [part, { type: "text", text: turn.content }] });
      const response = await fetch("/v1/chat/completions", {
        method: "POST", headers: { ...headers(), "Content-Type": "application/json" }, signal: answering.signal,
        body: JSON.stringify({ messages, stream: true, max_tokens: 128, focus: "person" }),
      });
      if (!response.ok) throw new Error(await refused(response));
      for await (const [, data] of events(response)) {
        if (data === "[DONE]") break;
        const chunk = JSON.parse(data);
        if (chunk.error) throw new Error(say("wrong", { why: chunk.error.message }));
        text += (chunk.choices[0] && chunk.choices[0].delta.content) || "";
        node.textContent = text || "…";
      }
      turns.push({ role: "assistant", content: text });
    } catch (error) {
      if (!text) node.remove();
      turns.pop();
      if (error.name !== "AbortError") fail(error instanceof TypeError ? say("unreachable") : error.message);
    }
    byId("stop").hidden = true;
    byId("send").disabled = false;
  }

  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const question = byId("question").value.trim();
    if (!question || byId("send").disabled) return;
    byId("question").value = "";
    ask(question);
  });
  byId("stop").addEventListener("click", () => answering && answering.abort());

  // ---- live ----

  const live = { socket: null, stream: null, timer: 0, sound: null, began: 0, span: 0 };
  const clock = () => (performance.now() - live.began) / 1000;

  function packed(kind, when, bytes) {
    const message = new Uint8Array(9 + bytes.byteLength);
    const view = new DataView(message.buffer);
    view.setUint8(0, kind);
    view.setFloat64(1, when);
    message.set(new Uint8Array(bytes), 9);
    return message;
  }

  async function startLive() {
    fail("");
    try {
      live.stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640 }, audio: false });
    } catch (error) {
      fail(say("camera", { why: error.name }));
      return;
    }
    byId("camera").srcObject = live.stream;
    await byId("camera").play();
    live.began = performance.now();
    live.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/emotion/live`);
    live.socket.onopen = () => live.socket.send(JSON.stringify(
      { type: "start", labels: byId("labels").value, language, context: byId("context").value, ...(key && { key }) }));
    live.socket.onmessage = (message) => hear(JSON.parse(message.data));
    live.socket.onclose = (event) => {
      if (event.reason === "invalid_api_key") byId("key-form").hidden = false;
      if (live.stream) fail(say("closed") + (event.reason ? ` (${event.reason})` : ""));
      stopLive();
    };
    byId("live-start").hidden = true;
    byId("live-stop").hidden = false;
    byId("live-state").textContent = say("live_wait");
  }

  function hear(message) {
    if (message.type === "error") fail(say("wrong", { why: message.message }));
    if (message.type === "ready") {
      live.span = message.span;
      live.timer = setInterval(sendPicture, Math.max(1000 * message.apart, 150));
    }
    if (message.type === "report") showLive(message.report, message.took);
  }

  function sendPicture() {
    const camera = byId("camera");
    if (!camera.videoWidth || live.socket.readyState !== WebSocket.OPEN || live.socket.bufferedAmount > 200000) return;
    const sheet = document.createElement("canvas");
    sheet.width = camera.videoWidth;
    sheet.height = camera.videoHeight;
    sheet.getContext("2d").drawImage(camera, 0, 0);
    const when = clock();
    sheet.toBlob(async (blob) => {
      if (blob && live.socket) live.socket.send(packed(0, when, await blob.arrayBuffer()));
    }, "image/jpeg", 0.85);
  }

  function showLive(report, took) {
    byId("live-state").textContent = say("live_on", { span: live.span, took });
    byId("live-label").textContent = labelName(report.label);
    const shares = Object.entries(report.distribution).sort((one, two) => two[1] - one[1]);
    byId("live-bars").replaceChildren(...shares.map(([label, share]) => {
      const row = document.createElement("li");
      const [name, ground, value] = ["span", "span", "span"].map((tag) => document.createElement(tag));
      const fill = document.createElement("span");
      name.textContent = labelName(label);
      value.textContent = `${Math.round(100 * share)}%`;
      ground.className = "ground";
      fill.className = "fill";
      fill.style.width = `${100 * share}%`;
      fill.style.backgroundColor = colour(label);
      ground.append(fill);
      row.append(name, ground, value);
      return row;
    }));
    const [valence, arousal] = report.valence_arousal;
    const seen = report.people.length ? say("people", { count: report.people.length }) : say("nobody");
    byId("live-facts").textContent =
      `${seen} · ${say("valence")} ${valence.toFixed(2)} · ${say("arousal")} ${arousal.toFixed(2)}`;
    addWindow(byId("live-line"), report.label);
    while (byId("live-line").children.length > 60) byId("live-line").firstChild.remove();
    drawBoxes(report.people);
  }

  function drawBoxes(people) {
    const sheet = byId("boxes"), camera = byId("camera");
    sheet.width = camera.videoWidth;
    sheet.height = camera.videoHeight;
    const pen = sheet.getContext("2d");
    pen.font = "600 20px system-ui, sans-serif";
    for (const person of people) {
      const last = person.seen[person.seen.length - 1];
      if (!last) continue;
      const [left, top, right, bottom] =
        last.box.map((part, number) => part * (number % 2 ? sheet.height : sheet.width));
      pen.strokeStyle = pen.fillStyle = colour(person.label);
      pen.lineWidth = 3;
      pen.strokeRect(left, top, right - left, bottom - top);
      pen.fillText(labelName(person.label), left, Math.max(20, top - 6));
    }
  }

  function stopLive() {
    clearInterval(live.timer);
    const { stream, socket } = live;
    live.stream = live.socket = null;
    if (stream) for (const track of stream.getTracks()) track.stop();
    if (socket) socket.close();
    byId("live-start").hidden = false;
    byId("live-stop").hidden = true;
    byId("live-state").textContent = say("live_hint");
  }

  byId("live-start").addEventListener("click", startLive);
  byId("live-stop").addEventListener("click", stopLive);

  // ---- what the page is made of ----

  for (const name of facts.label_sets) {
    const option = document.createElement("option");
    option.textContent = name;
    byId("labels").append(option);
  }
  byId("labels").value = "dfew7";
  for (const node of document.querySelectorAll("[data-language]"))
    node.addEventListener("click", () => {
      language = node.dataset.language;
      speak();
      if (medium) analyze(medium);  // sentences of a report are in one language
    });
  for (const node of document.querySelectorAll("[data-example]"))
    node.addEventListener("click", async () => {
      const response = await fetch(`/examples/${node.dataset.example}`);
      const blob = await response.blob();
      analyze(new File([blob], node.dataset.example, { type: blob.type }));
    });
  byId("file").addEventListener("change", () => {
    if (byId("file").files.length) analyze(byId("file").files[0]);
    byId("file").value = "";
  });
  byId("drop").addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") byId("file").click();
  });
  for (const name of ["dragover", "dragleave", "drop"])
    byId("drop").addEventListener(name, (event) => {
      event.preventDefault();
      byId("drop").classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files.length) analyze(event.dataTransfer.files[0]);
    });
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    key = byId("key").value.trim();
    sessionStorage.setItem("key", key);
    byId("key-form").hidden = true;
    fail("");
  });
  for (const tab of document.querySelectorAll("[role=tab]"))
    tab.addEventListener("click", () => {
      for (const other of document.querySelectorAll("[role=tab]")) {
        other.setAttribute("aria-selected", String(other === tab));
        byId(other.getAttribute("aria-controls")).hidden = other !== tab;
      }
      if (tab.id !== "tab-live" && live.stream) stopLive();
    });
  speak();
})();
