// The page's one stream of events: opens, resumes, notices silence, and says which state it is in.

/** The server beats every 2 s; after this long without anything the connection is taken for lost. */
const SILENCE_MS = 7_000;
const RETRY_MS = [500, 1_000, 2_000, 4_000, 8_000, 15_000];
/** A page nobody looks at gives its place back after a while. */
const HIDDEN_MS = 60_000;

export class Stream {
  /** `tell(state, detail)` with state connecting, live, lost, paused or ended; `take(kind, message)` for each event. */
  constructor(tell, take) {
    this.tell = tell;
    this.take = take;
    this.query = "";
    this.source = null;
    this.paused = false;
    this.failures = 0;
    this.received = { events: 0, bytes: 0, reconnects: 0 };
    document.addEventListener("visibilitychange", () => this.#seen());
    addEventListener("pagehide", () => this.#close());
    addEventListener("online", () => this.source || this.#open());
  }

  /** Follows this query from now on. */
  follow(query) {
    this.query = query;
    this.failures = 0;
    if (!this.paused) this.#open();
  }

  /** Holds the page still, or goes on with a fresh snapshot. */
  pause(paused) {
    this.paused = paused;
    if (paused) {
      this.#close();
      this.tell("paused");
    } else {
      this.#open();
    }
  }

  #open() {
    this.#close();
    this.tell(this.failures ? "lost" : "connecting");
    const source = new EventSource(`/events${this.query}`);
    this.source = source;
    for (const kind of ["snapshot", "delta", "heartbeat"]) {
      source.addEventListener(kind, (event) => this.#event(kind, event));
    }
    source.onerror = () => this.#fail();
    this.#watch();
  }

  #event(kind, event) {
    this.failures = 0;
    this.received.events += 1;
    this.received.bytes += event.data.length;
    this.#watch();
    const message = JSON.parse(event.data);
    this.tell(message.live ? "live" : "ended");
    this.take(kind, message);
  }

  // The browser would reconnect by itself, but not after a refusal, and it would not tell.
  #fail() {
    if (!this.source) return;
    this.#close();
    const wait = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    this.received.reconnects += 1;
    this.tell("lost", wait);
    this.retry = setTimeout(() => this.#open(), wait);
  }

  #watch() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.#fail(), SILENCE_MS);
  }

  #close() {
    clearTimeout(this.silence);
    clearTimeout(this.retry);
    this.source?.close();
    this.source = null;
  }

  #seen() {
    clearTimeout(this.hidden);
    if (document.hidden) {
      this.hidden = setTimeout(() => this.paused || this.#close(), HIDDEN_MS);
    } else if (!this.source && !this.paused) {
      this.#open();
    }
  }
}
