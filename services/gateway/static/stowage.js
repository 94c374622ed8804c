"use strict";
// The page works without this file; with it, figures are live and uploads show their progress.
(() => {
  document.documentElement.classList.add("js");
  const csrf = document.querySelector("meta[name=csrf]").content;
  const usage = document.getElementById("usage");
  const form = document.getElementById("upload");
  const transfers = document.getElementById("transfers");
  const UNITS = ["Bytes", "KB", "MB", "GB", "TB"];

  function formatBytes(bytes) {
    const unit = bytes > 0 ? Math.min(UNITS.length - 1, Math.floor(Math.log(bytes) / Math.log(1024))) : 0;
    return `${parseFloat((bytes / 1024 ** unit).toFixed(2))} ${UNITS[unit]}`;
  }

  function show(name, text) {
    const place = usage.querySelector(`[data-show=${name}]`);
    if (place.textContent !== text) place.textContent = text;
  }

  function showUsage({ used, limit }) {
    if (!usage) return;
    const unlimited = limit === null || limit === undefined;
    const percent = unlimited ? 0 : limit > 0 ? Math.min(100, (used * 100) / limit) : 100;
    usage.dataset.level = unlimited ? "ok" : used >= limit ? "full" : used * 100 > limit * 80 ? "warn" : "ok";
    usage.dataset.used = used;
    usage.dataset.limit = unlimited ? "" : limit;
    show("used", formatBytes(used));
    show("limit", unlimited ? "unlimited" : formatBytes(limit));
    show("available", unlimited ? "Unlimited" : formatBytes(Math.max(0, limit - used)));
    show("percent", unlimited ? "" : `${Math.floor(percent * 10) / 10} %`);
    usage.querySelector("progress").value = percent;
  }

  async function refresh(id, address) {
    const answer = await fetch(address, { headers: { accept: "text/html" } });
    if (answer.ok && !answer.redirected) document.getElementById(id).innerHTML = await answer.text();
  }

  // A burst of events is one look at the list.
  let waiting = null;
  function refreshFiles() {
    clearTimeout(waiting);
    waiting = setTimeout(() => refresh("file-list", "/app/files"), 250);
  }

  function listen() {
    const source = new EventSource("/api/events");
    const live = usage && usage.querySelector("[data-show=live]");
    source.addEventListener("open", () => { if (live) live.hidden = false; });
    source.addEventListener("error", () => { if (live) live.hidden = true; });
    source.addEventListener("usage", (event) => {
      const now = JSON.parse(event.data);
      const changed = usage && usage.dataset.limit !== String(now.limit ?? "");
      showUsage(now);
      // Another limit is another plan, and much of the page speaks of the plan.
      if (changed && !running && !queue.length) location.replace("/app");
      else refreshFiles();
    });
    source.addEventListener("notification", () => refresh("notes", "/app/notifications"));
  }

  function line(file) {
    const item = Object.assign(document.createElement("li"), { className: "busy" });
    const name = Object.assign(document.createElement("span"), { className: "name", textContent: file.name });
    const state = Object.assign(document.createElement("span"), { className: "state", textContent: "waiting" });
    const bar = Object.assign(document.createElement("progress"), { max: 100, value: 0 });
    bar.setAttribute("aria-label", `Upload of ${file.name}`);
    item.append(name, state, bar);
    transfers.append(item);
    return {
      progress(part) { bar.value = part * 100; state.textContent = `${Math.floor(part * 100)} %`; },
      done() { item.className = ""; bar.value = 100; state.textContent = "stored"; setTimeout(() => item.remove(), 4000); },
      fail(text) { item.className = "failed"; state.textContent = text; },
    };
  }

  function reason(request) {
    try {
      const problem = JSON.parse(request.responseText);
      if (problem.code === "quota_exceeded") return "Does not fit: upgrade your plan or delete files.";
      return problem.detail || "The upload was refused.";
    } catch {
      return "The upload did not arrive. Try again.";
    }
  }

  function send(file) {
    const row = line(file);
    return new Promise((resolve) => {
      const request = new XMLHttpRequest();
      request.open("POST", "/api/storage/upload");
      request.setRequestHeader("X-CSRF-Token", csrf);
      request.setRequestHeader("X-File-Size", String(file.size));
      request.upload.addEventListener("progress", (event) => { if (event.total) row.progress(event.loaded / event.total); });
      request.addEventListener("loadend", () => {
        if (request.status === 201) { row.done(); refreshFiles(); } else row.fail(reason(request));
        resolve();
      });
      const body = new FormData();
      body.append("category", form.elements.category.value);
      body.append("file", file);
      request.send(body);
    });
  }

  // Two at a time: enough to keep a line busy, few enough to see them move.
  const queue = [];
  let running = 0;
  function next() {
    while (running < 2 && queue.length) {
      running += 1;
      send(queue.shift()).finally(() => { running -= 1; next(); });
    }
  }

  function take(files) {
    queue.push(...files);
    next();
  }

  form.elements.file.multiple = true;
  form.addEventListener("change", () => {
    take(form.elements.file.files);
    form.reset();
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    form.addEventListener(kind, (event) => {
      event.preventDefault();
      form.classList.toggle("over", kind === "dragover");
      if (kind === "drop") take([...event.dataTransfer.files].filter((file) => file.size || file.type));
    });
  }
  listen();
})();
