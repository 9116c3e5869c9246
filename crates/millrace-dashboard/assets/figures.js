// What each chart draws: from a series to Plotly traces and layout, coloured by the style sheet.

import { said } from "./twin.js";
import { short } from "./format.js";

/** Plotly takes times as they are; it is given the viewer's clock. */
function local(text) {
  const date = new Date(text);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, -1);
}

function axis(colors, more) {
  return {
    gridcolor: colors.grid,
    linecolor: colors.line,
    zeroline: false,
    tickfont: { color: colors.muted, size: 11 },
    fixedrange: true,
    automargin: true,
    ticks: "",
    ...more,
  };
}

function ticks(values, spec, parts = 3) {
  const most = Math.max(1, ...values.filter((value) => value !== null));
  const step = niceStep(most / parts, spec);
  const tickvals = [];
  for (let at = 0; at <= most * 1.05; at += step) tickvals.push(at);
  return { tickmode: "array", tickvals, ticktext: tickvals.map((value) => short(value, spec)), range: [0, most * 1.08] };
}

function niceStep(raw, spec) {
  const unit = spec.unit === "money" ? 10 ** Number(spec.digits ?? 2) : 1;
  const size = 10 ** Math.floor(Math.log10(Math.max(raw / unit, 1)));
  // 2.5 only where it gives whole numbers.
  const times = [1, 2, 2.5, 5, 10].find((step) => step * size >= raw / unit && (step * size) % 1 === 0) ?? 10;
  return Math.max(1, times * size) * unit;
}

function revenue(series, colors) {
  const ends = series.values("window_end").map(local);
  const states = series.values("final");
  const gross = series.values("gross_minor");
  const orders = series.values("orders");
  const earlier = series.values("gross_minor_before");
  // A shop that only just begins has nothing to be compared with.
  const before = earlier.some((value) => value > 0) ? earlier : earlier.map(() => null);
  const spec = series.column("gross_minor");
  const lastFinal = states.lastIndexOf("final");
  const only = (keep) => gross.map((value, at) => (keep(at) ? value : null));
  const text = series.rows.map((_, at) => {
    const change = before[at] === null ? "" : `<br>before: ${said(before[at], spec)}`;
    // Only line breaks: Plotly would make other tags into inline styles, which the policy forbids.
    return `${said(gross[at], spec)}${states[at] === "final" ? "" : ", provisional"}<br>${orders[at]} orders${change}`;
  });
  const line = (y, more) => ({ x: ends, y, type: "scatter", mode: "lines", hoverinfo: "skip", ...more });
  const single = gross.length < 2 ? { mode: "markers", marker: { color: colors.c1, size: 7 } } : {};
  const data = [
    line(before, { line: { color: colors.faint, width: 1.25 } }),
    line(only((at) => at <= lastFinal), {
      line: { color: colors.c1, width: 2 },
      fill: "tozeroy",
      fillcolor: colors.c1soft,
      ...single,
    }),
    line(only((at) => at >= lastFinal), { line: { color: colors.c1, width: 2, dash: "dot" }, ...single }),
    line(gross, { line: { width: 0, color: "rgba(0,0,0,0)" }, text, hoverinfo: "text", hovertemplate: "%{text}<extra></extra>" }),
    {
      x: ends,
      y: orders,
      type: "bar",
      yaxis: "y2",
      hoverinfo: "skip",
      width: step(ends) * 0.75,
      marker: { color: colors.c2, opacity: states.map((state) => (state === "final" ? 1 : 0.55)) },
    },
  ];
  const layout = {
    xaxis: axis(colors, { type: "date", showgrid: false, anchor: "y2", tickformat: "%H:%M", range: span(ends) }),
    yaxis: axis(colors, { domain: [0.3, 1], ...ticks([...gross, ...before], spec, 4) }),
    yaxis2: axis(colors, { domain: [0, 0.2], ...ticks(orders, { unit: "count" }, 2) }),
    hovermode: "x",
  };
  return { data, layout, hoverCurve: 3 };
}

/** Between two windows, milliseconds. */
function step(ends) {
  return ends.length > 1 ? Math.max(1, new Date(`${ends.at(-1)}Z`) - new Date(`${ends.at(-2)}Z`)) : 60_000;
}

/** From half a step before the first window to half a step after the last; the first few keep room before them. */
function span(ends) {
  const last = new Date(`${ends.at(-1)}Z`).getTime();
  const first = Math.min(new Date(`${ends[0]}Z`).getTime(), last - STEPS_MIN * step(ends));
  return [first - step(ends) / 2, last + step(ends) / 2].map((time) => new Date(time).toISOString().slice(0, -1));
}

