// A chart's data, and its table twin: the same numbers to read, sort out of, copy and hear.

import { dress, time, value } from "./format.js";

/** Rows of a series by key, in order, kept up to date by changes. */
export class Series {
  constructor() {
    this.columns = [];
    this.keys = [];
    this.byKey = new Map();
  }

  /** Applies a change; `whole`: it is all there is. */
  apply(change, whole) {
    if (change.columns) this.columns = change.columns;
    if (whole) {
      this.keys = [];
      this.byKey.clear();
    }
    const gone = new Set(change.remove ?? []);
    if (gone.size) {
      this.keys = this.keys.filter((key) => !gone.has(key));
      gone.forEach((key) => this.byKey.delete(key));
    }
    const added = [];
    for (const [key, row] of change.set ?? []) {
      if (!this.byKey.has(key)) added.push(key);
      this.byKey.set(key, row);
    }
    if (change.order) this.keys = change.order;
    else this.keys = change.at === "start" ? [...added, ...this.keys] : [...this.keys, ...added];
  }

  /** The rows, in order. */
  get rows() {
    return this.keys.map((key) => this.byKey.get(key));
  }

  /** The values of one column. */
  values(name) {
    const at = this.columns.findIndex((column) => column.name === name);
    return this.rows.map((row) => row[at]);
  }

  /** A column's description. */
  column(name) {
    return this.columns.find((column) => column.name === name) ?? { unit: "count", label: name };
  }

  /** A row in words: "Window from 12:05, Revenue €1,234.00 …". */
  words(at) {
    const row = this.rows[at];
    return this.columns.map((column, index) => `${column.label} ${said(row[index], column)}`).join(", ");
  }
}

/** A value as text. */
export function said(raw, column) {
  if (raw === null || raw === undefined) return "–";
  if (column.unit === "time") return time(new Date(raw), "clock");
  if (column.unit === "text") return String(raw);
  return value(raw, column);
}

/** Writes the table of a series into its place, newest row first when rows are times. */
export function showTwin(figure, series) {
  const body = figure.querySelector(".twin tbody");
  if (!body || !figure.classList.contains("as-table")) return;
  const rows = series.columns[0]?.unit === "time" ? [...series.rows].reverse() : series.rows;
  const lines = rows.map((row) => {
    const line = document.createElement("tr");
    series.columns.forEach((column, at) => {
      const cell = document.createElement("td");
      if (column.unit !== "text" && column.unit !== "time") cell.className = "n";
      cell.textContent = said(row[at], column);
      line.append(cell);
    });
    return line;
  });
  body.replaceChildren(...lines);
}

/** Buttons that show a chart as a table. */
export function listenTwins(seriesOf) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-twin-of]");
    if (!button) return;
    const name = button.dataset.twinOf;
    const figure = document.querySelector(`[data-chart="${CSS.escape(name)}"]`);
    const open = figure.classList.toggle("as-table");
    button.setAttribute("aria-pressed", String(open));
    if (open) showTwin(figure, seriesOf(name));
    else document.dispatchEvent(new CustomEvent("millrace:draw", { detail: name }));
    dress(figure);
  });
}
