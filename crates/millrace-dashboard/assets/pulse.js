// The pulse: the last seconds of the shop in four lanes, moving. Small enough to draw every second by hand.

import { value } from "./format.js";

const LANES = ["events", "orders", "gross_minor", "payments_declined"];
const MARKS = { events: "c1", orders: "c2", gross_minor: "c3", payments_declined: "declines" };
const svgNs = "http://www.w3.org/2000/svg";

function element(name, attributes, parent) {
  const node = document.createElementNS(svgNs, name);
  for (const [key, text] of Object.entries(attributes)) node.setAttribute(key, text);
  parent?.append(node);
  return node;
}

function lane(plot, name) {
  const row = document.createElement("div");
  row.className = "lane";
  row.dataset.mark = MARKS[name];
  const label = document.createElement("span");
  const now = document.createElement("strong");
  label.className = "label";
  const svg = element("svg", { viewBox: "0 0 150 40", preserveAspectRatio: "none" });
  const path = element("path", { class: name === "events" ? "area" : "bars" }, svg);
  row.append(label, now, svg);
  plot.append(row);
  return { label, now, svg, path };
}

/** Draws the series; every call moves it to the newest second. */
export function drawPulse(series) {
  const plot = document.querySelector('[data-chart="pulse"] .plot');
  if (!plot || !series.rows.length) return;
  plot.lanes ??= new Map(LANES.map((name) => [name, lane(plot, name)]));
  if (!plot.walks) {
    plot.walks = true;
    plot.addEventListener("keydown", (event) => walk(plot, event));
  }
  plot.series = series;
  const seconds = series.rows.length;
  for (const [name, { label, now, svg, path }] of plot.lanes) {
    const values = series.values(name);
    const most = Math.max(1, ...values);
    const column = series.column(name);
    label.textContent = column.label;
    // The newest second is still being counted: the figure is the mean of the ten before it.
    const recent = values.slice(-11, -1);
    const sum = recent.reduce((total, each) => total + each, 0);
    const mean = recent.length ? sum / recent.length : 0;
    now.textContent = column.unit === "money" ? `${value(sum, column)} in 10 s` : `${rate(mean)} /s`;
    svg.setAttribute("viewBox", `0 0 ${seconds} 40`);
    path.setAttribute("d", name === "events" ? area(values, most) : bars(values, most));
  }
  plot.setAttribute("aria-label", `${plot.dataset.label}. Newest: ${series.words(seconds - 1)}. Use the arrow keys to walk through.`);
}

function rate(mean) {
  return mean >= 10 ? String(Math.round(mean)) : mean.toFixed(1);
}

function area(values, most) {
  const y = (number) => (39 - (number / most) * 37).toFixed(1);
  return `M0 40${values.map((number, at) => `V${y(number)}H${at + 1}`).join("")}V40Z`;
}

function bars(values, most) {
  const bar = (number, at) => (number > 0 ? `M${at + 0.1} 40V${(39 - (number / most) * 35).toFixed(1)}H${at + 0.9}V40Z` : "");
  return values.map(bar).join("");
}

function walk(plot, event) {
  const last = plot.series.rows.length - 1;
  const from = plot.point ?? last + (event.key === "ArrowLeft" ? 1 : 0);
  const steps = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last };
  if (!(event.key in steps)) return;
  event.preventDefault();
  plot.point = Math.min(last, Math.max(0, steps[event.key]));
  plot.closest("figure").querySelector("[data-spoken]").textContent = plot.series.words(plot.point);
}