function stacked(names, colors, palette) {
  return (series) => {
    const times = series.values(series.columns[0].name).map(local);
    const data = names(series)
      .map((name, at) => ({ name, at, y: series.values(name) }))
      .filter(({ y }) => y.some((value) => value > 0))
      .map(({ name, at, y }) => ({
        x: times,
        y,
        type: "bar",
        name: series.column(name).label,
        marker: { color: palette[at] },
        hovertemplate: `${series.column(name).label}: %{y}<extra></extra>`,
      }));
    const totals = times.map((_, at) => data.reduce((sum, trace) => sum + trace.y[at], 0));
    const layout = {
      barmode: "stack",
      bargap: 0.2,
      xaxis: axis(colors, {
        type: "date",
        tickformat: "%H:%M",
        hoverformat: "%e %b, %H:%M",
        showgrid: false,
        range: times.length > 1 ? [shifted(times, 0, -0.5), shifted(times, times.length - 1, 0.5)] : undefined,
      }),
      yaxis: axis(colors, ticks(totals, { unit: "count" })),
      hovermode: "x unified",
      showlegend: data.length > 0,
    };
    return { data, layout, hoverCurve: 0 };
  };
}

/** The time half a step before or after a point, so that whole bars fit. */
function shifted(times, at, part) {
  const step = new Date(`${times[1]}Z`) - new Date(`${times[0]}Z`);
  return new Date(new Date(`${times[at]}Z`).getTime() + step * part).toISOString().slice(0, -1);
}

/** Room around the flow. */
export const FLOW_MARGIN = { l: 4, r: 4, t: 6, b: 10 };
/** Windows the axis of a young shop has room for. */
const STEPS_MIN = 15;
const STAGES = ["Visit", "Product", "Cart", "Checkout", "Payment", "Purchase"];

function flow(series, colors, { width, height }) {
  // On a phone three layers fit, not four.
  const from = width < 520 ? 1 : 0;
  const [layers, sources, targets, counts] = ["layer", "source", "target", "sessions"].map((name) => series.values(name));
  const nodes = new Map();
  const node = (layer, label, count, side) => {
    const key = `${layer} ${label}`;
    if (!nodes.has(key)) nodes.set(key, { at: nodes.size, layer, label, in: 0, out: 0 });
    nodes.get(key)[side] += count;
    return nodes.get(key).at;
  };
  const link = { source: [], target: [], value: [], color: [] };
  layers.forEach((layer, at) => {
    if (layer < from) return;
    link.source.push(node(layer, sources[at], counts[at], "out"));
    link.target.push(node(layer + 1, targets[at], counts[at], "in"));
    link.value.push(counts[at]);
    link.color.push(targets[at] === "Bought" || targets[at] === "Purchase" ? colors.c3soft : colors.link);
  });
  const all = [...nodes.values()];
  const pad = width < 520 ? 10 : 14;
  place(all, from, pad / (height - FLOW_MARGIN.t - FLOW_MARGIN.b));
  const paint = ({ layer, label }) => {
    if (label === "Bought" || label === "Purchase") return colors.c3;
    if (label === "Left a cart") return colors.c2;
    return layer === 2 ? colors.c1 : colors.faint;
  };
  const data = [
    {
      type: "sankey",
      arrangement: "snap",
      node: {
        label: all.map(({ label }) => label),
        color: all.map(paint),
        x: all.map(({ x }) => x),
        y: all.map(({ y }) => y),
        pad,
        thickness: 8,
        line: { width: 0 },
        hovertemplate: "%{label}: %{value} sessions<extra></extra>",
      },
      textfont: { color: colors.ink, size: width < 520 ? 10 : 12, shadow: "none" },
      link: { ...link, hovertemplate: "%{source.label} → %{target.label}<br>%{value} sessions<extra></extra>" },
    },
  ];
  return { data, layout: {}, hoverCurve: null };
}

/** Layers from left to right; within one the largest on top, stages in their own order. `pad` is a part of the height:
 * what the longest layer needs for its gaps is not there for nodes, else the lowest ones would be pushed out. */
function place(nodes, from, pad) {
  const lengths = [0, 1, 2, 3].map((layer) => nodes.filter((node) => node.layer === layer).length);
  const room = 0.995 - (Math.max(...lengths) - 1) * pad;
  for (let layer = from; layer <= 3; layer += 1) {
    const column = nodes.filter((node) => node.layer === layer);
    const size = (node) => Math.max(node.in, node.out);
    const total = column.reduce((sum, node) => sum + size(node), 0);
    if (layer === 2) column.sort((a, b) => STAGES.indexOf(b.label) - STAGES.indexOf(a.label));
    else column.sort((a, b) => (b.label === "Bought") - (a.label === "Bought") || size(b) - size(a));
    const gaps = (column.length - 1) * pad;
    let above = (0.995 - room - gaps) / 2;
    for (const node of column) {
      node.x = Math.min(0.999, Math.max(0.001, (layer - from) / (3 - from)));
      const share = (size(node) / total) * room;
      node.y = Math.min(0.999, Math.max(0.001, above + share / 2));
      above += share + pad;
    }
  }
}

/** Data and layout of a chart, or null while there is nothing to draw. */
export function figure(name, series, colors, box) {
  if (!series.rows.length) return null;
  switch (name) {
    case "revenue":
      return revenue(series, colors);
    case "signals_over_time":
      return stacked(() => ["critical", "high", "medium", "low"], colors, [colors.critical, colors.high, colors.medium, colors.low])(series);
    case "ledger":
      return stacked((s) => s.columns.slice(1).map((column) => column.name), colors, [colors.c1, colors.c2, colors.c3])(series);
    case "flow":
      return flow(series, colors, box);
    default:
      return null;
  }
}
