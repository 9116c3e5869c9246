// Charts by Plotly.js, fetched when the first one comes into view: drawn, redrawn, saved, and walked through by keys.

import { FLOW_MARGIN, figure } from "./figures.js";

const REDRAW_MS = 400;
const drawn = new Map();
let plotly = null;

function load() {
  plotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = document.body.dataset.plotly;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("Plotly.js could not be fetched"));
    document.head.append(script);
  });
  return plotly;
}

/** Colours of the current theme, from the style sheet. */
function colors() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ink", "muted", "faint", "line", "grid", "surface", "link", "critical", "high", "medium", "low"];
  const charts = ["c1", "c2", "c3", "c4", "c1soft", "c3soft"];
  return Object.fromEntries([...names, ...charts].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function base(theme, box) {
  return {
    width: box.width,
    height: box.height,
    margin: { l: 44, r: 8, t: 8, b: 24, pad: 2 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: theme.ink },
    showlegend: false,
    legend: { traceorder: "normal", orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: theme.muted, size: 11 } },
    hoverlabel: { bgcolor: theme.surface, bordercolor: theme.line, font: { color: theme.ink, size: 12 }, align: "left" },
    dragmode: false,
  };
}

const CONFIG = { displayModeBar: false, responsive: false, doubleClick: false, scrollZoom: false, displaylogo: false };

/** Draws a chart from its series, soon, and not more often than an eye can follow. */
export function draw(name, series) {
  const chart = document.querySelector(`[data-chart="${CSS.escape(name)}"]`);
  const plot = chart?.querySelector(".plot");
  if (!plot) return;
  const state = drawn.get(plot) ?? { at: 0 };
  drawn.set(plot, state);
  state.series = series;
  state.name = name;
  watch(plot);
  if (state.timer || !state.visible || chart.classList.contains("as-table")) return;
  const wait = Math.max(0, state.at + REDRAW_MS - performance.now());
  state.timer = setTimeout(() => {
    state.timer = 0;
    state.at = performance.now();
    paint(plot, state).catch((error) => {
      plot.textContent = `This chart cannot be drawn: ${error.message}. Its table can be read.`;
    });
  }, wait);
}

async function paint(plot, state) {
  const box = plot.getBoundingClientRect();
  const theme = colors();
  const content = figure(state.name, state.series, theme, box);
  if (!content || !box.width) return;
  const Plotly = await load();
  const legend = content.layout.showlegend ? { margin: { l: 44, r: 8, t: 26, b: 24, pad: 2 } } : {};
  if (state.name === "flow") legend.margin = FLOW_MARGIN;
  await Plotly.react(plot, content.data, { ...base(theme, box), ...legend, ...content.layout }, CONFIG);
  state.hoverCurve = content.hoverCurve;
  plot.setAttribute("aria-label", `${plot.dataset.label}. ${summary(state.series)}`);
}

function summary(series) {
  const count = series.rows.length;
  return count ? `${count} rows. Last: ${series.words(count - 1)}. Use the arrow keys to walk through.` : "No data yet.";
}

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const state = drawn.get(target);
    if (!state) continue;
    state.visible = isIntersecting;
    if (isIntersecting && !state.at) draw(state.name, state.series);
  }
}, { rootMargin: "200px" });

const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const state = drawn.get(target);
    if (state?.at) draw(state.name, state.series);
  }
});

function watch(plot) {
  const state = drawn.get(plot);
  if (state.watched) return;
  state.watched = true;
  seen.observe(plot);
  resized.observe(plot);
  plot.addEventListener("keydown", (event) => walk(plot, state, event));
  plot.addEventListener("blur", () => plot._fullLayout && window.Plotly?.Fx.unhover(plot));
}

/** Arrow keys go from point to point; what is there is shown and said. */
function walk(plot, state, event) {
  const last = state.series.rows.length - 1;
  const from = state.point ?? last + (event.key === "ArrowLeft" ? 1 : 0);
  const steps = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last };
  if (!(event.key in steps) || last < 0) return;
  event.preventDefault();
  state.point = Math.min(last, Math.max(0, steps[event.key]));
  plot.closest("figure").querySelector("[data-spoken]").textContent = state.series.words(state.point);
  if (state.hoverCurve !== null && plot._fullLayout && window.Plotly) {
    window.Plotly.Fx.hover(plot, [{ curveNumber: state.hoverCurve, pointNumber: state.point }]);
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-png-of]");
  if (!button) return;
  const plot = document.querySelector(`[data-chart="${CSS.escape(button.dataset.pngOf)}"] .plot`);
  if (!plot?._fullLayout) return;
  const Plotly = await load();
  const { width, height } = plot.getBoundingClientRect();
  const filename = `millrace-${button.dataset.pngOf}`;
  await Plotly.downloadImage(plot, { format: "png", width, height, scale: 2, filename });
});

const redraw = () => drawn.forEach((state) => state.at && draw(state.name, state.series));
document.addEventListener("millrace:theme", redraw);
document.addEventListener("millrace:draw", ({ detail }) => {
  drawn.forEach((state) => state.name === detail && draw(state.name, state.series));
});
