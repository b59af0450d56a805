// What changes, as server-sent events. `EventSource` cannot show a token in a header, so the stream is read from `fetch`.
import { reach } from "./ask.js";

const SILENT_MS = 40_000; // the server says something every 15 s
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 10_000;

// Splits a stream's text into events (WHATWG HTML, 9.2.6); gives what is left of the last one.
export function events(text, each) {
  const parts = text.split("\n\n");
  const rest = parts.pop();
  for (const part of parts) {
    const event = { id: "", kind: "message", data: "" };
    for (const line of part.split("\n")) {
      const colon = line.indexOf(":");
      const [name, value] = colon < 0 ? [line, ""] : [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
      if (name === "id") event.id = value;
      else if (name === "event") event.kind = value;
      else if (name === "data") event.data += value;
    }
    if (event.data) each(event);
  }
  return rest;
}

// Listens until it is told to stop; comes back by itself, and hears what it missed.
// A browser has six connections to a server of HTTP/1.1, for all of its tabs: one that nobody sees gives its own back meanwhile.
export class Live {
  constructor({ heard, changed, refused }) {
    Object.assign(this, { heard, changed, refused, last: "", wait: FIRST_WAIT_MS, controller: null, stopped: true, timer: 0, lostSince: null, wasHere: false });
    this.look = () => (document.hidden ? this.rest() : this.begin());
    this.rest = this.rest.bind(this);
    document.addEventListener("visibilitychange", this.look);
    addEventListener("online", this.look);
    addEventListener("pageshow", this.look);
    addEventListener("pagehide", this.rest);
    this.look();
  }

  begin() {
    if (!this.stopped && !this.lostSince) return;
    this.rest();
    this.stopped = false;
    this.listen();
  }

  rest() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.controller?.abort();
  }

  stop() {
    document.removeEventListener("visibilitychange", this.look);
    removeEventListener("online", this.look);
    removeEventListener("pageshow", this.look);
    removeEventListener("pagehide", this.rest);
    this.rest();
  }

  async listen() {
    const controller = (this.controller = new AbortController());
    let watch = 0;
    const watched = () => { clearTimeout(watch); watch = setTimeout(() => controller.abort(), SILENT_MS); };
    watched();
    try {
      const response = await reach("/events", { signal: controller.signal, headers: this.last ? { "Last-Event-ID": this.last } : {} });
      const mayHaveMissed = this.lostSince !== null || (this.wasHere && !this.last); // without a last event the server cannot know what was missed
      this.wasHere = true;
      this.lostSince = null;
      this.wait = FIRST_WAIT_MS;
      this.changed({ lostSince: null });
      if (mayHaveMissed) this.heard({ kind: "reset", subject: "" });
      await this.read(response.body.getReader(), watched);
    } catch (error) {
      if (error.status === 401) return this.refused(error);
      if (controller === this.controller && !this.stopped) this.lost();
    } finally {
      clearTimeout(watch);
    }
    if (controller === this.controller && !this.stopped) this.timer = setTimeout(() => this.listen(), this.lostSince ? this.nextWait() : 0);
  }

  async read(reader, watched) {
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      watched();
      rest = events(rest + decoder.decode(value, { stream: true }), (event) => {
        this.last = event.id || this.last;
        this.heard({ kind: event.kind, ...JSON.parse(event.data) });
      });
    }
  }

  lost() {
    this.lostSince ??= Date.now();
    this.changed({ lostSince: this.lostSince });
  }

  nextWait() {
    const wait = this.wait * (0.8 + 0.4 * Math.random()); // not all pages at once
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT_MS);
    return wait;
  }
}
