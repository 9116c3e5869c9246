// The page's script: takes pushed changes, keeps ages ticking, and wires the few buttons there are.

import { ago, dress, showTime } from "./format.js";
import { listenActs } from "./act.js";
import { draw } from "./chart.js";
import { listen } from "./swap.js";
import { listenTwins, Series, showTwin } from "./twin.js";
import { patchSection } from "./patch.js";
import { listenSaying } from "./say.js";
import { drawPulse } from "./pulse.js";
import { Stream } from "./stream.js";

const page = document.body.dataset.page;
const live = document.getElementById("live");
const series = new Map();
/** By table: when its last rows came, on this page's own clock. */
const changed = new Map();
/** By table that had no rows since the server started: when that was. */
const older = new Map();
let delay = null;

const stream = new Stream(connection, take);

function query() {
  const rest = (live.dataset.query ?? "").replace(/^\?/, "");
  return `?page=${page}${rest ? `&${rest}` : ""}`;
}

function take(kind, message) {
  const now = performance.now();
  for (const [table, age] of Object.entries(message.ages_ms)) changed.set(table, now - age);
  for (const [table, age] of Object.entries(message.older_than_ms)) older.set(table, now - age);
  delay = Date.now() - Date.parse(message.now);
  for (const [name, change] of Object.entries(message.sections ?? {})) section(name, change, kind === "snapshot");
  if (message.sections) {
    openLinked(kind === "snapshot");
    remark(kind, message.sections);
  }
  tick();
}

function section(name, change, whole) {
  const container = document.querySelector(`[data-section="${CSS.escape(name)}"]`);
  if (container) patchSection(container, change, whole);
  const figure = document.querySelector(`[data-chart="${CSS.escape(name)}"]`);
  if (!figure) return;
  if (!series.has(name)) series.set(name, new Series());
  series.get(name).apply(change, whole);
  show(name, figure);
}

function show(name, figure = document.querySelector(`[data-chart="${CSS.escape(name)}"]`)) {
  figure.classList.toggle("drawn", series.get(name).rows.length > 0);
  if (name === "pulse") drawPulse(series.get(name));
  else draw(name, series.get(name));
  showTwin(figure, series.get(name));
}

/** A link such as /fraud#id opens what it names, once it is there. */
function openLinked(first) {
  if (!first || !location.hash) return;
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = target?.querySelector("details");
  if (!details) return;
  details.open = true;
  target.scrollIntoView({ block: "center" });
  details.querySelector("summary").focus({ preventScroll: true });
}

/** New signals are said aloud, and counted on the navigation while the page is not looked at. */
let unseen = 0;
function remark(kind, sections) {
  if (kind !== "delta" || !sections.signals?.set) return;
  const arrived = document.querySelectorAll('[data-section="signals"] > .arrived:not([data-told])');
  for (const item of arrived) {
    item.dataset.told = "";
    unseen += 1;
    const rule = item.querySelector(".rule")?.textContent ?? "a signal";
    document.getElementById("spoken").textContent = `New fraud signal: ${rule}`;
  }
  const badge = document.getElementById("fraud-badge");
  badge.hidden = unseen === 0 || page === "fraud";
  badge.textContent = String(unseen);
  badge.setAttribute("aria-label", `${unseen} new signals`);
  document.title = document.title.replace(/^\(\d+\) /, "");
  if (unseen && document.hidden) document.title = `(${unseen}) ${document.title}`;
}
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  if (page === "fraud") unseen = 0;
  document.title = document.title.replace(/^\(\d+\) /, "");
});

const STATES = {
  connecting: "connecting…",
  live: "live",
  lost: "connection lost, trying again",
  paused: "paused",
  ended: "no live data: the feed has ended",
};

/** What was last said aloud of the connection: a new view connects anew, and that must not talk over what was just done. */
let announced = "live";

function connection(state, detail) {
  const element = document.getElementById("connection");
  const text = document.getElementById("connection-text");
  const words = state === "lost" && detail >= 2000 ? `${STATES.lost} in ${Math.round(detail / 1000)} s` : STATES[state];
  element.dataset.state = state;
  if (state !== "connecting" && state !== announced) {
    announced = state;
    document.getElementById("spoken").textContent = words;
  }
  if (text.textContent !== words) text.textContent = words;
  live.classList.toggle("stale", state === "lost" || state === "paused");
}

function tick() {
  const now = performance.now();
  for (const element of document.querySelectorAll("[data-fresh]")) {
    const text = freshness(element.dataset.fresh.split(" "), now);
    if (element.textContent !== text) element.textContent = text;
  }
  const clock = Date.now();
  for (const element of document.querySelectorAll('time[data-when="ago"]')) showTime(element, clock);
  asOf(clock);
  received();
}

/** How long ago the newest rows of these tables came, as far as it is known. */
function freshness(tables, now) {
  const newest = (times) => Math.max(...tables.map((table) => times.get(table) ?? -Infinity));
  if (newest(changed) > -Infinity) return ago(now - newest(changed));
  if (newest(older) > -Infinity) return `over ${ago(now - newest(older))}`;
  return stream.received.events ? "no rows yet" : "";
}

/** Says so when the data is of another time than the clock. */
function asOf(clock) {
  const told = document.querySelector("[data-as-of]");
  if (!told) return;
  const behind = clock - Date.parse(told.dataset.asOf);
  told.classList.toggle("behind", behind > 30_000);
}

function received() {
  const facts = document.getElementById("received");
  if (!facts) return;
  const { events, bytes, reconnects } = stream.received;
  const kib = Math.round(bytes / 1024);
  const text = `${events} events, ${kib} KiB, ${reconnects} reconnects${delay === null ? "" : `, last after ${Math.max(0, delay)} ms`}`;
  facts.querySelector("dd").textContent = text;
}

const pause = document.getElementById("pause");
pause.addEventListener("click", () => {
  const paused = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", String(paused));
  pause.querySelector("span").textContent = paused ? "Resume" : "Pause";
  stream.pause(paused);
});
document.getElementById("theme").addEventListener("click", () => window.millraceSwitchTheme());
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "p") pause.click();
  if (event.key === "/") {
    const search = document.getElementById("q");
    if (search) event.preventDefault();
    search?.focus();
  }
});

listenTwins((name) => series.get(name) ?? new Series());
listen(
  () => {
    document.getElementById("notice").hidden = true;
    stream.follow(query());
  },
  (error) => {
    const notice = document.getElementById("notice");
    notice.textContent = `This view could not be fetched: ${error.message}. The figures shown are those of the view before.`;
    notice.hidden = false;
  },
);
listenSaying();
listenActs((why) => {
  const notice = document.getElementById("notice");
  notice.textContent = why;
  notice.hidden = false;
});
dress(document);
stream.follow(query());
setInterval(tick, 500);
