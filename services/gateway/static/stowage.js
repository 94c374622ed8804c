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
    waiting = setTimeout(() => refresh("file-list", "/app/recent"), 250);
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

  function line(name) {
    const item = Object.assign(document.createElement("li"), { className: "busy" });
    const label = Object.assign(document.createElement("span"), { className: "name", textContent: name });
    const state = Object.assign(document.createElement("span"), { className: "state", textContent: "waiting" });
    const bar = Object.assign(document.createElement("progress"), { max: 100, value: 0 });
    const button = Object.assign(document.createElement("button"), { type: "button", className: "plain", hidden: true });
    bar.setAttribute("aria-label", `Upload of ${name}`);
    item.append(label, state, button, bar);
    transfers.append(item);
    const say = (kind, text) => { item.className = kind; if (state.textContent !== text) state.textContent = text; };
    return {
      progress(part) { bar.value = part * 100; say("busy", `${Math.floor(part * 100)} %`); },
      wait() { say("busy", "waiting for the connection"); },
      begun(part) { bar.value = part * 100; say("begun", `${Math.floor(part * 100)} % is stored. Choose the file again to go on.`); },
      done() { say("", "stored"); bar.value = 100; this.offer(null); setTimeout(() => item.remove(), 4000); },
      fail(text) { say("failed", text); },
      remove() { item.remove(); },
      offer(text, action) {
        button.hidden = !text;
        button.textContent = text || "";
        button.setAttribute("aria-label", `${text} upload of ${name}`);
        button.onclick = action || null;
      },
    };
  }

  const token = {
    value: csrf,
    async renew() {
      const page = new DOMParser().parseFromString(await (await fetch("/app")).text(), "text/html");
      this.value = page.querySelector("meta[name=csrf]")?.content || this.value;
    },
  };

  function reason(problem) {
    if (problem.code === "quota_exceeded") return "Does not fit: upgrade your plan or delete files.";
    if (problem.status === 401) return "Your session has ended. Log in and choose the file again to go on.";
    return problem.message;
  }

  // Where a server does not take files in pieces, they go as the form would send them.
  function sendWhole(file, row) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", "/api/storage/upload");
      request.setRequestHeader("X-CSRF-Token", token.value);
      request.setRequestHeader("X-File-Size", String(file.size));
      request.upload.onprogress = (event) => { if (event.total) row.progress(event.loaded / event.total); };
      request.onloadend = () => (request.status === 201 ? resolve() : reject(new Resumable.Refused(request)));
      const body = new FormData();
      body.append("category", form.elements.category.value);
      body.append("file", file);
      request.send(body);
    });
  }

  const begun = new Map(); // rows of uploads that wait for their file, by key

  async function send({ file, row }) {
    const hooks = { space: form.dataset.space, token, onprogress: row.progress, onwait: row.wait };
    const upload = new Resumable(file, form.elements.category.value, hooks);
    begun.get(upload.key)?.remove();
    begun.delete(upload.key);
    row.offer("Cancel", () => { upload.cancel(); row.remove(); });
    try {
      await upload.run().catch((problem) => {
        if (upload.address || ![404, 405].includes(problem.status)) throw problem;
        row.offer(null);
        return sendWhole(file, row);
      });
      row.done();
      refreshFiles();
    } catch (problem) {
      row.fail(reason(problem));
      row.offer("Try again", () => { row.remove(); take([file]); });
    }
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
    queue.push(...Array.from(files, (file) => ({ file, row: line(file.name) })));
    next();
  }

  // What a reload, a crash or another day has left half done.
  async function showBegun() {
    for (const [key, { address, name, size }] of Resumable.unfinished(form.dataset.space)) {
      const found = await fetch(address, { method: "HEAD", headers: { "Tus-Resumable": "1.0.0" } }).catch(() => null);
      const offset = Number(found?.headers.get("Upload-Offset") ?? size);
      if (found && (found.status === 404 || found.status === 410 || (found.ok && offset === size))) Resumable.forget(key);
      if (!found?.ok || offset === size) continue;
      const row = line(name);
      row.begun(offset / size);
      row.offer("Discard", () => { Resumable.discard(key, address, token); row.remove(); });
      begun.set(key, row);
    }
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
  showBegun();
  listen();
})();
