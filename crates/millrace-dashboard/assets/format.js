// Numbers, money and times in the viewer's language and zone. The server says what a value is; this says how it reads.

const formats = new Map();

function numberFormat(options) {
  const key = JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(undefined, options));
  return formats.get(key);
}

function timeFormat(options) {
  const key = `time ${JSON.stringify(options)}`;
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(undefined, options));
  return formats.get(key);
}

/** Money in minor units; from `whole` (major units) on without the minor ones. */
export function money(minor, currency, digits = 2, whole = Infinity) {
  const major = minor / 10 ** digits;
  const shown = Math.abs(major) >= whole ? 0 : digits;
  const fraction = { minimumFractionDigits: shown, maximumFractionDigits: shown };
  try {
    return numberFormat({ style: "currency", currency, ...fraction }).format(major);
  } catch {
    // Not a currency code: the number, and what stood in its place.
    return `${numberFormat(fraction).format(major)} ${currency}`.trim();
  }
}

/** A value of a unit as text. `spec` has unit, currency, digits; `big` for the large figure of a tile. */
export function value(number, spec, big = false) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  switch (spec.unit) {
    case "money":
      return money(number, spec.currency, Number(spec.digits ?? 2), big ? 10_000 : Infinity);
    case "share":
      return numberFormat({ style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(number);
    default:
      return numberFormat({ maximumFractionDigits: 0 }).format(number);
  }
}

/** A short form for axes: 12k, 3.4M. */
export function short(number, spec) {
  const compact = { notation: "compact", maximumFractionDigits: 1 };
  if (spec.unit !== "money") return numberFormat(compact).format(number);
  const major = number / 10 ** Number(spec.digits ?? 2);
  try {
    return numberFormat({ style: "currency", currency: spec.currency, ...compact }).format(major);
  } catch {
    return numberFormat(compact).format(major);
  }
}

/** How long ago, in the largest fitting unit. */
export function ago(milliseconds, decimals = 1) {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 10 && decimals) return `${seconds.toFixed(decimals)} s ago`;
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

const sameDay = (a, b) => a.toDateString() === b.toDateString();

/** A time as `clock` (with seconds), `minute` or `ago`, in the viewer's zone. */
export function time(date, style, now = Date.now()) {
  if (style === "ago") {
    // Event time may run a little ahead of this clock.
    const past = now - date.getTime();
    return past < 1000 ? "just now" : ago(past, 0);
  }
  const day = sameDay(date, new Date(now)) ? {} : { month: "short", day: "numeric" };
  const clock = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return timeFormat(style === "minute" ? { ...day, ...clock } : { ...day, ...clock, second: "2-digit" }).format(date);
}

/** The same time in UTC, for the tooltip. */
export function utc(date) {
  return `${date.toISOString().replace("T", " ").replace(/\.\d+Z$/, "")} UTC`;
}

/** Writes the text of a `<data>` element from its value. */
export function showData(element, number = Number(element.getAttribute("value"))) {
  const big = element.parentElement?.classList.contains("value") ?? false;
  const text = value(number, element.dataset, big);
  if (element.textContent !== text) element.textContent = text;
  if (big && element.dataset.unit === "money") element.title = value(number, element.dataset);
}

/** Writes the text of a `<time>` element. */
export function showTime(element, now = Date.now()) {
  const date = new Date(element.dateTime);
  if (Number.isNaN(date.getTime())) return;
  const text = time(date, element.dataset.when, now);
  if (element.textContent !== text) element.textContent = text;
  if (!element.title) element.title = utc(date);
}

/** Formats everything inside (and including) a node. */
export function dress(root) {
  const all = (selector) => [...(root.matches?.(selector) ? [root] : []), ...root.querySelectorAll(selector)];
  for (const element of all("data[data-unit]")) showData(element);
  for (const element of all("time[data-when]")) showTime(element);
}
