"use strict";
// Uploads in pieces (tus 1.0): what has arrived stays, whatever becomes of the line or of the page. Of each upload the
// browser keeps the address, so the same file chosen again goes on where it stopped.
globalThis.Resumable = (() => {
  const ENDPOINT = "/api/storage/uploads";
  const PIECE = 8 * 1024 * 1024; // bytes; what is lost at most when a proxy keeps bodies to itself
  const PATIENCE = 10; // failures in a row without a byte of progress, about three minutes
  const PASSING = new Set([0, 408, 409, 423, 425, 429]);
  const PREFIX = "stowage:upload:";

  class Refused extends Error {
    constructor(request) {
      let problem = {};
      try { problem = JSON.parse(request.responseText); } catch { /* not ours, or nothing at all */ }
      super(problem.detail || "The upload did not arrive. Try again.");
      this.status = request.status;
      this.code = problem.code;
      this.wait = Number(request.getResponseHeader("Retry-After")) || 0;
    }
    get passing() { return PASSING.has(this.status) || this.status >= 500; }
    get gone() { return this.status === 404 || this.status === 410; }
  }

  function ask(upload, method, address, headers, body = null) {
    return new Promise((resolve, reject) => {
      const request = upload.request = new XMLHttpRequest();
      request.open(method, address);
      const all = { "Tus-Resumable": "1.0.0", "X-CSRF-Token": upload.token.value, ...headers };
      for (const [name, value] of Object.entries(all)) request.setRequestHeader(name, value);
      if (body) request.upload.onprogress = (event) => upload.onprogress((upload.offset + event.loaded) / upload.file.size);
      request.onloadend = () => (request.status >= 200 && request.status < 300 ? resolve(request) : reject(new Refused(request)));
      request.send(body);
    });
  }

  function encoded(text) {
    return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
  }

  // Back at once when the line is; it may have been away for hours.
  function pause(failures, wait) {
    const seconds = Math.max(wait, Math.min(30, 2 ** failures / 2) * (0.75 + Math.random() / 2));
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      addEventListener("online", () => { clearTimeout(timer); resolve(); }, { once: true });
    });
  }

  return class Resumable {
    static Refused = Refused;

    // `token.value` is the page's form token, `token.renew()` fetches another: they live for hours, uploads for days.
    constructor(file, category, { space, token, onprogress, onwait }) {
      Object.assign(this, { file, category, token, onprogress, onwait });
      this.key = `${PREFIX}${space}:${[file.name, file.size, file.lastModified, category].join(":")}`;
      this.address = Resumable.recall(this.key)?.address;
      this.offset = 0;
      this.sure = !this.address;
    }

    static recall(key) {
      try { return JSON.parse(localStorage.getItem(key)); } catch { return null; }
    }

    // What was begun here and never finished: [key, {address, name, size}].
    static unfinished(space) {
      const keys = Object.keys(localStorage).filter((key) => key.startsWith(`${PREFIX}${space}:`));
      return keys.map((key) => [key, Resumable.recall(key)]).filter(([, kept]) => kept?.address);
    }

    static forget(key) { localStorage.removeItem(key); }

    // Resolves once the file is stored; rejects with what refused it.
    async run() {
      for (let failures = 0; !this.cancelled;) {
        const before = this.offset;
        try {
          await this.step();
          if (this.done) return Resumable.forget(this.key);
          failures = 0;
        } catch (problem) {
          if (this.cancelled) break;
          failures = this.offset > before ? 0 : failures + 1;
          await this.recover(problem, failures);
        }
      }
      throw new Error("cancelled");
    }

    async step() {
      if (!this.address) await this.create();
      else if (!this.sure) await this.locate();
      else await this.send();
      this.done = this.offset === this.file.size;
    }

    async create() {
      const said = { filename: this.file.name, filetype: this.file.type, category: this.category };
      const metadata = Object.entries(said).filter(([, value]) => value).map(([name, value]) => `${name} ${encoded(value)}`);
      const made = await ask(this, "POST", ENDPOINT, { "Upload-Length": this.file.size, "Upload-Metadata": metadata.join() });
      // The path alone: the page may be open under another name of the same server.
      this.address = new URL(made.getResponseHeader("Location"), location.origin).pathname;
      localStorage.setItem(this.key, JSON.stringify({ address: this.address, name: this.file.name, size: this.file.size }));
    }

    async locate() {
      const found = await ask(this, "HEAD", this.address, {});
      this.offset = Number(found.getResponseHeader("Upload-Offset"));
      this.sure = true;
      this.onprogress(this.file.size ? this.offset / this.file.size : 1);
    }

    async send() {
      const piece = this.file.slice(this.offset, this.offset + PIECE);
      const headers = { "Upload-Offset": this.offset, "Content-Type": "application/offset+octet-stream" };
      this.sure = false; // until it is answered
      const taken = await ask(this, "PATCH", this.address, headers, piece);
      this.offset = Number(taken.getResponseHeader("Upload-Offset"));
      this.sure = true;
    }

    async recover(problem, failures) {
      if (problem.code === "csrf_failed" && failures < 3) return this.token.renew();
      if (problem.gone && this.address && failures < 3) {
        // It has expired, or another page has ended it: from the beginning.
        Resumable.forget(this.key);
        this.address = undefined;
        this.offset = 0;
        return;
      }
      if (!problem.passing || (failures > PATIENCE && navigator.onLine)) throw problem;
      this.onwait();
      await pause(Math.min(failures, 8), problem.wait || 0);
    }

    cancel() {
      this.cancelled = true;
      this.request?.abort();
      return Resumable.discard(this.key, this.address, this.token);
    }

    static async discard(key, address, token) {
      Resumable.forget(key);
      const headers = { "Tus-Resumable": "1.0.0", "X-CSRF-Token": token.value };
      if (address) await fetch(address, { method: "DELETE", headers }).catch(() => {});
    }
  };
})();
